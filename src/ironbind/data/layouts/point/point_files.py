"""What the layouts of point clouds share: clouds in HDF5 files (arrays `data` and `label`), and meshes whose points are
drawn by their name.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ironbind.data.storage.hdf5 import open_hdf5
from ironbind.modalities import point
from ironbind.modalities.reading import reading
from ironbind.types import InputError, Points

EXPECTED = "an HDF5 file with data (clouds, points, 3) and label (clouds)"


def read_drawn_by_name(path: Path) -> Points:
    """The points of a cloud or mesh; a mesh's are drawn over its surface with a seed that is its name, so that no two
    share their draws.
    """
    return point.read(path, int.from_bytes(hashlib.sha256(Path(path).stem.encode()).digest()[:8], "big"))


def labels_of(root: Path, files: Sequence[str], classes: Sequence[str]) -> list[tuple[str, int, int]]:
    """(file, row, label) of every cloud in these HDF5 files. Raises InputError where arrays do not fit each other or
    labels have no class.
    """
    rows = []
    for file in files:
        path = root / file
        with reading(path, EXPECTED):
            tables = open_hdf5(path)
            absent = [key for key in ("data", "label") if key not in tables or not hasattr(tables[key], "shape")]
            if absent:
                raise InputError(f"{path}: has no array {' or '.join(absent)}; expected {EXPECTED}")
            data, label = tables["data"], tables["label"]
            if (
                len(data.shape) != 3
                or data.shape[2] != 3
                or label.shape not in ((len(data),), (len(data), 1))
                or label.dtype.kind not in "iu"
            ):
                held = f"data of shape {data.shape}, {label.dtype} label of shape {label.shape}"
                raise InputError(
                    f"{path}: holds {held}; expected (clouds, points, 3), and a whole number for each cloud"
                )
            numbers = np.asarray(label[()]).reshape(-1).tolist()
        for row, number in enumerate(numbers):
            if not 0 <= number < len(classes):
                raise InputError(f"{path}: cloud {row} has the label {number}; expected 0 to {len(classes) - 1}")
            rows.append((file, row, number))
    return rows


def cloud(row: np.ndarray) -> Points:
    """A row of `data` as points. Raises ValueError for NaN, no point, or what is no number."""
    if row.ndim != 2 or row.shape[1] != 3 or len(row) == 0 or row.dtype.kind not in "fiu":
        raise ValueError(f"holds {row.dtype} of shape {row.shape}; expected (points, 3)")
    xyz = np.ascontiguousarray(row, dtype=np.float32)
    if not np.isfinite(xyz).all():
        raise ValueError("holds NaN or infinite coordinates; expected finite x, y, z")
    return Points(xyz)
