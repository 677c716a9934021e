"""Rows that are equal to the bit. A query returns some of them, by their place alone, so that copies of a hub would
share out what one of them does: they count as one row, and what is said of it is said of all.

Letters: n = rows, d = embedding width, r = rows counted.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int

from ironbind.index_guard.retrieval_counts import Counts
from ironbind.index_guard.stored_rows import BLOCK, StoredRows


def first_of_copies(rows: StoredRows) -> Int[np.ndarray, " n"]:
    """Of every row the number of the first one that is equal, with the same label: its own where there is none."""
    hashes = np.concatenate([_hashes(np.asarray(rows.z[at : at + BLOCK])) for at in range(0, len(rows), BLOCK)])
    first, ordered = np.arange(len(rows)), np.sort(hashes)
    shared = ordered[1:][ordered[1:] == ordered[:-1]]
    seen: dict[tuple[bytes, str], int] = {}
    alike = np.flatnonzero(np.isin(hashes, shared)) if len(shared) else shared
    for row in alike.tolist():  # rows that differ may have one hash
        label = "" if rows.labels is None else rows.labels[row]
        first[row] = seen.setdefault(((np.asarray(rows.z[row]) + 0.0).tobytes(), label), row)
    return first


def _hashes(z: Float[np.ndarray, "n d"]) -> np.ndarray:
    """A number per row, the same for equal rows."""
    factors = np.random.Generator(np.random.PCG64(0)).integers(0, 2**63, z.shape[1], dtype=np.uint64) * 2 + 1
    bits = np.ascontiguousarray(z + np.float32(0)).view(np.uint32)  # -0.0 is 0.0
    return np.asarray((bits * factors).sum(axis=1, dtype=np.uint64))  # modulo 2^64


def with_copies(counts: Counts, first: Int[np.ndarray, " n"]) -> Counts:
    """The counts of the first of all copies for each of them."""
    at = np.searchsorted(counts.rows, first).clip(max=max(0, len(counts.rows) - 1))
    rows = np.flatnonzero(counts.rows[at] == first)
    at = at[rows]
    return replace(
        counts,
        rows=rows,
        total=counts.total[at],
        by_concept=counts.by_concept[at],
        by_modality=counts.by_modality[at],
        kept=counts.kept[at],
        modality=counts.modality[at],
    )
