"""Thermal pictures: PNG, TIFF, JPEG of 8 or 16 bits, one channel or three equal ones -> intensity in [0, 1].

Integers are divided by the maximum of their type (255, 65535), never stretched or clipped, and floating-point TIFFs
must lie in [0, 1], unless the user says which range counts. Radiometric files need that: their counts span a few per
cent of the type, and their temperatures lie outside of [0, 1]. `thermal_range=(7000, 9000)` maps these counts (or
kelvins, degrees) to 0 and 1 and cuts what lies beyond; `thermal_percentiles=(1, 99)` takes the range from each picture
itself, which makes a warm and a cold scene look alike. Pictures are turned upright by their EXIF orientation, unless
`orientation="ignore"`.
"""

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ironbind.modalities.blanks import about_intensity
from ironbind.modalities.image import open_picture
from ironbind.modalities.orientation import Orientation
from ironbind.modalities.reading import kind_of, reading
from ironbind.modalities.spaces import PIXELS
from ironbind.types import InputError, Modality, Remark, Thermal

GREY_TOLERANCE = 8  # levels of 255 that the channels of a "grey" JPEG may differ by, for chroma rounding
FORMATS = ("PNG", "TIFF", "JPEG", "BMP")


def read(
    path: Path,
    orientation: Orientation = "upright",
    thermal_range: Sequence[float] | None = None,
    thermal_percentiles: Sequence[float] | None = None,
) -> Thermal:
    """`path` as intensities, `orientation` "upright" or "ignore".

    `thermal_range`: the two numbers of the file, counts or temperatures, that become 0 and 1. `thermal_percentiles`:
    the same as percentiles of the picture's own numbers. Raises InputError for a damaged picture, a colour picture,
    depths that would lose bits, numbers outside of [0, 1] where no range is given.
    """
    path = Path(path)
    check_scaling(thermal_range, thermal_percentiles)
    with reading(path, "a whole thermal picture: PNG, TIFF or JPEG, one channel of 8 or 16 bits"):
        depth = _raw_mode(path)
        with _libtiff_hushed(path):
            picture, remarks = open_picture(path, FORMATS, orientation)
        values, full = _numbers(picture, depth, path, scaled=bool(thermal_range or thermal_percentiles))
        if not np.isfinite(values).all():
            raise InputError(f"{path}: holds NaN or infinite values; expected finite intensities")
        if thermal_range is not None:
            low, high = map(float, thermal_range)
        elif thermal_percentiles is not None:
            low, high = (float(edge) for edge in np.percentile(values, list(thermal_percentiles)))
        else:
            if full == 1 and (values.min() < 0 or values.max() > 1):
                raise InputError(
                    f"{path}: holds floating-point values from {values.min():g} to {values.max():g}; "
                    "expected intensities in [0, 1], or thermal_range=LOW+HIGH, the values that become 0 and 1"
                )
            return Thermal(values.astype(np.float32) / np.float32(full), remarks + about_intensity(values, full))
        return Thermal(_rescaled(values, low, high), remarks + _about_scaling(values, low, high))


def check_scaling(thermal_range: Sequence[float] | None, thermal_percentiles: Sequence[float] | None) -> None:
    """Raises InputError for anything but two rising numbers in one of the two, the percentiles within 0 to 100."""
    options = {"thermal_range": thermal_range, "thermal_percentiles": thermal_percentiles}
    for name, edges in options.items():
        if edges is None:
            continue
        expected = "two rising numbers" + (" within 0 to 100" if name == "thermal_percentiles" else "")
        numbers = isinstance(edges, Sequence) and all(
            isinstance(edge, int | float) and not isinstance(edge, bool) and math.isfinite(edge) for edge in edges
        )
        if not numbers or isinstance(edges, str) or len(edges) != 2 or not edges[0] < edges[1]:
            raise InputError(f"{name}={edges!r} is no range; expected {expected}")
        if name == "thermal_percentiles" and not 0 <= edges[0] < edges[1] <= 100:
            raise InputError(f"{name}={edges!r} is no range; expected {expected}")
    if thermal_range is not None and thermal_percentiles is not None:
        raise InputError("thermal_range and thermal_percentiles exclude each other; expected one of them")


def _numbers(picture: Pillow.Image, depth: str, path: Path, scaled: bool) -> tuple[np.ndarray, float]:
    """The picture's own numbers `h w`, and the largest that its type holds: 255, 65535, or 1 for floating point."""
    if picture.mode == "F":
        return np.asarray(picture), 1.0
    if picture.mode.startswith("I"):
        sixteen_bits = picture.mode.startswith("I;16") or depth.startswith("I;16") and not depth.endswith("S")
        if not sixteen_bits and not scaled:
            raise InputError(f"{path}: holds {depth or picture.mode} integers; expected 8 or unsigned 16 bits")
        return np.asarray(picture), 65535.0
    if ";16" in depth:
        channels = len(picture.getbands())
        raise InputError(
            f"{path}: holds {channels} channels of 16 bits, which would be cut to 8; expected one 16-bit channel"
        )
    return _grey(picture, path), 255.0


def _rescaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if not low < high:  # percentiles of a picture that is one number nearly everywhere
        return np.zeros(values.shape, np.float32)
    return ((values.astype(np.float64) - low) / (high - low)).clip(0, 1).astype(np.float32)


def _about_scaling(values: np.ndarray, low: float, high: float) -> tuple[Remark, ...]:
    """That the picture was scaled, and what was cut."""
    beyond = float(((values < low) | (values > high)).mean())
    remarks = (Remark("scaled by the range given", f"{low:g} to {high:g}; {100 * beyond:.1f} % of the pixels beyond"),)
    inside = about_intensity(values.clip(low, high) - low, high - low) if low < high else about_intensity(values, high)
    return remarks + inside


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
        standard_error = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


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
            f"{path}: is a colour picture (channels differ by up to {spread} of 255); "
            "expected one channel, or three equal ones"
        )
    return np.round((red + green + blue) / 3)


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
