"""How rare a value is among natural rows: the tail of a few thousand values, continued beyond the largest of them.

Hubs are natural: in many dimensions a few rows are near to many queries (Radovanovic et al. 2010, JMLR 11), so that the
number of queries that find a row has a heavy tail and no threshold in standard deviations fits every gallery.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

SHAPES = np.linspace(0.25, 1.0, 31)  # of the tail: 1 exponential, smaller ones heavier
HEAVIER = 0.1  # mean of 1 - shape in the prior: a tail is taken to be heavier where the values insist
TAIL = 0.05  # the share of rows whose values the tail is fitted to
FEWEST = 30  # values to fit a tail to


@dataclass(frozen=True, eq=False)
class NaturalTail:
    """Of `size` rows, `values` in ascending order (rows without a value are below all of them). `share` of the rows
    reach `start`; beyond it lies a stretched exponential of the given shape, whose hazard at `start` is 1 / `scale`.
    Values are counted from `zero`.
    """

    values: Float[np.ndarray, " r"]
    size: int
    zero: float
    start: float
    share: float
    shape: float
    scale: float

    def probability(self, values: Float[np.ndarray, " v"]) -> Float[np.ndarray, " v"]:
        """The probability that a natural row has such a value or a larger one, at most 1."""
        inside = (len(self.values) - np.searchsorted(self.values, values)) / self.size
        ratio = (np.maximum(values, self.start) - self.zero) / (self.start - self.zero)
        beyond = np.exp(-_hazard(ratio, self.start - self.zero, self.shape, self.scale))
        return np.where(values > self.start, self.share * beyond, np.maximum(inside, self.share))

    def value_at(self, probability: float) -> float:
        """The value that natural rows reach with this probability: the inverse of `probability` beyond `start`, and
        `start` for what is more likely.
        """
        if probability >= self.share:
            return self.start
        length = self.start - self.zero
        ratio = 1 - math.log(probability / self.share) * self.shape * self.scale / length
        return self.zero + length * float(ratio ** (1 / self.shape))


def natural_tail(values: Float[np.ndarray, " r"], size: int, left_out: int, least_step: float = 0.0) -> NaturalTail:
    """The tail of `size` rows, of which `values` are known and the rest are smaller: a stretched exponential (Laherrere
    and Sornette 1998), one of SHAPES, fitted to what lies beyond a threshold by likelihood and a prior
    on the shape (ours: a few dozen values say little of it).

    `left_out`: so many of the largest may be no natural ones; the fit knows only that they are at least as large as the
    next (censoring), so that hubs in the index do not make themselves normal. The scale is at least the largest step
    between neighbouring values: a tail cannot be known more finely, and where few queries find a row, counts are one or
    two; and at least `least_step`.
    """
    ordered = np.sort(values)
    left_out = min(left_out, len(ordered) // 4)
    reach = min(len(ordered), left_out + max(FEWEST, int(TAIL * size)))
    start, zero = float(ordered[len(ordered) - reach]), float(ordered[0]) - 1
    known = ordered[len(ordered) - reach : len(ordered) - left_out]
    steps = np.diff(np.unique(known))
    step = max(least_step, float(steps.max()) if len(steps) else 1.0)  # all equal: in units of the value
    mean = (float((known - start).sum()) + left_out * float(known[-1] - start)) / len(known)
    scales = np.geomspace(max(step, mean / 30), max(step, 3 * mean), 120)
    ratio, edge, length = (known - zero) / (start - zero), float(known[-1] - zero) / (start - zero), start - zero
    best, found = -np.inf, (1.0, float(scales[-1]))
    for shape in SHAPES.tolist():
        hazard = _hazard(ratio, length, shape, scales[:, None]).sum(axis=1)
        censored = left_out * _hazard(np.array(edge), length, shape, scales)
        density = (shape - 1) * np.log(ratio).sum() - len(known) * np.log(scales)
        likelihood = density - hazard - censored - (1 - shape) / HEAVIER
        top = int(np.argmax(likelihood))
        if likelihood[top] > best:
            best, found = float(likelihood[top]), (shape, float(scales[top]))
    return NaturalTail(ordered, size, zero, start, reach / size, *found)


def _hazard(ratio: np.ndarray, length: float, shape: float, scale: np.ndarray | float) -> np.ndarray:
    """The cumulative hazard from the threshold, which lies `length` above zero, to `ratio` times as far."""
    return length / (shape * scale) * (ratio**shape - 1)
