"""The queries of a scan: which are used, in an order that is theirs whatever the file's was, and the concepts they
fall into.

Letters: q = queries, d = embedding width, c = concepts.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ironbind.index_guard.similarity import unit
from ironbind.index_guard.stored_rows import BLOCK, StoredRows

PER_CONCEPT = 25  # queries of a concept on average, at least, where the number of concepts is not given
MOST_CONCEPTS = 16
ROUNDS = 50  # of k-means, at most


@dataclass(frozen=True, eq=False)
class QuerySet:
    """Queries in the order of their digests. `own`: the row of the index that each was taken from, None where they came
    from elsewhere. `labels`: one per query, None where there are none. `source`: where they came from, for people.
    """

    z: Float[np.ndarray, "q d"]
    digests: tuple[bytes, ...]
    source: str
    own: Int[np.ndarray, " q"] | None = None
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.z)


def sampled_queries(
    stored: StoredRows, most: int, seed: int, from_index: bool, among: Int[np.ndarray, " r"] | None = None
) -> QuerySet:
    """At most so many of the stored rows, drawn by seed and content, so that their order decides nothing. `from_index`:
    they are rows of the index itself. `among`: the numbers of those that may be drawn (None: all).
    """
    digests: list[bytes] = []
    for first in range(0, len(stored), BLOCK):
        digests += _digests(np.asarray(stored.z[first : first + BLOCK]), seed)
    allowed = range(len(stored)) if among is None else among.tolist()
    chosen = sorted(allowed, key=digests.__getitem__)[:most]
    z = np.ascontiguousarray(stored.z[np.sort(chosen)])
    order = np.argsort(np.argsort(chosen))
    return QuerySet(
        z[order],
        tuple(digests[row] for row in chosen),
        f"{len(chosen)} rows of the index itself" if from_index else f"{len(chosen)} of {stored.source}",
        np.array(chosen) if from_index else None,
        None if stored.labels is None else tuple(stored.labels[row] for row in chosen),
    )


def _digests(rows: Float[np.ndarray, "n d"], seed: int) -> list[bytes]:
    key = str(seed).encode()
    little = np.ascontiguousarray(rows, "<f4")
    return [hashlib.blake2b(row.tobytes(), digest_size=16, key=key).digest() for row in little]


def noise_of(queries: QuerySet, draw: int) -> Float[np.ndarray, "q d"]:
    """Standard normal numbers that belong to a query and the number of a draw, in float64."""
    rows = []
    for digest in queries.digests:
        generator = np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little"), counter=[0, 0, 0, draw]))
        rows.append(generator.standard_normal(queries.z.shape[1]))
    return np.array(rows)


def usual_number_of_concepts(queries: int) -> int:
    """So many that a concept has PER_CONCEPT queries on average, at most MOST_CONCEPTS."""
    return max(1, min(MOST_CONCEPTS, queries // PER_CONCEPT))


def concepts_of(queries: QuerySet, concepts: int) -> Int[np.ndarray, " q"]:
    """The concept of every query: spherical k-means (Dhillon and Modha 2001) on directions, begun from queries that lie
    as far from each other as possible (Gonzalez 1985), so that nothing is drawn.
    """
    z = unit(queries.z.astype(np.float64))
    chosen, nearest = [0], z @ z[0]
    while len(chosen) < min(concepts, len(z)):
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, z @ z[chosen[-1]])
    centers = z[chosen]
    concept = np.argmax(z @ centers.T, axis=1)
    for _ in range(ROUNDS):
        sums = np.zeros_like(centers)
        np.add.at(sums, concept, z)
        moved = np.abs(sums).max(axis=1) > 0  # a concept without queries, or whose queries cancel out, stays
        centers[moved] = unit(sums[moved])
        after = np.argmax(z @ centers.T, axis=1)
        if (after == concept).all():
            break
        concept = after
    return concept


def numbered(labels: Sequence[str] | None, count: int) -> tuple[Int[np.ndarray, " n"], tuple[str, ...]]:
    """Labels as numbers, and their names in alphabetical order; one group where there are none."""
    if labels is None:
        return np.zeros(count, np.int64), ("all",)
    names, numbers = np.unique(np.array(labels), return_inverse=True)
    return numbers, tuple(map(str, names))
