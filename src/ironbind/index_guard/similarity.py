"""How an index compares: every metric as one product, so that one search serves all of them.

Letters: n = rows, q = queries, d = embedding width. The score of a query and a row is `query @ row + offset(row)`, in
the form that `comparable` brings both into; a larger score is a nearer row.
"""

from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

SMALL = 1e-30  # squares below it have lost digits in float32


def middle_of(blocks: Iterable[Float[np.ndarray, "n d"]], metric: str) -> Float[np.ndarray, " d"]:
    """The mean of an index's rows as they are compared. A query's nearest rows stay what they are when it is taken from
    all rows (for l2 from the query too), and float32 keeps the digits in which rows differ.
    """
    total, count = np.zeros(0), 0
    for block in blocks:
        rows = unit(block) if metric == "cosine" else block
        total = rows.sum(axis=0, dtype=np.float64) + (total if count else 0.0)
        count += len(rows)
    return (total / count).astype(np.float32)


def comparable(
    z: Float[np.ndarray, "n d"], metric: str, middle: Float[np.ndarray, " d"]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows in the dtype of `z` and, for l2, an offset of each: cosine takes unit rows; of l2, q.x - |x|^2 / 2 orders as
    -|q - x|^2 does. `middle` is taken from all of them.
    """
    z = (unit(z) if metric == "cosine" else z) - middle
    return z, -0.5 * np.square(z).sum(axis=1) if metric == "l2" else None


def unit(z: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Rows of length 1; where a square might overflow or vanish, all are scaled by their largest entry first."""
    squares = np.einsum("nd,nd->n", z, z)
    if not (np.isfinite(squares) & (squares > SMALL)).all():
        z = z / np.abs(z).max(axis=1, keepdims=True)
        squares = np.einsum("nd,nd->n", z, z)
    return z / np.sqrt(squares)[:, None]


def scores_of_pairs(
    queries: Float[np.ndarray, "q d"], rows: Float[np.ndarray, "q m d"], metric: str
) -> Float[np.ndarray, "q m"]:
    """The score of every query with rows of its own, in float64; a pair's does not depend on the pairs beside it."""
    q = queries.astype(np.float64)
    x = rows.astype(np.float64)
    products = np.einsum("qmd,qd->qm", x, q)
    squares = np.einsum("qmd,qmd->qm", x, x)
    if metric == "cosine":
        return products / np.sqrt(squares * np.einsum("qd,qd->q", q, q)[:, None])
    return products - 0.5 * squares if metric == "l2" else products
