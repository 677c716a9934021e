"""Encoded files as rows of a parquet file: what is fetched through another library is kept as it came, undecoded."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ironbind.types import InputError

ROWS = 64  # in a row group: what a reader unpacks at a time


def write_rows(
    path: Path, rows: Iterable[Mapping[str, Any]], columns: Mapping[str, Any], about: Mapping[str, str] | None = None
) -> int:
    """Writes rows of these columns (name -> pyarrow type) to a parquet file, at once or not at all; `about` goes into
    its schema. Returns their number.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".partial-{os.getpid()}-{path.name}")
    schema = pa.schema(list(columns.items()), metadata=dict(about or {}))
    count = 0
    try:
        with pq.ParquetWriter(part, schema) as writer:
            for group in _groups(rows):
                writer.write_table(pa.Table.from_pylist(group, schema=schema))
                count += len(group)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _groups(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append(dict(row))
        if len(group) == ROWS:
            yield group
            group = []
    if group:
        yield group


def file_type() -> Any:
    """The pyarrow type of an encoded file, as the `datasets` library stores it."""
    import pyarrow as pa

    return pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def undecoded(dataset: Any, column: str) -> Any:
    """The data set of the `datasets` library whose column gives files as they are stored."""
    feature = dataset.features[column]
    return dataset.cast_column(column, type(feature)(decode=False)) if hasattr(feature, "decode") else dataset


def encoded_file(value: Any, where: str) -> dict[str, Any]:
    """A stored file as bytes and name; one that is only named is read. Raises InputError for anything else."""
    if isinstance(value, bytes):
        return {"bytes": value, "path": None}
    content, path = (value.get("bytes"), value.get("path")) if isinstance(value, Mapping) else (None, None)
    if content is None and path and Path(path).is_file():
        content = Path(path).read_bytes()
    if content is None:
        raise InputError(f"{where}: holds no encoded file but {type(value).__name__}; expected bytes, or a file's path")
    return {"bytes": content, "path": Path(path).name if path else None}
