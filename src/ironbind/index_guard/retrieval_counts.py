"""How often a row is among the first k of the queries: in all, per concept, per modality, and where queries are noisy.

Letters: q = queries, m = rows kept for a query, d = embedding width, r = rows counted, c = concepts, l = modalities of
queries, i = items.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ironbind.index_guard.nearest_rows import PAIRS, Pool
from ironbind.index_guard.query_set import QuerySet, noise_of
from ironbind.index_guard.similarity import scores_of_pairs, unit
from ironbind.index_guard.stored_rows import StoredRows


@dataclass(frozen=True)
class NoiseSpec:
    """The noise added to a query: its length relative to the query's, and how many draws."""

    length: float = 0.5
    draws: int = 4


@dataclass(frozen=True, eq=False)
class Counts:
    """Of each row that was counted: `total` queries that find it, by concept and by modality of the query; `kept`, the
    mean over draws of those that still find it when they are noisy. `modality`: the number of the row's own.
    """

    rows: Int[np.ndarray, " r"]
    total: Int[np.ndarray, " r"]
    by_concept: Int[np.ndarray, "r c"]
    by_modality: Int[np.ndarray, "r l"]
    kept: Float[np.ndarray, " r"]
    modality: Int[np.ndarray, " r"]


@dataclass(frozen=True, eq=False)
class Groups:
    """What queries and rows fall into: a number per query, a number per row, and how many there are of each."""

    concept: Int[np.ndarray, " q"]
    concepts: int
    query_modality: Int[np.ndarray, " q"]
    query_modalities: tuple[str, ...]
    row_modality: Int[np.ndarray, " n"]
    row_modalities: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class NoisyScores:
    """Of every draw: the noisy queries and the score of the last row that each still finds."""

    queries: tuple[Float[np.ndarray, "q d"], ...]
    last: tuple[Float[np.ndarray, " q"], ...]


def found(pool: Pool, k: int) -> Bool[np.ndarray, "q m"]:
    """Which rows of the pool are among the first k of their query; a tie with the last of them counts."""
    return pool.scores >= pool.scores[:, k - 1 : k]


def counts_of_rows(
    index: StoredRows, queries: QuerySet, pool: Pool, groups: Groups, metric: str, k: int, noise: NoiseSpec
) -> tuple[Counts, NoisyScores]:
    """The counts of all rows that any query finds, and what items need to be counted in the same way. A noisy query
    chooses among its pool: a row that was far from the query before is taken to stay out.
    """
    hit = found(pool, k)
    rows, number = np.unique(pool.ids[hit], return_inverse=True)
    query = np.nonzero(hit)[0]
    kept = np.zeros(len(rows))
    noisy_queries, last = [], []
    for draw in range(noise.draws):
        noisy = _noisy(queries, noise, draw)
        scores = np.empty(pool.scores.shape)
        step = max(1, PAIRS // (pool.ids.shape[1] * index.dim))
        for first in range(0, len(noisy), step):
            some = slice(first, first + step)
            scores[some] = scores_of_pairs(noisy[some], index.z[pool.ids[some]], metric)
        scores[~np.isfinite(pool.scores)] = -np.inf  # the row that a query was taken from
        least = -np.partition(-scores, k - 1, axis=1)[:, k - 1]
        still = np.bincount(number, weights=(scores >= least[:, None])[hit], minlength=len(rows))
        kept += still  # whole numbers: their sum does not depend on the order
        noisy_queries.append(noisy)
        last.append(least)
    counts = Counts(
        rows,
        np.bincount(number, minlength=len(rows)),
        _table(number, groups.concept[query], len(rows), groups.concepts),
        _table(number, groups.query_modality[query], len(rows), len(groups.query_modalities)),
        kept / max(1, noise.draws),
        groups.row_modality[rows],
    )
    return counts, NoisyScores(tuple(noisy_queries), tuple(last))


def counts_of_items(
    items: Float[np.ndarray, "i d"],
    modality: Int[np.ndarray, " i"],
    queries: QuerySet,
    pool: Pool,
    noisy: NoisyScores,
    groups: Groups,
    metric: str,
    k: int,
) -> Counts:
    """The counts that each item would have if it alone entered the index."""
    total, by_concept, by_modality, kept = [], [], [], []
    for item in items:
        alone = item[None, None]
        hit = _scores_with(queries.z, alone, metric) >= pool.scores[:, k - 1]
        still = [
            int((hit & (_scores_with(z, alone, metric) >= last)).sum())
            for z, last in zip(noisy.queries, noisy.last, strict=True)
        ]
        total.append(int(hit.sum()))
        by_concept.append(np.bincount(groups.concept[hit], minlength=groups.concepts))
        by_modality.append(np.bincount(groups.query_modality[hit], minlength=len(groups.query_modalities)))
        kept.append(sum(still) / max(1, len(still)))
    return Counts(
        np.arange(len(items)), np.array(total), np.array(by_concept), np.array(by_modality), np.array(kept), modality
    )


def _scores_with(queries: np.ndarray, item: np.ndarray, metric: str) -> Float[np.ndarray, " q"]:
    return scores_of_pairs(queries, np.broadcast_to(item, (len(queries), 1, item.shape[2])), metric)[:, 0]


def _noisy(queries: QuerySet, noise: NoiseSpec, draw: int) -> Float[np.ndarray, "q d"]:
    """Each query plus noise of the given length in a direction of its own."""
    z = queries.z.astype(np.float64)
    length = np.sqrt(np.square(z).sum(axis=1, keepdims=True))
    return z + noise.length * length * unit(noise_of(queries, draw))


def _table(row: np.ndarray, column: np.ndarray, rows: int, columns: int) -> Int[np.ndarray, "r c"]:
    return np.bincount(row * columns + column, minlength=rows * columns).reshape(rows, columns)
