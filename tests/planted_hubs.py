"""A small index whose queries share a direction, clean and with hubs planted in that direction."""

import numpy as np

ROWS, DIM, QUERIES = 1500, 32, 300
HUBS = (1200, 7)


def written(n: int, seed: int, lean: float = 0.0) -> np.ndarray:
    z = np.random.default_rng(seed).standard_normal((n, DIM)) + lean
    return z.astype(np.float32)


def queries() -> np.ndarray:
    return written(QUERIES, 1, lean=0.5)


def clean_rows() -> np.ndarray:
    return written(ROWS, 0)


def poisoned_rows() -> np.ndarray:
    """Row 1200 is the mean of the queries, row 7 nearly so."""
    rows = clean_rows()
    middle = queries().mean(axis=0)
    rows[HUBS[0]] = middle
    rows[HUBS[1]] = middle + 0.2 * np.abs(middle).mean() * written(1, 9)[0]
    return rows
