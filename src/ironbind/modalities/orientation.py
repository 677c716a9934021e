"""How a camera was held: the eight orientations of EXIF, and turning pixels upright.

Phones and thermal cameras store what the sensor saw and write beside it how to turn it: an EXIF orientation in
pictures, a display matrix in videos. Every viewer applies it, and so do the readers here by default
(`orientation="upright"`). The official pipelines of ImageBind and LanguageBind do not: `orientation="ignore"` keeps the
pixels as stored, for parity with published numbers.
"""

from typing import Literal

import numpy as np
from PIL import Image as Pillow

from ironbind.types import InputError, Remark

Orientation = Literal["upright", "ignore"]
CHOICES = ("upright", "ignore")
TAG = 0x0112  # of EXIF
AS_STORED = 1  # the EXIF orientation of pixels that are upright already


def check_choice(orientation: str) -> None:
    """Raises InputError for anything but "upright" and "ignore"."""
    if orientation not in CHOICES:
        raise InputError(f"orientation={orientation!r} is not known; expected one of {', '.join(CHOICES)}")


def exif_orientation(picture: Pillow.Image) -> int:
    """1 to 8; 1 where the picture says nothing, or nothing that EXIF knows. XMP counts where EXIF is silent.

    To be asked before the pixels are loaded: Pillow turns TIFFs itself when it loads them, and forgets how.
    """
    try:
        orientation = picture.getexif().get(TAG, AS_STORED)
    except Exception:  # a damaged EXIF block says nothing about the pixels, which are read all the same
        return AS_STORED
    return int(orientation) if orientation in range(1, 9) else AS_STORED


def turn_picture(picture: Pillow.Image, orientation: int) -> Pillow.Image:
    """A picture stored in an EXIF orientation -> upright, in its own mode."""
    return picture.transpose(_TRANSPOSE[orientation]) if orientation != AS_STORED else picture


def inverse(orientation: int) -> int:
    """The orientation that undoes another one."""
    return {6: 8, 8: 6}.get(orientation, orientation)


def turn(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """`pixels` (`h w ...`) stored in an EXIF orientation -> upright (`h w ...` or `w h ...`)."""
    if orientation in (5, 6, 7, 8):  # rows and columns are exchanged
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def from_display_matrix(matrix: np.ndarray) -> int | None:
    """The EXIF orientation that a video's display matrix amounts to, `3 3` numbers as libav writes them (16.16 fixed
    point; x' = a x + c y, y' = b x + d y). None where it turns by another angle than a multiple of 90 degrees.
    """
    (a, b), (c, d) = np.asarray(matrix, dtype=np.float64).reshape(3, 3)[:2, :2]
    largest = max(abs(a), abs(b), abs(c), abs(d))
    if largest == 0 or not np.isfinite(largest):
        return None
    signs = np.array([a, b, c, d]) / largest
    if (np.minimum(abs(signs), abs(abs(signs) - 1)) > 0.1).any():  # 0.1: pixels need not be square
        return None
    first, second, third, fourth = (int(sign) for sign in signs.round())
    return _OF_MATRIX.get((first, second, third, fourth))


_TRANSPOSE = {
    2: Pillow.Transpose.FLIP_LEFT_RIGHT,
    3: Pillow.Transpose.ROTATE_180,
    4: Pillow.Transpose.FLIP_TOP_BOTTOM,
    5: Pillow.Transpose.TRANSPOSE,
    6: Pillow.Transpose.ROTATE_270,
    7: Pillow.Transpose.TRANSVERSE,
    8: Pillow.Transpose.ROTATE_90,
}

# (a, b, c, d) of the matrix that brings stored pixels upright -> EXIF's number
_OF_MATRIX = {
    (1, 0, 0, 1): 1,
    (-1, 0, 0, 1): 2,
    (-1, 0, 0, -1): 3,
    (1, 0, 0, -1): 4,
    (0, 1, 1, 0): 5,
    (0, 1, -1, 0): 6,
    (0, -1, -1, 0): 7,
    (0, -1, 1, 0): 8,
}


def exif_remark(orientation: int, choice: str) -> tuple[Remark, ...]:
    """What there is to say about a picture of an EXIF orientation that was read with `choice`."""
    if orientation == AS_STORED:
        return ()
    turned, stored = "turned upright by its EXIF orientation", "left as stored, EXIF orientation ignored"
    return (
        Remark(turned if choice == "upright" else stored, f"orientation {orientation}", corrected=choice == "upright"),
    )
