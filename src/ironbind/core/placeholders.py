"""Placeholder files: what a download leaves where weights, data or a configuration were expected."""

from pathlib import Path

LFS = b"version https://git-lfs.github.com/spec/"


def placeholder(path: Path) -> str:
    """What a file is in place of its content: an empty file, a git-lfs pointer, a web page; "" for anything else.
    Raises OSError for a file that cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "an empty file"
    if head.startswith(LFS):
        return "a git-lfs pointer, not the file itself; run `git lfs pull`"
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith((b"<!doctype html", b"<html")):
        return "a web page: the server sent that in place of the file, for want of a login or a quota"
    return ""
