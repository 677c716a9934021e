"""The rows nearest to every query, by looking at all of them: block by block, so that memory does not grow with the
index.

Letters: n = rows of the index, q = queries, d = embedding width, m = rows kept for a query.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ironbind.index_guard.similarity import comparable, middle_of, scores_of_pairs, unit
from ironbind.index_guard.stored_rows import BLOCK, StoredRows

ROWS, QUERIES = 1024, 1024  # a tile of their scores stays in the processor's cache
PAIRS = 1 << 22  # numbers of the rows that are compared again in float64 at a time

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Pool:
    """For every query the rows nearest to it, the nearest first: `ids` and their `scores` in float64."""

    ids: Int[np.ndarray, "q m"]
    scores: Float[np.ndarray, "q m"]


def nearest_rows(
    index: StoredRows,
    queries: Float[np.ndarray, "q d"],
    metric: str,
    depth: int,
    own: Int[np.ndarray, " q"] | None = None,
    progress: Progress | None = None,
    left_out: Bool[np.ndarray, " n"] | None = None,
) -> Pool:
    """The `depth` rows nearest to each query. `own[j]`: the row that query j was taken from, which it does not find.
    `left_out`: rows that none finds.

    They are found by float32 products and then compared again in float64, so that neither blocks nor the order of rows
    decide between near ties. Needs more than `depth` rows that are not left out.
    """
    wanted = depth + (own is not None)
    middle = middle_of((index.z[first : first + BLOCK] for first in range(0, len(index), BLOCK)), metric)
    exact = queries.astype(np.float64)
    prepared = (unit(exact) if metric == "cosine" else exact - middle if metric == "l2" else exact).astype(np.float32)
    tiles = [
        _Tile(np.ascontiguousarray(prepared[first : first + QUERIES]), wanted)
        for first in range(0, len(queries), QUERIES)
    ]
    for first in range(0, len(index), ROWS):
        block, offset = comparable(np.ascontiguousarray(index.z[first : first + ROWS]), metric, middle)
        hidden = None if left_out is None else np.flatnonzero(left_out[first : first + ROWS])
        for tile in tiles:
            tile.look_at(block, offset, first, hidden)
        if progress is not None:
            progress(min(first + ROWS, len(index)), len(index))
    return _in_order(index, queries, metric, np.concatenate([tile.ids for tile in tiles]), depth, own)


class _Tile:
    """Some queries and the best rows seen so far, in no order."""

    def __init__(self, queries: Float[np.ndarray, "q d"], wanted: int) -> None:
        self.queries = queries
        self.ids = np.full((len(queries), wanted), -1)
        self.best = np.full((len(queries), wanted), -np.inf, np.float32)
        self.least = np.full(len(queries), -np.inf, np.float32)
        self.scores = np.empty((len(queries), ROWS), np.float32)
        self.mask = np.empty((len(queries), ROWS), bool)

    def look_at(
        self, block: np.ndarray, offset: np.ndarray | None, first: int, hidden: np.ndarray | None = None
    ) -> None:
        """Keeps what is better than the least of the best; after the first blocks that is little."""
        scores, mask = (
            (self.scores, self.mask)
            if len(block) == ROWS
            else (self.scores[:, : len(block)].copy(), self.mask[:, : len(block)].copy())
        )
        np.matmul(self.queries, block.T, out=scores)
        if offset is not None:
            scores += offset
        if hidden is not None and len(hidden):
            scores[:, hidden] = -np.inf
        np.greater(scores, self.least[:, None], out=mask)
        at = np.flatnonzero(mask)
        if not len(at):
            return
        query, row = np.divmod(at, scores.shape[1])
        # every query's candidates in a line of their own, as wide as the longest
        changed, starts, counts = np.unique(query, return_index=True, return_counts=True)
        place = np.arange(len(at)) - np.repeat(starts, counts)
        line = np.repeat(np.arange(len(changed)), counts)
        candidates = np.full((len(changed), int(counts.max())), -np.inf, np.float32)
        names = np.full(candidates.shape, -1)
        candidates[line, place], names[line, place] = scores.reshape(-1)[at], row + first
        candidates = np.concatenate([self.best[changed], candidates], axis=1)
        names = np.concatenate([self.ids[changed], names], axis=1)
        wanted = self.ids.shape[1]
        kept = np.argpartition(candidates, -wanted, axis=1)[:, -wanted:]
        self.best[changed] = np.take_along_axis(candidates, kept, axis=1)
        self.ids[changed] = np.take_along_axis(names, kept, axis=1)
        self.least[changed] = self.best[changed].min(axis=1)


def _in_order(
    index: StoredRows,
    queries: Float[np.ndarray, "q d"],
    metric: str,
    ids: Int[np.ndarray, "q m"],
    depth: int,
    own: Int[np.ndarray, " q"] | None,
) -> Pool:
    scores = np.empty(ids.shape)
    step = max(1, PAIRS // (ids.shape[1] * index.dim))
    for first in range(0, len(ids), step):
        some = slice(first, first + step)
        scores[some] = scores_of_pairs(queries[some], index.z[ids[some]], metric)
    if own is not None:
        scores[ids == own[:, None]] = -np.inf
    order = np.lexsort((ids, -scores), axis=1)[:, :depth]
    return Pool(np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1))
