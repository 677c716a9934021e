"""The border between files and decoded samples: every reader runs inside `reading`, so that whatever a parser throws
becomes one clear line.
"""

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

import numpy as np

from ironbind.types import Decoded, InputError

# of decoded numbers in one file: 10 s of 1080p video fit; a header that promises more is a mistake or a bomb
MAX_BYTES = 2**31
MAX_PIXELS = 100_000_000  # in one picture or frame; a decompression bomb announces more

_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff", "JPEG"), (b"BM", "BMP"), (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"), (b"MM\x00*", "TIFF"), (b"fLaC", "FLAC"), (b"OggS", "OGG"), (b"ID3", "MP3"),
    (b"\x1aE\xdf\xa3", "MKV/WEBM"), (b"ply", "PLY"), (b"\x93NUMPY", "NPY"),
    (b"PK\x03\x04", "ZIP/NPZ"), (b"%PDF", "PDF"), (b"\x1f\x8b", "GZIP"), (b"<", "HTML/XML"), (b"{", "JSON"),
    (b"version https://git-lfs", "Git LFS pointer"),
)  # fmt: skip
_ISO_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
_RIFF = {b"WAVE": "WAV", b"AVI ": "AVI", b"WEBP": "WEBP"}


def load_array(path: Path) -> np.ndarray:
    """The array of a .npy file, mapped, so that its header cannot make room for more than the file holds. To be called
    inside `reading`.
    """
    array: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    return array


def check_unpacked_size(path: Path) -> None:
    """Raises InputError for an .npz that unpacks to more than MAX_BYTES, by its own table. To be called inside
    `reading`.
    """
    with ZipFile(path) as archive:
        size = sum(member.file_size for member in archive.infolist())
    if size > MAX_BYTES:
        raise InputError(f"{path}: unpacks to {size:,} bytes; expected at most {MAX_BYTES:,}")


@contextmanager
def reading(path: Path, expected: str) -> Iterator[None]:
    """Run a parser: InputError for a missing or empty file and for anything the body raises; warnings of third-party
    parsers are dropped.

    Third-party decoders throw a zoo on damaged bytes (struct.error, SyntaxError, zlib.error, IndexError, MemoryError,
    ...): all of it means the same to a user, so all of it is caught here and nowhere else.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; expected {expected}")
    if not path.is_file():
        raise InputError(f"{path}: is a folder, not a file; expected {expected}")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty (0 bytes); expected {expected}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        what = " ".join(str(error).replace(str(path), path.name).split()) or type(error).__name__
        raise InputError(f"{path}: cannot be read ({content_of(path)}: {what[:160]}); expected {expected}") from error


def content_of(path: Path) -> str:
    """What a file looks like from its first bytes: "PNG data", "text", "unknown bytes 00 01 02 03"."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return "unreadable"
    kind = kind_of(head)
    if kind:
        return f"{kind} data"
    if all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        return "text"
    return f"unknown bytes {head[:4].hex(' ')}"


def kind_of(head: bytes) -> str | None:
    """The format that a file's first 12 bytes announce ("PNG", "WAV", "MP4/MOV", ...), None when they are no known
    signature.
    """
    if head[:4] in (b"RIFF", b"RIFX", b"RF64"):
        return _RIFF.get(head[8:12])
    if head[4:8] in _ISO_BOXES:
        return "MP4/MOV"
    return next((kind for signature, kind in _SIGNATURES if head.startswith(signature)), None)


def read_bytes(data: bytes, read: Callable[[Path], Decoded], suffix: str, where: str) -> Decoded:
    """What `read` makes of a file with these bytes; its complaints name `where` instead of the passing file.

    Readers check signatures, sizes and cut ends of files, and some hand the path to a C library: so the bytes become a
    file for a moment.
    """
    handle, name = tempfile.mkstemp(suffix=suffix, prefix="ironbind-")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return read(path)
    except InputError as error:
        raise InputError(str(error).replace(str(path), where).replace(path.name, where)) from error
    finally:
        path.unlink(missing_ok=True)
