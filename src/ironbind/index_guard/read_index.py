"""A path -> the rows stored there, whatever stores them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ironbind.core.errors import InputError, first_line
from ironbind.index_guard.stored_rows import StoredRows, as_rows, labels_for
from ironbind.index_guard.stores.array_files import read_npy, read_safetensors
from ironbind.index_guard.stores.arrow_columns import read_lancedb, read_parquet
from ironbind.index_guard.stores.faiss_index import read_faiss
from ironbind.index_guard.stores.qdrant_folder import read_qdrant

TABLES: dict[str, Callable[[Path, str | None, str | None], StoredRows]] = {
    "parquet": read_parquet,
    "qdrant": read_qdrant,
    "lancedb": read_lancedb,
}
"""Stores whose rows have labels beside them."""
FILES: dict[str, Callable[[Path, str | None], StoredRows]] = {
    "npy": read_npy,
    "safetensors": read_safetensors,
    "faiss": read_faiss,
}
SUFFIXES = {".npy": "npy", ".safetensors": "safetensors", ".parquet": "parquet", ".faiss": "faiss", ".index": "faiss"}


Rows = StoredRows | np.ndarray | str | Path
"""Also whatever numpy takes for an array, such as a tensor of torch on the CPU."""


def stored_rows(rows: Rows, name: str) -> StoredRows:
    """Rows in whatever form: as they are stored, an array, a path. `name`: what an array is called in messages. Raises
    InputError as `read_index` and `as_rows` do.
    """
    if isinstance(rows, StoredRows):
        return rows
    if isinstance(rows, str | Path):
        return read_index(rows)
    try:
        array = np.asarray(rows)
    except (TypeError, ValueError, RuntimeError) as error:  # a tensor on a GPU, of bfloat16, or with a gradient
        kind = type(rows).__name__
        raise InputError(
            f"{name}: is a {kind} that numpy does not take ({first_line(error)}); expected float32 rows"
        ) from error
    return StoredRows(name, as_rows(array, name))


def read_index(path: str | Path, part: str | None = None, labels: str | None = None) -> StoredRows:
    """The rows of an index. `part`: which tensor, column, collection or table, where there are several. `labels`: a
    column (parquet, LanceDB) or payload field (Qdrant), or a file with one label per row (.txt, .npy). Raises
    InputError for a path that is none of these.
    """
    path = Path(path)
    kind = kind_of(path)
    of_file = labels is not None and Path(labels).suffix in (".txt", ".npy")
    if kind in TABLES:
        rows = TABLES[kind](path, part, None if of_file else labels)
    elif labels is not None and not of_file:
        raise InputError(f"--modalities {labels}: {path} has no columns; expected a file, .txt or .npy, a label a row")
    else:
        rows = FILES[kind](path, part)
    return replace(rows, labels=labels_of_file(Path(str(labels)), len(rows))) if of_file else rows


def kind_of(path: Path) -> str:
    """Which store a path is. Raises InputError for one that does not exist, or that nothing here reads."""
    if not path.exists():
        raise InputError(f"{path}: does not exist; expected an index: {EXPECTED}")
    if path.is_dir():
        if (path / "meta.json").exists() and (path / "collection").is_dir():
            return "qdrant"
        if path.suffix == ".lance" or any(path.glob("*.lance")):
            return "lancedb"
        raise InputError(f"{path}: is a folder of neither Qdrant nor LanceDB; expected {EXPECTED}")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: is of no kind that is read; expected {EXPECTED}")
    return SUFFIXES[path.suffix.lower()]


EXPECTED = ".npy, .safetensors, .parquet, .faiss or .index, a folder of Qdrant or LanceDB"


def labels_of_file(path: Path, count: int) -> tuple[str, ...]:
    """The labels in a file, one a line of a .txt or one an entry of a .npy. Raises InputError for another number of
    them.
    """
    if not path.exists():
        raise InputError(f"{path}: does not exist; expected a file with {count} labels")
    values: Sequence[object]
    if path.suffix == ".npy":
        try:
            array = np.load(path, allow_pickle=False)
        except ValueError as error:
            raise InputError(f"{path}: is no .npy file of labels; expected an array of texts or integers") from error
        if array.ndim != 1 or array.dtype.kind not in "USiu":
            raise InputError(f"{path}: holds {array.dtype} of shape {array.shape}; expected {count} texts or integers")
        values = array.tolist()
    else:
        try:
            values = path.read_text(encoding="utf-8").splitlines()
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: is no UTF-8 text; expected a label a line") from error
    return labels_for(values, count, str(path))
