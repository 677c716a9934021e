"""Members of uncompressed tar files, read where they lie."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ironbind.data.storage.files import Read, absent_of, bytes_at, digest_of
from ironbind.data.storage.packed import taken
from ironbind.modalities.reading import read_bytes, reading
from ironbind.types import Decoded, InputError


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
            data = bytes_at(file, start, length)
        if len(data) < length:
            raise InputError(f"{path}: is cut short within {self.members[row][1]}; expected a whole tar file")
        return data

    def place(self, row: int) -> str:
        """tar:member."""
        return f"{self.members[row][0]}:{self.members[row][1]}"

    def digest(self, row: int) -> str:
        """As of a file with these bytes, written when the tar was."""
        tar, _, offset, size = self.members[row]
        path = self.root / tar
        with reading(path, "a tar file"):
            written = path.stat().st_mtime_ns
        return digest_of(size, lambda start, length: self._piece(row, offset + start, length), written)

    def keep(self, rows: Sequence[int]) -> "TarMembers":
        """Those rows, in that order."""
        return replace(self, members=taken(self.members, rows))

    def absent(self) -> list[int]:
        """Those whose tar is not there."""
        return absent_of(self.root, [self.members[row][0] for row in range(len(self))])
