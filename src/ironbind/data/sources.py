"""Where the samples of one modality come from: files, members of archives and tables, crops. Each decodes one row when
asked for it.

A source is a frozen value: it can be sent to worker processes, holds no open file, and opens what it needs in the
process that decodes.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from typing_extensions import Self

from ironbind.modalities.reading import reading
from ironbind.types import Decoded, Image, InputError, Thermal

WHOLE, PIECE = (
    65_536,
    16_384,
)  # bytes: members up to the first are hashed whole, of longer ones three pieces of the second
ARROW = ".arrow"
OPEN = 8  # tables that one process keeps open at a time
CHUNKS = (
    2**24
    # bytes of unpacked HDF5 chunks kept per file: h5py cuts clouds across rows, 128 by 128 by 1, so a row touches 3 MiB of
    # them
)
REMEMBERED = 2  # decoded pictures of which crops are taken: those of two paired modalities

Read = Callable[[Path], Decoded]
"""Decodes one file: `MODALITIES[m].read`, or any function of a module (not a lambda: it must survive pickling) with the
same manners.
"""


class Source(Protocol):
    """Row i is sample i. `decode` raises InputError naming the member; `place` names it without saying where the data
    set lies; `digest` follows its content, without decoding it; `keep` gives those rows, in that order; `absent` the
    rows whose file is not there."""

    def __len__(self) -> int: ...

    def decode(self, row: int) -> Decoded: ...

    def place(self, row: int) -> str: ...

    def digest(self, row: int) -> str: ...

    def keep(self, rows: Sequence[int]) -> Self: ...

    def absent(self) -> list[int]: ...


@dataclass(frozen=True, eq=False)
class Files:
    """One file a sample: `files[i]` relative to `root`, with `/`."""

    root: Path
    files: Sequence[str]
    read: Read

    def __len__(self) -> int:
        return len(self.files)

    def decode(self, row: int) -> Decoded:
        """The file, read."""
        return self.read(self.root / self.files[row])

    def place(self, row: int) -> str:
        """The path relative to the root."""
        return self.files[row]

    def digest(self, row: int) -> str:
        """SHA-256 over size and content, of files above 64 KiB over three pieces."""
        path = self.root / self.files[row]
        try:
            with path.open("rb") as file:
                return _digest(path.stat().st_size, lambda start, length: _at(file, start, length))
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read ({error.strerror}); expected the file that was there when the folder was loaded"
            ) from error

    def keep(self, rows: Sequence[int]) -> "Files":
        """Those rows, in that order."""
        return replace(self, files=[self.files[row] for row in rows])

    def absent(self) -> list[int]:
        """By looking once into each folder, not once at each file."""
        return _absent(self.root, self.files)


_pictures: dict[tuple[Source, str], Decoded] = {}


@dataclass(frozen=True, eq=False)
class Crops:
    """A box of a picture a sample: `boxes[i]` is (left, top, right, bottom) in pixels, right and bottom excluded, of
    row i of `pictures`.

    A box must lie within its picture, whose size only decoding shows: `decode` raises InputError for one that does not.
    """

    pictures: Source
    boxes: Sequence[tuple[int, int, int, int]]

    def __len__(self) -> int:
        return len(self.boxes)

    def decode(self, row: int) -> Decoded:
        """The part of the picture, all its bits."""
        whole = self._picture(row)
        left, top, right, bottom = self.boxes[row]
        pixels = whole.pixels if isinstance(whole, Image) else whole.intensity if isinstance(whole, Thermal) else None
        if pixels is None:
            raise InputError(
                f"{self.place(row)}: is no picture but {type(whole).__name__}; expected an image or a thermal picture to cut from"
            )
        height, width = pixels.shape[:2]
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise InputError(
                f"{self.place(row)}: leaves its picture of {width} x {height} pixels, or is empty; expected a box within it"
            )
        part = np.ascontiguousarray(pixels[top:bottom, left:right])
        return Image(part) if isinstance(whole, Image) else Thermal(part)

    def _picture(self, row: int) -> Decoded:
        """Crops of one picture follow each other, and unpacking it costs most: the last few are remembered."""
        key = (self.pictures, self.pictures.place(row))
        if key not in _pictures:
            decoded = self.pictures.decode(row)
            while len(_pictures) >= REMEMBERED:
                _pictures.pop(next(iter(_pictures)))
            _pictures[key] = decoded
        return _pictures[key]

    def place(self, row: int) -> str:
        """The picture's, and the box."""
        return f"{self.pictures.place(row)}[{','.join(map(str, self.boxes[row]))}]"

    def digest(self, row: int) -> str:
        """The picture's; the box is in the place."""
        return self.pictures.digest(row)

    def keep(self, rows: Sequence[int]) -> "Crops":
        """Those rows, in that order."""
        return Crops(self.pictures.keep(rows), [self.boxes[row] for row in rows])

    def absent(self) -> list[int]:
        """Those whose picture is not there."""
        return self.pictures.absent()


@dataclass(frozen=True, eq=False)
class Hdf5Rows:
    """A row of an HDF5 array a sample: `members[i]` is (file relative to `root`, row in it) of the array `key`; `make`
    turns it into a sample.

    `make` raises ValueError or InputError for a row that is none. Needs h5py: `pip install 'ironbind[data]'`.
    """

    root: Path
    members: Sequence[tuple[str, int]]
    key: str
    make: Callable[[np.ndarray], Decoded]

    def __len__(self) -> int:
        return len(self.members)

    def decode(self, row: int) -> Decoded:
        """The row, made a sample."""
        try:
            return self.make(self._array(row))
        except ValueError as error:
            raise InputError(f"{self.root / self.place(row)}: {error}") from error

    def _array(self, row: int) -> np.ndarray:
        file, number = self.members[row]
        path = self.root / file
        with reading(path, f"an HDF5 file with the array {self.key!r}"):
            return np.asarray(_array_of(path, self.key)[number])

    def place(self, row: int) -> str:
        """file:key[row]."""
        file, number = self.members[row]
        return f"{file}:{self.key}[{number}]"

    def digest(self, row: int) -> str:
        """SHA-256 over the row's numbers."""
        array = self._array(row)
        return hashlib.sha256(f"{array.dtype} {array.shape}".encode() + array.tobytes()).hexdigest()

    def keep(self, rows: Sequence[int]) -> "Hdf5Rows":
        """Those rows, in that order."""
        return replace(self, members=[self.members[row] for row in rows])

    def absent(self) -> list[int]:
        """Those whose file is not there."""
        return _absent(self.root, [file for file, _ in self.members])


@dataclass(frozen=True, eq=False)
class ParquetRows:
    """Encoded bytes in a parquet column a sample: `members[i]` is (file relative to `root`, row in it); `column` may be
    nested ("image.bytes").

    Files called .arrow are Arrow streams, as `datasets` saves them, and are mapped rather than read.
    `suffix` is what a file with these bytes would be called, for `read`. Needs pyarrow: `pip install 'ironbind[data]'`.
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
        file, number = self.members[row]
        path = self.root / file
        with reading(path, f"a {'parquet' if path.suffix != ARROW else 'Arrow'} file with the column {self.column!r}"):
            value = (
                _arrow_value(path, self.column, number)
                if path.suffix == ARROW
                else _parquet_value(path, self.column, number)
            )
        if not isinstance(value, bytes):
            raise InputError(
                f"{self.root / self.place(row)}: holds {type(value).__name__}, not bytes; expected an encoded file"
            )
        return value

    def place(self, row: int) -> str:
        """file:column[row]."""
        file, number = self.members[row]
        return f"{file}:{self.column}[{number}]"

    def digest(self, row: int) -> str:
        """As of a file with these bytes."""
        data = self._bytes(row)
        return _digest(len(data), lambda start, length: data[start : start + length])

    def keep(self, rows: Sequence[int]) -> "ParquetRows":
        """Those rows, in that order."""
        return replace(self, members=[self.members[row] for row in rows])

    def absent(self) -> list[int]:
        """Those whose file is not there."""
        return _absent(self.root, [file for file, _ in self.members])


@dataclass(frozen=True, eq=False)
class TarMembers:
    """A member of an uncompressed tar file a sample: `members[i]` is (tar relative to `root`, member's name, its
    offset, its size).
    """

    root: Path
    members: Sequence[tuple[str, str, int, int]]
    read: Read

    def __len__(self) -> int:
        return len(self.members)

    def decode(self, row: int) -> Decoded:
        """The member, read."""
        _, name, start, size = self.members[row]
        data = self._piece(row, start, size)
        return read_bytes(data, self.read, Path(name).suffix, str(self.root / self.place(row)))

    def _piece(self, row: int, start: int, length: int) -> bytes:
        path = self.root / self.members[row][0]
        with reading(path, "a tar file"), path.open("rb") as file:
            data = _at(file, start, length)
        if len(data) < length:
            raise InputError(f"{path}: is cut short within {self.members[row][1]}; expected a whole tar file")
        return data

    def place(self, row: int) -> str:
        """tar:member."""
        return f"{self.members[row][0]}:{self.members[row][1]}"

    def digest(self, row: int) -> str:
        """As of a file with these bytes."""
        _, _, offset, size = self.members[row]
        return _digest(size, lambda start, length: self._piece(row, offset + start, length))

    def keep(self, rows: Sequence[int]) -> "TarMembers":
        """Those rows, in that order."""
        return replace(self, members=[self.members[row] for row in rows])

    def absent(self) -> list[int]:
        """Those whose tar is not there."""
        return _absent(self.root, [tar for tar, *_ in self.members])


def read_bytes(data: bytes, read: Read, suffix: str, where: str) -> Decoded:
    """What `read` makes of a file with these bytes; its complaints name `where` instead of the passing file.

    Readers check signatures, sizes and cut ends of files, and some hand the path to a C library: so the bytes become a
    file for a moment.
    """
    handle, name = tempfile.mkstemp(suffix=suffix, prefix="ironbind-")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return read(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), where).replace(path.name, where)) from error
    finally:
        path.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------------ open tables
# Kept per process (a forked worker must not share a file position) and per state of the file (a rewritten one is opened
# anew).

_open: dict[tuple[int, str, tuple[int, int], str], Any] = {}
_Opened = TypeVar("_Opened")


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


def _kept_open(path: Path, opener: Callable[[Path], _Opened], part: str = "") -> _Opened:
    key = (os.getpid(), str(path), _state(path), part)
    if key not in _open:
        mine = [
            one for one in _open if one[0] == key[0]
        ]  # a forked worker leaves its parent's alone: to close them takes threads that it lacks
        for one in mine[: max(0, len(mine) - OPEN + 1)]:
            del _open[one]
        _open[key] = opener(path)
    found: _Opened = _open[key]
    return found


def open_hdf5(path: Path) -> Any:
    """The h5py.File at `path`, read-only and kept open; to be called inside `reading`. InputError without h5py."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path}: needs h5py to be read; expected it installed: pip install 'ironbind[data]'"
        ) from error
    return _kept_open(path, lambda one: h5py.File(one, "r", rdcc_nbytes=CHUNKS))


def _array_of(path: Path, key: str) -> Any:
    """The array `key` of an HDF5 file, kept open too: its unpacked chunks live as long as it does."""
    return _kept_open(path, lambda one: open_hdf5(one)[key], key)


def open_parquet(path: Path) -> Any:
    """The pyarrow.parquet.ParquetFile at `path`, kept open; to be called inside `reading`. InputError without pyarrow."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise InputError(
            f"{path}: needs pyarrow to be read; expected it installed: pip install 'ironbind[data]'"
        ) from error
    return _kept_open(path, pyarrow.parquet.ParquetFile)


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

    def opened(one: Path) -> Any:
        table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(one))).read_all()
        table.validate(
            full=True
        )  # Arrow trusts the offsets in a file: damaged ones would be read beyond its end, and kill the process
        return table

    return _kept_open(path, opened)


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
    return _parquet_group(path, _state(path), group, column)[row].as_py()


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


# ------------------------------------------------------------------------------------------------ content and absence


def _at(file: Any, start: int, length: int) -> bytes:
    file.seek(start)
    data: bytes = file.read(length)
    return data


def _digest(size: int, piece: Callable[[int, int], bytes]) -> str:
    digest = hashlib.sha256(str(size).encode())
    starts = ((0, size),) if size <= WHOLE else ((0, PIECE), ((size - PIECE) // 2, PIECE), (size - PIECE, PIECE))
    for start, length in starts:
        digest.update(piece(start, length))
    return digest.hexdigest()


def _absent(root: Path, files: Sequence[str]) -> list[int]:
    there: dict[str, set[str]] = {}
    absent = []
    for row, file in enumerate(files):
        folder, _, name = file.rpartition("/")
        if folder not in there:
            place = root / folder
            there[folder] = set(os.listdir(place)) if place.is_dir() else set()
        if name not in there[folder]:
            absent.append(row)
    return absent
