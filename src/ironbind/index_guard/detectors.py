"""The detectors: what is unusual about a row, as one number each, larger for what a hub does.

Letters: r = rows counted, c = concepts, l = modalities of queries.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ironbind.index_guard.retrieval_counts import Counts

MAD_TO_DEVIATION = 1.4826  # of normal numbers


@dataclass(frozen=True)
class Normal:
    """The median of natural counts, and the deviation around it."""

    median: float
    deviation: float

    def z(self, counts: np.ndarray) -> Float[np.ndarray, " r"]:
        """Robust z-scores."""
        return (counts - self.median) / self.deviation

    def count(self, z: float) -> float:
        """The count that has this z-score."""
        return self.median + z * self.deviation


def normal_of(counts: np.ndarray) -> Normal:
    """Median and median absolute deviation (Iglewicz and Hoaglin 1993) over the rows that are found at all. Counts are
    whole and mostly small, so that the latter may be 0: the deviation is at least that of a Poisson number.
    """
    found = counts[counts > 0]
    if not len(found):
        return Normal(0.0, 1.0)
    median = float(np.median(found))
    spread = MAD_TO_DEVIATION * float(np.median(np.abs(found - median)))
    return Normal(median, max(spread, median**0.5, 1.0))


Detector = Callable[[Counts], Float[np.ndarray, " r"]]


def frequency(index: Counts) -> Detector:
    """Robust z-score of the number of queries that find a row."""
    normal = normal_of(index.total)
    return lambda counts: normal.z(counts.total)


def concept(index: Counts) -> Detector:
    """The largest robust z-score of that number within one concept: a hub for one subject."""
    normals = [normal_of(column) for column in index.by_concept.T]
    return lambda counts: np.stack([n.z(column) for n, column in zip(normals, counts.by_concept.T, strict=True)]).max(0)


def modality(index: Counts) -> Detector:
    """The largest robust z-score within one modality of queries, among rows of the row's own modality: a picture that
    texts find may be usual where one that sounds find is not.
    """
    normals = {
        own: [normal_of(column) for column in index.by_modality[index.modality == own].T]
        for own in np.unique(index.modality).tolist()
    }
    other = [normal_of(column) for column in index.by_modality.T]  # of a modality that no row has yet

    def largest(counts: Counts) -> Float[np.ndarray, " r"]:
        out = np.empty(len(counts.rows))
        for own in np.unique(counts.modality).tolist():
            rows = counts.modality == own
            columns = counts.by_modality[rows].T
            out[rows] = np.stack([n.z(column) for n, column in zip(normals.get(own, other), columns, strict=True)]).max(
                0
            )
        return out

    return largest


def effective_concepts(index: Counts, counts: Counts) -> Float[np.ndarray, " r"]:
    """From how many concepts a row is found: the exponential of the entropy of its queries over them, each concept
    weighted by the inverse of its size; 1 for one, their number where all find it equally often.
    """
    rates = counts.by_concept / np.maximum(1, index.by_concept.sum(axis=0))
    shares = rates / np.maximum(rates.sum(axis=1, keepdims=True), 1e-300)
    entropy = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1)
    return np.round(np.exp(entropy), 6)  # equal numbers of concepts are equal, whatever float64 makes of them


def spread(index: Counts) -> Detector:
    """The effective number of concepts that find a row (the spread over clusters of HubScan, arXiv 2602.22427)."""
    return lambda counts: effective_concepts(index, counts)


def stability(index: Counts) -> Detector:
    """Robust z-score of the number of queries that still find a row when noise is added to them, a whole number."""
    normal = normal_of(np.rint(index.kept))
    return lambda counts: normal.z(np.rint(counts.kept))


DETECTORS: Mapping[str, Callable[[Counts], Detector]] = {
    "frequency": frequency,
    "concept": concept,
    "modality": modality,
    "spread": spread,
    "stability": stability,
}
LEAST_STEP: Mapping[str, float] = {"spread": 0.75}
"""Of a detector's values, which one more query may change by as much: where rows are found by a few queries each, most
rows are found from a whole number of concepts, and values between are rare.
"""
