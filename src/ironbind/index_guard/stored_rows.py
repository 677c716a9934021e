"""The rows of an index, whatever stores them: the noun, and the checks that every store's rows pass.

Letters: n = rows, d = embedding width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ironbind.core.errors import InputError

METRICS = ("cosine", "dot", "l2")
BLOCK = 4096  # rows looked at together
LARGEST = 1e15  # products of two such numbers, and their sums, are float32
EXACT = (np.dtype(np.float32), np.dtype(np.float16))
"""What becomes float32 without rounding."""


@dataclass(frozen=True, eq=False)
class StoredRows:
    """Rows as they are stored. `source`: the file or folder. `z`: float32, perhaps mapped from the file. `metric`: how
    the store compares (one of METRICS), None where it does not say. `keys`: the store's own names of the rows, None
    where rows have numbers only. `labels`: one per row, None where none were asked for.
    """

    source: str
    z: Float[np.ndarray, "n d"]
    metric: str | None = None
    keys: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.z)

    @property
    def dim(self) -> int:
        return int(self.z.shape[1])


def as_rows(array: np.ndarray, source: str | Path) -> Float[np.ndarray, "n d"]:
    """The array as float32 rows; one vector is one row. Raises InputError for another number of axes, another dtype,
    and where there is no row.
    """
    if array.dtype.newbyteorder("=") not in EXACT:
        raise InputError(
            f"{source}: holds {array.dtype}; expected float32 rows (numpy: rows.astype('float32'), torch: rows.float())"
        )
    if array.ndim == 1:
        array = array[None]
    if array.ndim != 2:
        raise InputError(f"{source}: holds an array of shape {array.shape}; expected rows and columns, (n, d)")
    if 0 in array.shape:
        raise InputError(f"{source}: is empty, of shape {array.shape}; expected at least one row")
    return np.asarray(array, dtype=np.float32)


def refuse_rows_without_direction(rows: StoredRows, metric: str) -> None:
    """Raises InputError naming the first row with a number that is not finite, and, where directions are compared, the
    first that is zero; where lengths count, one with a number whose products are beyond float32.
    """
    for first in range(0, len(rows), BLOCK):
        block = rows.z[first : first + BLOCK]
        finite = np.isfinite(block).all(axis=1)
        if not finite.all():
            row = first + int(np.argmin(finite))
            raise InputError(f"{rows.source}: row {row} holds NaN or infinity; expected finite numbers")
        largest = np.abs(block).max(axis=1)
        if metric != "cosine" and largest.max() > LARGEST:
            row = int(np.argmax(largest))
            raise InputError(
                f"{rows.source}: row {first + row} holds a number of size {largest[row]:.1g}, too large to compare by "
                f"{metric} in float32; expected at most {LARGEST:g}"
            )
        zero = ~block.any(axis=1)
        if metric == "cosine" and zero.any():
            row = first + int(np.argmax(zero))
            raise InputError(f"{rows.source}: row {row} is zero, which has no direction; expected rows to compare")


def refuse_other_width(rows: StoredRows, index: StoredRows) -> None:
    """Raises InputError where rows have another width than those of the index."""
    if rows.dim != index.dim:
        raise InputError(
            f"{rows.source}: rows of {rows.dim} numbers; expected {index.dim}, as those of {index.source} have"
        )


def metric_of(index: StoredRows, chosen: str | None) -> str:
    """How rows are compared: as chosen, else as the store says, else by cosine. Raises InputError for a metric that
    does not exist.
    """
    metric = chosen or index.metric or "cosine"
    if metric not in METRICS:
        raise InputError(f"--metric {metric}: is not known; expected one of {', '.join(METRICS)}")
    return metric


def labels_for(values: Sequence[object], count: int, source: str) -> tuple[str, ...]:
    """One label per row. Raises InputError where there are more or fewer, and where one is missing."""
    if len(values) != count:
        raise InputError(f"{source}: {len(values)} labels; expected one for each of the {count} rows")
    missing = next((row for row, value in enumerate(values) if value is None or value == ""), None)
    if missing is not None:
        raise InputError(f"{source}: row {missing} has no label; expected one in every row")
    return tuple(map(str, values))
