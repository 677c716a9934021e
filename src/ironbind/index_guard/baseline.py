"""What is natural in an index: every detector with the tail of its values among natural rows, and the score of a row.

Letters: r = rows counted, t = detectors.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ironbind.index_guard.detectors import DETECTORS, LEAST_STEP, Detector
from ironbind.index_guard.natural_tail import NaturalTail, natural_tail
from ironbind.index_guard.retrieval_counts import Counts

FALSE_ALARMS = 0.01  # natural rows that a scan may be expected to flag by chance, of a whole index
MAY_BE_HUBS = 0.005  # share of the rows of an index that the fit takes no values from
FEWEST_HUBS = 3
AT_MOST_HUBS = 0.05  # share of the rows that may be hubs without hiding each other
LEAST = 1e-300  # probability that is told apart from 0
FAR = 0.01  # times the probability at which rows are flagged


@dataclass(frozen=True, eq=False)
class Baseline:
    """The detectors by name, with the natural tail of each."""

    detectors: Mapping[str, tuple[Detector, NaturalTail]]

    def values(self, counts: Counts) -> dict[str, Float[np.ndarray, " r"]]:
        """What each detector says of each row."""
        return {name: detector(counts) for name, (detector, _) in self.detectors.items()}

    def surprise(self, counts: Counts) -> dict[str, Float[np.ndarray, " r"]]:
        """Minus the decimal logarithm of the probability that a natural row has such a value or a larger one, corrected
        for the number of detectors (Bonferroni); at least 0.
        """
        return {
            name: 0.0 - np.log10(np.clip(len(self.detectors) * tail.probability(detector(counts)), LEAST, 1.0))
            for name, (detector, tail) in self.detectors.items()
        }

    def scores(self, counts: Counts) -> Float[np.ndarray, " r"]:
        """The largest surprise of each row: 6 says that one natural row in a million is as unusual."""
        return np.max(list(self.surprise(counts).values()), axis=0)

    def limits(self, score: float) -> dict[str, float]:
        """The value of each detector at which it alone gives this score: what an attacker must stay below."""
        each = 10**-score / len(self.detectors)
        return {name: tail.value_at(each) for name, (_, tail) in self.detectors.items()}


def baseline_of(index: Counts, size: int, natural: Counts | None = None) -> Baseline:
    """Fitted to the rows of an index of `size` rows, whose largest values may be hubs; or to `natural` rows, each
    counted as if it alone entered the index, which are taken to be what they are said to be.
    """
    one_modality = index.by_modality.shape[1] == 1 and len(np.unique(index.modality)) == 1
    detectors: dict[str, tuple[Detector, NaturalTail]] = {}
    for name, fit in DETECTORS.items():
        if name == "modality" and one_modality:
            continue  # it would say what the frequency says
        detector, step = fit(index), LEAST_STEP.get(name, 0.0)
        if natural is None:
            values = detector(index)
            detectors[name] = detector, natural_tail(values, size, _perhaps_hubs(values, size, step), step)
        else:
            detectors[name] = detector, natural_tail(detector(natural), len(natural.rows), 0, step)
    return Baseline(detectors)


def _perhaps_hubs(values: Float[np.ndarray, " r"], size: int, step: float) -> int:
    """How many of the largest values the fit leaves out: MAY_BE_HUBS of all rows, and those that are far beyond a tail
    which is fitted without AT_MOST_HUBS of the rows.
    """
    few = max(FEWEST_HUBS, math.ceil(MAY_BE_HUBS * size))
    cautious = natural_tail(values, size, math.ceil(AT_MOST_HUBS * size), step)
    return few + int((cautious.probability(values) < FAR * FALSE_ALARMS / size).sum())


def threshold(size: int) -> float:
    """The score from which rows of an index of `size` rows are flagged: FALSE_ALARMS natural ones are expected."""
    return math.log10(size / FALSE_ALARMS)
