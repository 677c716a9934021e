"""Members of zip files, each unpacked when it is asked for."""

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ironbind.data.storage.files import Read, absent_of, digest_of
from ironbind.data.storage.open_files import kept_open
from ironbind.data.storage.packed import taken
from ironbind.modalities.reading import MAX_BYTES, read_bytes, reading
from ironbind.types import Decoded, InputError

EXPECTED = "a zip file without a password"


@dataclass(frozen=True, eq=False)
class ZipMembers:
    """A member of a zip file a sample: `members[i]` is (zip relative to `root`, member's name)."""

    root: Path
    members: Sequence[tuple[str, str]]
    read: Read

    def __len__(self) -> int:
        return len(self.members)

    def decode(self, row: int) -> Decoded:
        """The member, unpacked and read."""
        _, name = self.members[row]
        return read_bytes(self._bytes(row), self.read, Path(name).suffix, str(self.root / self.place(row)))

    def _bytes(self, row: int) -> bytes:
        file, name = self.members[row]
        path = self.root / file
        with reading(path, EXPECTED):
            archive = open_zip(path)
            size = archive.getinfo(name).file_size
            if size > MAX_BYTES:
                raise InputError(f"{path}:{name}: unpacks to {size:,} bytes; expected at most {MAX_BYTES:,}")
            data: bytes = archive.read(name)
        return data

    def place(self, row: int) -> str:
        """zip:member."""
        return f"{self.members[row][0]}:{self.members[row][1]}"

    def digest(self, row: int) -> str:
        """As of a file with these bytes, written when the zip was."""
        data, path = self._bytes(row), self.root / self.members[row][0]
        return digest_of(len(data), lambda start, length: data[start : start + length], path.stat().st_mtime_ns)

    def keep(self, rows: Sequence[int]) -> "ZipMembers":
        """Those rows, in that order."""
        return replace(self, members=taken(self.members, rows))

    def absent(self) -> list[int]:
        """Those whose zip is not there."""
        return absent_of(self.root, [file for file, _ in self.members])


def open_zip(path: Path) -> Any:
    """The zipfile.ZipFile at `path`, kept open; to be called inside `reading`."""
    return kept_open(path, zipfile.ZipFile)
