"""Rows of arrays in HDF5 files. Needs h5py: `pip install 'ironbind[data]'`."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ironbind.data.storage.files import absent_of
from ironbind.data.storage.open_files import kept_open
from ironbind.modalities.reading import reading
from ironbind.types import Decoded, InputError

# bytes of unpacked HDF5 chunks kept per file: h5py cuts clouds across rows, 128 by 128 by 1, so a row touches 3 MiB
CHUNKS = 2**24


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
        return absent_of(self.root, [file for file, _ in self.members])


def open_hdf5(path: Path) -> Any:
    """The h5py.File at `path`, read-only and kept open; to be called inside `reading`. InputError without h5py."""
    try:
        import h5py
    except ImportError as error:
        raise InputError(
            f"{path}: needs h5py to be read; expected it installed: pip install 'ironbind[data]'"
        ) from error
    return kept_open(path, lambda table: h5py.File(table, "r", rdcc_nbytes=CHUNKS))


def _array_of(path: Path, key: str) -> Any:
    """The array `key` of an HDF5 file, kept open too: its unpacked chunks live as long as it does."""
    return kept_open(path, lambda table: open_hdf5(table)[key], key)
