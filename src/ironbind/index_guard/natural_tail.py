"""How rare a value is among natural rows: the tail of a few thousand values, continued beyond the largest of them.

Hubs are natural: in many dimensions a few rows are near to many queries (Radovanovic et al. 2010, JMLR 11), so that the
number of queries that find a row has a heavy tail and no threshold in standard deviations fits every gallery.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

SHAPES = np.linspace(0.0, 1.0, 41)  # of the tail: 0 exponential, 1 as heavy as a tail with no mean
MEAN_SHAPE = 0.05  # of the exponential prior on the shape: a tail is taken to be heavy where the values insist
TAIL = 0.05  # the share of rows whose values the tail is fitted to
FEWEST = 30  # values to fit a tail to


@dataclass(frozen=True, eq=False)
class NaturalTail:
    """Of `size` rows, `values` in ascending order (rows without a value are below all of them); beyond `start` a
    generalised Pareto tail of the given shape and scale, which `share` of the rows reach.
    """

    values: Float[np.ndarray, " r"]
    size: int
    start: float
    share: float
    shape: float
    scale: float

    def probability(self, values: Float[np.ndarray, " v"]) -> Float[np.ndarray, " v"]:
        """The probability that a natural row has such a value or a larger one, at most 1."""
        inside = (len(self.values) - np.searchsorted(self.values, values)) / self.size
        excess = np.maximum(values - self.start, 0) / self.scale
        beyond = np.exp(-excess) if self.shape == 0 else (1 + self.shape * excess) ** (-1 / self.shape)
        return np.where(values > self.start, self.share * beyond, np.maximum(inside, 1 / self.size))


def natural_tail(values: Float[np.ndarray, " r"], size: int, left_out: int) -> NaturalTail:
    """The tail of `size` rows, of which `values` are known and the rest are smaller. Peaks over a threshold (Pickands
    1975), the shape one of SHAPES, fitted by likelihood and a prior on the shape (ours: a few hundred values leave it
    so uncertain that hubs would pass for a heavy tail).

    `left_out`: so many of the largest may be no natural ones; the fit knows only that they are at least as large as the
    next (censoring), so that hubs in the index do not make themselves normal.
    """
    ordered = np.sort(values)
    reach = min(len(ordered), left_out + max(FEWEST, int(TAIL * size)))
    start = float(ordered[len(ordered) - reach])
    known = ordered[len(ordered) - reach : len(ordered) - left_out] - start
    censored = float(known[-1]) if len(known) else 0.0
    mean = (float(known.sum()) + left_out * censored) / max(1, len(known)) or 1.0  # all equal: in units of the value
    scales = np.geomspace(mean / 30, 10 * mean, 120)
    best, found = -np.inf, (0.0, float(scales[-1]))
    for shape in SHAPES:
        excess = known[None] / scales[:, None]
        edge = censored / scales
        if shape == 0:
            density, beyond = -excess, -edge
        else:
            density, beyond = -(1 + 1 / shape) * np.log1p(shape * excess), -np.log1p(shape * edge) / shape
        likelihood = (density - np.log(scales)[:, None]).sum(axis=1) + left_out * beyond - shape / MEAN_SHAPE
        top = int(np.argmax(likelihood))
        if likelihood[top] > best:
            best, found = float(likelihood[top]), (float(shape), float(scales[top]))
    return NaturalTail(ordered, size, start, reach / size, *found)
