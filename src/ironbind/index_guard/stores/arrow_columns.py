"""Rows in columns of lists: parquet files, and the tables of LanceDB."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ironbind.core.errors import InputError, first_line
from ironbind.core.placeholders import placeholder
from ironbind.index_guard.stored_rows import StoredRows, as_rows, labels_for
from ironbind.index_guard.stores.array_files import chosen_part


def read_parquet(path: Path, part: str | None = None, labels: str | None = None) -> StoredRows:
    """The column called `part`, or the only column of lists of numbers. Raises InputError for rows of different
    lengths, missing rows, and where pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(f"{path}: reading parquet needs pyarrow: pip install 'ironbind[data]'") from error
    try:
        file = pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: is {placeholder(path) or 'no parquet file'}; expected a column of lists") from error
    schema = file.schema_arrow
    column = chosen_column(schema, part, path)
    refuse_absent_labels(labels, schema, path)
    try:
        table = file.read(columns=list(dict.fromkeys([column, *([labels] if labels else [])])))
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path}: column {column!r} cannot be read ({first_line(error)})") from error
    names = None if labels is None else labels_for(table.column(labels).to_pylist(), len(table), f"{path}: {labels!r}")
    return StoredRows(str(path), rows_of_lists(table.column(column), f"{path}: column {column!r}"), labels=names)


def chosen_column(schema: Any, part: str | None, path: Path) -> str:
    """The column of vectors that was asked for, or the only one. Raises InputError as `chosen_part` does."""
    import pyarrow

    lists = (pyarrow.types.is_list, pyarrow.types.is_large_list, pyarrow.types.is_fixed_size_list)
    names = [
        field.name
        for field in schema
        if any(is_list(field.type) for is_list in lists) and pyarrow.types.is_floating(field.type.value_type)
    ]
    if not names:
        raise InputError(f"{path}: no column holds one list of floats a row; columns are {', '.join(schema.names)}")
    return chosen_part(part, names, path, "column")


def refuse_absent_labels(labels: str | None, schema: Any, path: Path) -> None:
    """Raises InputError for a column of labels that does not exist."""
    if labels is not None and labels not in schema.names:
        raise InputError(f"--modalities {labels}: {path} has no such column; expected one of {', '.join(schema.names)}")


def rows_of_lists(column: Any, source: str) -> Float[np.ndarray, "n d"]:
    """A column of lists as rows. Lists of doubles are taken too, since Python writes no others; they are rounded."""
    values = column.combine_chunks()
    chunks = values.chunks if hasattr(values, "chunks") else [values]
    blocks = []
    first = 0
    width: int | None = None
    for chunk in chunks:
        if chunk.null_count:
            row = first + int(np.argmax(np.asarray(chunk.is_null())))
            raise InputError(f"{source}: row {row} is missing; expected a list of numbers in every row")
        lengths = np.asarray(chunk.value_lengths()) if len(chunk) else np.zeros(0, np.int64)
        if len(lengths):
            width = int(lengths[0]) if width is None else width
            other = lengths != width
            if other.any():
                row = int(np.argmax(other))
                raise InputError(f"{source}: row {first + row} holds {lengths[row]} numbers; expected {width} in each")
            numbers = chunk.flatten().to_numpy(zero_copy_only=False).astype(np.float32)
            blocks.append(numbers.reshape(len(chunk), width))
        first += len(chunk)
    return as_rows(np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32), source)


def read_lancedb(path: Path, part: str | None = None, labels: str | None = None) -> StoredRows:
    """A table of a LanceDB folder, or the folder TABLE.lance itself; `part`: TABLE, or TABLE/COLUMN where it has
    several columns of vectors. Raises InputError where there is a choice to make, and where lancedb is not installed.
    """
    try:
        import lancedb
    except ImportError as error:
        raise InputError(f"{path}: reading LanceDB needs its engine: pip install 'ironbind[lancedb]'") from error
    table_name, _, column_name = (part or "").partition("/")
    if path.suffix == ".lance":
        path, table_name = path.parent, path.stem
        column_name = part or ""
    names = sorted(folder.stem for folder in path.glob("*.lance"))
    name = chosen_part(table_name or None, names, path, "table")
    try:
        table = lancedb.connect(str(path)).open_table(name)
        column = chosen_column(table.schema, column_name or None, path / f"{name}.lance")
        refuse_absent_labels(labels, table.schema, path / f"{name}.lance")
        arrow = table.to_arrow().select([column, *([labels] if labels else [])])
    except (ValueError, KeyError, RuntimeError, OSError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{path / name}.lance: cannot be read ({first_line(error)}); expected a table of LanceDB"
        ) from error
    source = f"{path / name}.lance: column {column!r}"
    values = None if labels is None else labels_for(arrow.column(labels).to_pylist(), len(arrow), source)
    return StoredRows(f"{path / name}.lance", rows_of_lists(arrow.column(column), source), labels=values)
