"""Texts: one UTF-8 file, one text."""

from pathlib import Path

from ironbind.modalities.reading import content_of, reading
from ironbind.types import InputError, Modality

MAX_TEXT_BYTES = 1_000_000


def read(path: Path) -> str:
    """The text of `path` without surrounding white space. Raises InputError for an empty file, for bytes that are no
    UTF-8, and for books.
    """
    path = Path(path)
    with reading(path, "a UTF-8 text"):
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise InputError(
                f"{path}: has {path.stat().st_size:,} bytes; expected a text of at most {MAX_TEXT_BYTES:,}"
            )
        text = path.read_bytes().decode("utf-8-sig").strip()
        if "\x00" in text:
            raise InputError(f"{path}: holds NUL bytes ({content_of(path)}); expected a UTF-8 text")
        if not text:
            raise InputError(f"{path}: holds only white space; expected a UTF-8 text")
        return text


def write(text: str, path: Path) -> None:
    """UTF-8, one newline at the end."""
    path.write_bytes(f"{text}\n".encode())


TEXT = Modality("text", str, (".txt",), read, write)
