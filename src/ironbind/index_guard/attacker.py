"""What an attacker needs to know of a guarded index: the scores to be beaten, and what the guard lets pass.

Letters: q = known queries, d = embedding width, c = concepts.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ironbind.index_guard.detectors import normal_of
from ironbind.index_guard.index_scan import Looked, copies_in
from ironbind.index_guard.nearest_rows import nearest_rows
from ironbind.index_guard.similarity import unit
from ironbind.index_guard.stored_rows import StoredRows

MARGIN = 0.5  # decades: what the queries that the attacker does not know may add


@dataclass(frozen=True, eq=False)
class Knowledge:
    """Of every known query the score of its `best` row and of the `last` row that it returns, and its `concept`; of the
    guard the largest `share` of all queries, the shares `of_concept` and the effective number of `concepts` that give a
    row the chosen score.
    """

    queries: Float[np.ndarray, "q d"]
    best: Float[np.ndarray, " q"]
    last: Float[np.ndarray, " q"]
    concept: Int[np.ndarray, " q"]
    share: float
    of_concept: Float[np.ndarray, " c"]
    concepts: float


def silent_score(looked: Looked) -> float:
    """The score at which nobody looks: MARGIN below the threshold, and below the last row that is listed for review."""
    scores, every = np.zeros(len(looked.index)), looked.every
    scores[every.rows] = looked.baseline.scores(every)
    listed = max(1, int(looked.settings.alert_budget / 100 * len(scores)))
    return max(0.0, min(looked.limit, float(np.sort(scores)[-listed])) - MARGIN)


def knowledge(looked: Looked, known: Float[np.ndarray, "q d"], score: float) -> Knowledge:
    """Everything about the guard, down to the queries that it asks: the strongest attacker. `score`: to stay at or
    below.
    """
    limits = looked.baseline.limits(score)
    pool = nearest_rows(looked.index, known, looked.metric, looked.k, left_out=copies_in(looked.first))
    directions = unit(looked.queries.z.astype(np.float64))
    concept = looked.groups.concept
    centers = np.stack([directions[concept == number].sum(axis=0) for number in range(looked.groups.concepts)])
    asked = np.bincount(concept, minlength=looked.groups.concepts)
    total, kept = normal_of(looked.counts.total), normal_of(np.rint(looked.counts.kept))
    most = min(total.count(limits["frequency"]), kept.count(limits["stability"]))
    of_concept = [
        normal_of(column).count(limits["concept"]) / queries
        for column, queries in zip(looked.counts.by_concept.T, asked, strict=True)
    ]
    return Knowledge(
        known,
        pool.scores[:, 0],
        pool.scores[:, -1],
        np.argmax(known.astype(np.float64) @ unit(centers).T, axis=1),
        most / len(looked.queries),
        np.array(of_concept),
        limits["spread"],
    )


def seen(looked: Looked, items: StoredRows) -> Bool[np.ndarray, " i"]:
    """Which items a scan would flag or list for review, each as if it alone had entered the index."""
    counts, every = looked.counts_of(items), looked.every
    scores, natural = looked.baseline.scores(counts), looked.baseline.scores(every)
    listed = max(1, int(looked.settings.alert_budget / 100 * (len(looked.index) + 1)))
    equal = (natural == scores[:, None]) & (every.total >= counts.total[:, None])
    before = (natural > scores[:, None]) | equal
    return (scores >= looked.limit) | ((before.sum(axis=1) < listed) & (counts.total > 0))
