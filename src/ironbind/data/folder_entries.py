"""What lies in a folder, whatever it is called and whatever links point to: names that are not UTF-8, links to nowhere
and to themselves.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ironbind.types import InputError


def printable(name: str) -> str:
    """A file's name as text that can be written anywhere: UTF-8 where its bytes are UTF-8, every other byte as \\xfc.

    Python hands over bytes that it cannot decode as lone surrogates, which no file, terminal or report takes.
    """
    try:
        name.encode()
        return name
    except UnicodeEncodeError:
        written = b"".join(
            bytes([ord(sign) - 0xDC00]) if "\udc80" <= sign <= "\udcff" else sign.encode("utf-8", "backslashreplace")
            for sign in name
        )
        return written.decode("utf-8", "backslashreplace")


def is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a folder or a link to one; a link that leads back to itself is none."""
    try:
        return entry.is_dir()
    except OSError:  # ELOOP, or no permission to look behind the link
        return False


def entries_of(path: Path) -> "list[os.DirEntry[str]]":
    """What lies in `path`, in the order of names; nothing where it is no folder. Raises InputError for a folder that
    cannot be looked into.
    """
    if not path.is_dir():
        return []
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(f"{path}: cannot be looked into ({error.strerror}); expected a folder to read") from error


def folders_in(path: Path) -> list[str]:
    """The names of the folders in `path`, sorted, without hidden ones; none where it is no folder. Raises
    InputError.
    """
    return [entry.name for entry in entries_of(path) if not entry.name.startswith(".") and is_folder(entry)]


def files_in(path: Path, suffixes: Sequence[str]) -> list[str]:
    """The names of the files with one of these suffixes in `path`, sorted, without hidden ones; none where it is no
    folder. Raises InputError.
    """
    return [
        entry.name
        for entry in entries_of(path)
        if not entry.name.startswith(".") and entry.name.lower().endswith(tuple(suffixes)) and not is_folder(entry)
    ]


def files_below(path: Path, suffixes: Sequence[str]) -> Iterator[str]:
    """The files with one of these suffixes in the folders of `path`, however deep, relative to it; hidden ones and what
    lies behind links are left out.
    """
    for folder, inside, names in os.walk(path):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        if folder == str(path):
            continue
        for name in sorted(names):
            if not name.startswith(".") and name.lower().endswith(tuple(suffixes)):
                yield (Path(folder) / name).relative_to(path).as_posix()
