"""Columns of a long list in a few bytes a row: what every rank keeps of a million samples.

A list of a million short Python strings takes 60 MB and a million tuples 200 MB; here they are bytes and arrays.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from typing_extensions import Self

LONE_SURROGATES = "surrogatepass"  # names of files that are in no encoding


@dataclass(frozen=True, eq=False)
class PackedStrings(Sequence[str]):
    """Strings one after the other in `text` (UTF-8); string i ends at byte `ends[i]`."""

    text: bytes
    ends: np.ndarray

    @classmethod
    def of(cls, strings: Iterable[str]) -> Self:
        """The same strings, packed."""
        text, ends = bytearray(), array("q")
        for string in strings:
            text += string.encode("utf-8", LONE_SURROGATES)
            ends.append(len(text))
        return cls(bytes(text), np.array(ends, np.int64))

    @classmethod
    def joined(cls, parts: Sequence["PackedStrings"]) -> Self:
        """All strings of the parts, in order."""
        starts = np.cumsum([0, *(len(part.text) for part in parts)])
        ends = [part.ends + start for part, start in zip(parts, starts, strict=False)]
        return cls(b"".join(part.text for part in parts), np.concatenate([np.empty(0, np.int64), *ends]))

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, row: int) -> str: ...
    @overload
    def __getitem__(self, row: slice) -> list[str]: ...
    def __getitem__(self, row: int | slice) -> str | list[str]:
        """One string, or a list of those of a slice. Raises IndexError."""
        if isinstance(row, slice):
            return [self[number] for number in range(len(self))[row]]
        row = range(len(self))[row]
        start = int(self.ends[row - 1]) if row else 0
        return self.text[start : int(self.ends[row])].decode("utf-8", LONE_SURROGATES)

    def take(self, rows: Sequence[int]) -> "PackedStrings":
        """Those rows, in that order."""
        return PackedStrings.of(self[row] for row in rows)


@dataclass(frozen=True, eq=False)
class PackedMembers(Sequence[tuple[str, str, int, int]]):
    """Members of archives: (archive, member's name, its offset, its size in bytes). `archives[archive_of[i]]` is the
    archive of member i.
    """

    archives: tuple[str, ...]
    archive_of: np.ndarray
    names: PackedStrings
    offsets: np.ndarray
    sizes: np.ndarray

    @classmethod
    def of(cls, members: Sequence[tuple[str, str, int, int]]) -> Self:
        """The same members, packed."""
        number = {archive: row for row, archive in enumerate(dict.fromkeys(archive for archive, *_ in members))}
        return cls(
            tuple(number),
            np.asarray([number[archive] for archive, *_ in members], np.int32),
            PackedStrings.of(name for _, name, *_ in members),
            np.asarray([offset for *_, offset, _ in members], np.int64),
            np.asarray([size for *_, size in members], np.int64),
        )

    @classmethod
    def joined(cls, parts: Sequence["PackedMembers"]) -> Self:
        """All members of the parts, in order."""
        number = {archive: row for row, archive in enumerate(dict.fromkeys(a for part in parts for a in part.archives))}
        renumbered = [
            np.asarray([number[one] for one in part.archives], np.int32)[part.archive_of] for part in parts if len(part)
        ]
        return cls(
            tuple(number),
            np.concatenate([np.empty(0, np.int32), *renumbered]),
            PackedStrings.joined([part.names for part in parts]),
            np.concatenate([np.empty(0, np.int64), *(part.offsets for part in parts)]),
            np.concatenate([np.empty(0, np.int64), *(part.sizes for part in parts)]),
        )

    def __len__(self) -> int:
        return len(self.archive_of)

    @overload
    def __getitem__(self, row: int) -> tuple[str, str, int, int]: ...
    @overload
    def __getitem__(self, row: slice) -> list[tuple[str, str, int, int]]: ...
    def __getitem__(self, row: int | slice) -> tuple[str, str, int, int] | list[tuple[str, str, int, int]]:
        """One member, or a list of those of a slice. Raises IndexError."""
        if isinstance(row, slice):
            return [self[number] for number in range(len(self))[row]]
        archive = self.archives[int(self.archive_of[row])]
        return archive, self.names[row], int(self.offsets[row]), int(self.sizes[row])

    def take(self, rows: Sequence[int]) -> "PackedMembers":
        """Those rows, in that order."""
        number = np.asarray(rows, np.int64)
        return PackedMembers(
            self.archives, self.archive_of[number], self.names.take(rows), self.offsets[number], self.sizes[number]
        )


@dataclass(frozen=True, eq=False)
class RowsOfFiles(Sequence[tuple[str, int]]):
    """Rows of tables: (file, row in it). `files[file_of[i]]` is the file of row i."""

    files: tuple[str, ...]
    file_of: np.ndarray
    numbers: np.ndarray

    @classmethod
    def whole(cls, counts: Sequence[tuple[str, int]]) -> Self:
        """All rows of files of which each has so many, in order."""
        sizes = [count for _, count in counts]
        return cls(
            tuple(file for file, _ in counts),
            np.repeat(np.arange(len(sizes), dtype=np.int32), sizes),
            np.concatenate([np.empty(0, np.int64), *(np.arange(size) for size in sizes)]),
        )

    def __len__(self) -> int:
        return len(self.file_of)

    @overload
    def __getitem__(self, row: int) -> tuple[str, int]: ...
    @overload
    def __getitem__(self, row: slice) -> list[tuple[str, int]]: ...
    def __getitem__(self, row: int | slice) -> tuple[str, int] | list[tuple[str, int]]:
        """One row, or a list of those of a slice. Raises IndexError."""
        if isinstance(row, slice):
            return [self[number] for number in range(len(self))[row]]
        return self.files[int(self.file_of[row])], int(self.numbers[row])

    def take(self, rows: Sequence[int]) -> "RowsOfFiles":
        """Those rows, in that order."""
        number = np.asarray(rows, np.int64)
        return RowsOfFiles(self.files, self.file_of[number], self.numbers[number])


def taken(column: Sequence, rows: Sequence[int]) -> Sequence:
    """Those rows of a list or of a packed column, in that order, packed where they were."""
    if isinstance(column, PackedStrings | PackedMembers | RowsOfFiles):
        return column.take(rows)
    return [column[row] for row in rows]


def distinct(strings: Sequence[str]) -> bool:
    """Whether no string comes twice. Looks at hash values first, so that long lists are not copied."""
    hashes = np.fromiter(map(hash, strings), np.int64, len(strings))
    return len(np.unique(hashes)) == len(strings) or len(set(strings)) == len(strings)
