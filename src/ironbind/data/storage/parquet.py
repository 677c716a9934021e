"""Rows of parquet files and of Arrow streams. Needs pyarrow: `pip install 'ironbind[data]'`."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from ironbind.data.storage.files import Read, absent_of
from ironbind.data.storage.open_files import kept_open, state_of
from ironbind.data.storage.packed import taken
from ironbind.modalities.reading import read_bytes, reading
from ironbind.types import Decoded, InputError

ARROW = ".arrow"
BYTES = ".bytes"  # where a struct of bytes and path, as the `datasets` library stores files, has the bytes
LOOKED_AT = 16  # rows whose first encoded file tells what a column holds


@dataclass(frozen=True, eq=False)
class ParquetRows:
    """Encoded bytes in a parquet column a sample: `members[i]` is (file relative to `root`, row in it); `column` may be
    nested ("image.bytes").

    Files called .arrow are Arrow streams, as `datasets` saves them, and are mapped rather than read.
    Where a nested column ("image.bytes") holds nothing and its "image.path" names a file beside the table, that file is
    read. `suffix` is what a file with these bytes would be called, for `read`. Needs pyarrow:
    `pip install 'ironbind[data]'`.
    """

    root: Path
    members: Sequence[tuple[str, int]]
    column: str
    read: Read
    suffix: str = ""

    def __len__(self) -> int:
        return len(self.members)

    def decode(self, row: int) -> Decoded:
        """The bytes, read."""
        return read_bytes(self._bytes(row), self.read, self.suffix, str(self.root / self.place(row)))

    def _bytes(self, row: int) -> bytes:
        value, file = self._value(row, self.column), None
        if value is None and self.column.endswith(BYTES):  # a table may name its files rather than hold them
            with suppress(InputError):  # there may be no path either
                file = self._value(row, self.column.removesuffix(BYTES) + ".path")
            if isinstance(file, str) and file and not Path(file).is_absolute() and ".." not in Path(file).parts:
                beside = (self.root / self.members[row][0]).parent / file
                if beside.is_file():
                    return beside.read_bytes()
        if not isinstance(value, bytes):
            raise InputError(
                f"{self.root / self.place(row)}: holds {type(value).__name__}, not bytes; expected an encoded file"
            )
        return value

    def _value(self, row: int, column: str) -> Any:
        file, number = self.members[row]
        path = self.root / file
        with reading(path, f"a {'parquet' if path.suffix != ARROW else 'Arrow'} file with the column {column!r}"):
            return _arrow_value(path, column, number) if path.suffix == ARROW else _parquet_value(path, column, number)

    def place(self, row: int) -> str:
        """file:column[row]."""
        file, number = self.members[row]
        return f"{file}:{self.column}[{number}]"

    def digest(self, row: int) -> str:
        """SHA-256 over size and bytes: those of a file up to 64 MiB with these bytes."""
        data = self._bytes(row)
        return hashlib.sha256(str(len(data)).encode() + data).hexdigest()

    def keep(self, rows: Sequence[int]) -> "ParquetRows":
        """Those rows, in that order."""
        return replace(self, members=taken(self.members, rows))

    def absent(self) -> list[int]:
        """Those whose file is not there."""
        return absent_of(self.root, [file for file, _ in self.members])


def open_parquet(path: Path) -> Any:
    """The pyarrow.parquet.ParquetFile at `path`, kept open; to be called inside `reading`. InputError without
    pyarrow.
    """
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path}: needs pyarrow to be read; expected it installed: pip install 'ironbind[data]'"
        ) from error
    return kept_open(path, pyarrow.parquet.ParquetFile)


def open_arrow(path: Path) -> Any:
    """The pyarrow.Table of an Arrow stream at `path`, mapped and kept open; to be called inside `reading`. InputError
    without pyarrow.
    """
    try:
        import pyarrow
    except ImportError as error:
        raise InputError(
            f"{path}: needs pyarrow to be read; expected it installed: pip install 'ironbind[data]'"
        ) from error

    def opened(stream: Path) -> Any:
        table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(stream))).read_all()
        table.validate(
            full=True
        )  # Arrow trusts the offsets in a file: damaged ones would be read beyond its end, and kill the process
        return table

    return kept_open(path, opened)


def first_value(path: Path, column: str) -> Any:
    """The first value of a column, "image.bytes" as well, that is not null; None where all of the first rows are. To be
    called inside `reading`.
    """
    return next((value for value in some_values(path, column, LOOKED_AT) if value is not None), None)


def some_values(path: Path, column: str, most: int = 1000) -> list[Any]:
    """The first values of a column, "image.bytes" as well. To be called inside `reading`."""
    first, *inside = column.split(".")
    if path.suffix == ARROW:
        values = open_arrow(path).column(first).slice(0, most).to_pylist()
    else:
        batch = next(open_parquet(path).iter_batches(batch_size=most, columns=[column]), None)
        values = batch.column(0).to_pylist() if batch is not None else []
    for part in inside:
        values = [value.get(part) if isinstance(value, dict) else value for value in values]
    return values


def _arrow_value(path: Path, column: str, row: int) -> Any:
    first, *inside = column.split(".")
    value = open_arrow(path).column(first)[row].as_py()
    for part in inside:
        value = value[part] if isinstance(value, dict) else value
    return value


def _parquet_value(path: Path, column: str, row: int) -> Any:
    table, group = open_parquet(path), 0
    while row >= (size := table.metadata.row_group(group).num_rows):
        row, group = row - size, group + 1
    return _parquet_group(path, state_of(path), group, column)[row].as_py()


@lru_cache(maxsize=2)
def _parquet_group(path: Path, state: tuple[int, int], group: int, column: str) -> Any:
    """One row group's column, as rows are asked for in order and parquet unpacks a group at a time. `state` tells
    rewritten files apart.
    """
    import pyarrow.compute

    table = open_parquet(path).read_row_group(group, columns=[column])
    values = table.column(column.split(".")[0]).combine_chunks()
    for part in column.split(".")[1:]:
        values = pyarrow.compute.struct_field(values, part)
    return values
