"""Where the samples of one modality come from: the protocol `Source`, and files, one a sample.

A source is a frozen value: it can be sent to worker processes, holds no open file, and opens what it needs in the
process that decodes.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from typing_extensions import Self

from ironbind.data.folder_entries import entries_of
from ironbind.types import Decoded, InputError

WHOLE = 2**26  # bytes: members up to this size are hashed whole
PIECE, PIECES = (
    2**20,
    64,
)  # of longer members, so many pieces of so many bytes are hashed, spread evenly, and their date

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
        """SHA-256 over size and content; see `digest_of`."""
        path = self.root / self.files[row]
        try:
            with path.open("rb") as file:
                status = path.stat()
                return digest_of(
                    status.st_size, lambda start, length: bytes_at(file, start, length), status.st_mtime_ns
                )
        except OSError as error:
            raise InputError(
                f"{path}: cannot be read ({error.strerror}); "
                "expected the file that was there when the folder was loaded"
            ) from error

    def keep(self, rows: Sequence[int]) -> "Files":
        """Those rows, in that order."""
        return replace(self, files=[self.files[row] for row in rows])

    def absent(self) -> list[int]:
        """By looking once into each folder, not once at each file."""
        return absent_of(self.root, self.files)


def bytes_at(file: Any, start: int, length: int) -> bytes:
    """`length` bytes of an open binary file from `start`; fewer where it ends before."""
    file.seek(start)
    data: bytes = file.read(length)
    return data


def digest_of(size: int, piece: Callable[[int, int], bytes], written: int) -> str:
    """SHA-256, hex, over a member's size and content; `piece(start, length)` reads from it.

    Up to 64 MiB all bytes count: nearly every picture, sound and cloud, at about 0.4 GiB a second, less than decoding
    takes. Nothing but the content counts, so a copy of the data has the same digests. Longer members (videos) would
    take seconds each: of these 64 pieces of 1 MiB are read, and `written`, when the file was last written, in
    nanoseconds, counts as well: no edit goes unseen, and a copy with a new date is taken for new data.
    """
    digest = hashlib.sha256(str(size).encode())
    if size <= WHOLE:
        for start in range(0, size, PIECE):
            digest.update(piece(start, min(PIECE, size - start)))
        return digest.hexdigest()
    digest.update(f" {written} ".encode())
    for number in range(PIECES):
        digest.update(piece((size - PIECE) * number // (PIECES - 1), PIECE))
    return digest.hexdigest()


def absent_of(root: Path, files: Sequence[str]) -> list[int]:
    """The rows of `files` (relative to `root`) that are not on the disk."""
    there: dict[str, set[str]] = {}
    absent = []
    for row, file in enumerate(files):
        folder, _, name = file.rpartition("/")
        if folder not in there:
            there[folder] = {entry.name for entry in entries_of(root / folder)}
        if name not in there[folder]:
            absent.append(row)
    return absent
