"""Thermal pictures: PNG, TIFF, JPEG of 8 or 16 bits, one channel or three equal ones -> intensity in [0, 1].

Integers are divided by the maximum of their type (255, 65535), never stretched or clipped: what range a sensor really
uses, and how to scale it, is the encoder's `prepare`. Floating-point TIFFs are taken as they are and must lie in [0,
1].
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ironbind.modalities.image import open_picture
from ironbind.modalities.reading import kind_of, reading
from ironbind.modalities.spaces import PIXELS
from ironbind.types import InputError, Modality, Thermal

GREY_TOLERANCE = 8  # levels of 255 that the channels of a "grey" JPEG may differ by, for chroma rounding


def read(path: Path) -> Thermal:
    """`path` as intensities. Raises InputError for a damaged picture, a colour picture, or depths that would lose bits."""
    path = Path(path)
    with reading(path, "a whole thermal picture: PNG, TIFF or JPEG, one channel of 8 or 16 bits"):
        depth = _raw_mode(path)
        with _libtiff_hushed(path):
            picture = open_picture(path, ("PNG", "TIFF", "JPEG", "BMP"))
        pixels = np.asarray(picture)
        if picture.mode == "F":
            return Thermal(_unit_interval(pixels.astype(np.float32), path))
        if picture.mode.startswith("I"):
            sixteen_bits = picture.mode.startswith("I;16") or depth.startswith("I;16") and not depth.endswith("S")
            if not sixteen_bits:
                raise InputError(f"{path}: holds {depth or picture.mode} integers; expected 8 or unsigned 16 bits")
            return Thermal(pixels.astype(np.float32) / np.float32(65535))
        if ";16" in depth:
            raise InputError(
                f"{path}: holds {len(picture.getbands())} channels of 16 bits, which would be cut to 8; expected one 16-bit channel"
            )
        return Thermal(_grey(picture, path).astype(np.float32) / np.float32(255))


@contextmanager
def _libtiff_hushed(path: Path) -> Iterator[None]:
    """The C library behind compressed TIFFs writes its complaints to file descriptor 2, past Python: closed to it while
    it decodes.
    """
    with path.open("rb") as file:
        if kind_of(file.read(12)) != "TIFF":
            yield
            return
    with Path(os.devnull).open("wb") as nowhere:
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def _raw_mode(path: Path) -> str:
    """How the file itself stores a pixel ("L", "I;16B", "RGB;16B"): Pillow's mode alone hides that 16-bit colour was
    cut to 8.
    """
    with Pillow.open(path) as picture:
        arguments = picture.tile[0][3] if picture.tile else ""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def _grey(picture: Pillow.Image, path: Path) -> np.ndarray:
    if picture.mode in ("L", "LA", "1"):
        return np.asarray(picture.convert("L"))
    red, green, blue = (
        np.asarray(picture.convert("RGB")).astype(np.int16).transpose(2, 0, 1)
    )  # one by one: numpy reduces three in a row slowly
    spread = int((np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)).max())
    if spread > GREY_TOLERANCE:
        raise InputError(
            f"{path}: is a colour picture (channels differ by up to {spread} of 255); expected one channel, or three equal ones"
        )
    return np.round((red + green + blue) / 3)


def _unit_interval(intensity: np.ndarray, path: Path) -> np.ndarray:
    if not np.isfinite(intensity).all():
        raise InputError(f"{path}: holds NaN or infinite values; expected intensities in [0, 1]")
    if intensity.min() < 0 or intensity.max() > 1:
        raise InputError(
            f"{path}: holds floating-point values from {intensity.min():g} to {intensity.max():g}; expected intensities in [0, 1]"
        )
    return intensity


def write(thermal: Thermal, path: Path) -> None:
    """A 16-bit grey PNG: exact for multiples of 1/65535 (so for every 8-bit picture too), else rounded to the nearest
    one.
    """
    Pillow.fromarray(np.round(thermal.intensity.astype(np.float64) * 65535).astype(np.uint16)).save(path, format="PNG")


THERMAL = Modality(
    "thermal",
    Thermal,
    (".png", ".tif", ".tiff", ".jpg", ".jpeg"),
    read,
    write,
    spaces={PIXELS.name: PIXELS},
    templates=("a thermal image of a {}.", "an infrared photo of a {}.", "{}"),
)
