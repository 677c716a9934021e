"""Errors of the user's input and of the disk. Imports nothing of the package, so that every layer may raise them."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something the user gave cannot be used: one line naming the file or option, the value, and what was expected."""

    def __init__(self, line: str) -> None:
        # names in damaged lists and files hold line breaks, and bytes that no terminal takes
        super().__init__(" ".join(line.splitlines()).encode("utf-8", "backslashreplace").decode("utf-8"))


class UnknownName(InputError, KeyError):
    """A name that a table does not hold; the message lists near misses."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would print the repr


class WriteError(InputError, OSError):
    """A file cannot be written: the disk is full, the folder is read-only. An OSError too, for those who catch that."""


def first_line(error: BaseException) -> str:
    """What an error of somebody else's code says in its first line; "" where it says nothing."""
    return (str(error).strip().splitlines() or [""])[0]


_NO_ROOM = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}
# a file where a folder should be, a folder that cannot be made
_NO_FOLDER = {errno.EEXIST, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG}


def disk_problem(error: OSError, path: str | os.PathLike[str] = "") -> str:
    """The line about an error of the disk (no room, no permission; of a `path` that is being written also a file where
    a folder should be), "" for every other error.
    """
    if isinstance(error, WriteError):
        return str(error)
    name = os.fspath(path) or error.filename or "a file"
    if error.errno in _NO_ROOM:
        return no_room(name, error.strerror)
    if path and error.errno in _NO_PERMISSION | _NO_FOLDER:
        return f"{name} cannot be written ({error.strerror}); expected a folder that can be written"
    if error.errno in _NO_PERMISSION:
        return f"{name}: {error.strerror}; expected permission to use it"
    return ""


def no_room(name: str, reason: str | None) -> str:
    """What to say, and what to do, where a disk is full."""
    return (
        f"{name} cannot be written ({reason}); free some space and run the same command to continue, "
        "what was stored before stays"
    )


@contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raises WriteError naming `path` where writing it within the block fails for want of room, permission or a
    folder.
    """
    try:
        yield
    except OSError as error:
        line = disk_problem(error, path)
        if not line:
            raise
        raise WriteError(line) from error
