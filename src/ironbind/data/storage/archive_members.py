"""What lies in an archive, tar or zip, and sources of its members; nothing is unpacked."""

import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ironbind.data.storage.files import Files, Read, Source
from ironbind.data.storage.packed import PackedMembers
from ironbind.data.storage.tar import TarMembers
from ironbind.data.storage.zip import EXPECTED as EXPECTED_ZIP
from ironbind.data.storage.zip import ZipMembers, open_zip
from ironbind.modalities.reading import reading
from ironbind.types import InputError

TAR, ZIP = (".tar",), (".zip",)
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


class Contents(NamedTuple):
    """The files in an archive, or below a folder: `names` with `/`, in order; `places[i]` says where file i lies in a
    tar (offset and size in bytes), () elsewhere.
    """

    path: Path
    names: Sequence[str]
    places: Sequence[tuple[int, int]]

    def source(self, rows: Sequence[int], read: Read) -> Source:
        """These files as samples."""
        names = [self.names[row] for row in rows]
        if self.path.is_dir():
            return Files(self.path, names, read)
        root, file = self.path.parent, self.path.name
        if not self.places:
            return ZipMembers(root, [(file, name) for name in names], read)
        members = [(file, name, *self.places[row]) for row, name in zip(rows, names, strict=True)]
        return TarMembers(root, PackedMembers.of(members), read)


def is_archive(path: Path) -> bool:
    """Whether a file is called like an archive, of the kinds that are read or not."""
    return path.is_file() and path.name.lower().endswith((*TAR, *ZIP, *COMPRESSED))


def contents_of(path: Path) -> Contents:
    """The files of an archive, sorted by name, hidden ones left out. Raises InputError for a compressed tar, and for
    what cannot be read.
    """
    if path.name.lower().endswith(COMPRESSED):
        raise InputError(f"{path}: is a compressed tar file, whose members cannot be read alone; expected .tar or .zip")
    if path.name.lower().endswith(ZIP):
        with reading(path, EXPECTED_ZIP):
            members = open_zip(path).infolist()
            names = sorted({member.filename for member in members if not member.is_dir() and _shown(member.filename)})
        return Contents(path, names, ())
    found: dict[str, tuple[int, int]] = {}
    with reading(path, "an uncompressed tar file"), tarfile.open(path, "r:") as tar:
        for member in tar:
            if member.isfile() and _shown(member.name):
                found[member.name] = (member.offset_data, member.size)  # of two of one name, the last counts
    names = sorted(found)
    return Contents(path, names, [found[name] for name in names])


def _shown(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not any(part.startswith(".") and part != "." or part == "__MACOSX" for part in parts)
