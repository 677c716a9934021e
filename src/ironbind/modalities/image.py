"""Pictures: PNG, JPEG, BMP, WEBP -> uint8 RGB, as torchvision's and the encoders' own loaders decode them.

That means: `convert("RGB")` for grey, palette, CMYK and alpha (alpha is dropped, not blended), and the first frame of
an animation. Where we differ: a picture is turned upright by its EXIF orientation, unless `orientation="ignore"` asks
for the pixels as stored; 16-bit grey is scaled by 1/257, where a plain convert would clip it to white. The content
decides, not the suffix (ImageNet holds a PNG called .JPEG).
"""

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image as Pillow

from ironbind.modalities.blanks import about_picture
from ironbind.modalities.orientation import (
    Orientation,
    check_choice,
    exif_orientation,
    exif_remark,
    inverse,
    turn_picture,
)
from ironbind.modalities.reading import MAX_PIXELS, kind_of, reading
from ironbind.modalities.spaces import PIXELS
from ironbind.types import Image, InputError, Modality, Remark


def open_picture(
    path: Path, formats: tuple[str, ...], orientation: Orientation = "upright"
) -> tuple[Pillow.Image, tuple[Remark, ...]]:
    """The first frame of a picture, its pixels loaded, and whether it was turned; to be called inside `reading`.

    Raises InputError above MAX_PIXELS, or what the file can hold.
    """
    check_choice(orientation)
    with path.open("rb") as file:
        # a TIFF by its open file: by name, Pillow (up to 13) maps an uncompressed one with width and height exchanged
        # where the orientation exchanges them, which jumbles its rows
        by_file = kind_of(file.read(12)) == "TIFF"
        file.seek(0)
        return _open(path, file if by_file else path, formats, orientation)


def _open(
    path: Path, source: Path | BinaryIO, formats: tuple[str, ...], orientation: Orientation
) -> tuple[Pillow.Image, tuple[Remark, ...]]:
    with Pillow.open(source, formats=formats) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise InputError(f"{path}: announces {width} x {height} pixels; expected at most {MAX_PIXELS:,} in all")
        # Pillow clears room for all of it before it finds the file too short
        if {tile[0] for tile in picture.tile} == {"raw"} and width * height > 8 * path.stat().st_size:
            raise InputError(
                f"{path}: announces {width} x {height} pixels; expected what its {path.stat().st_size:,} bytes can hold"
            )
        stored = exif_orientation(picture)
        remarks = exif_remark(stored, orientation) + _about_pages(picture)
        picture.load()  # turns a TIFF upright, and no other format
        turned = picture.format == "TIFF"
        copy = picture.copy()
    if turned and orientation == "ignore":
        copy = turn_picture(copy, inverse(stored))
    elif not turned and orientation == "upright":
        copy = turn_picture(copy, stored)
    return copy, remarks


def _about_pages(picture: Pillow.Image) -> tuple[Remark, ...]:
    """That a TIFF of pages or an animation holds more than is read. A phone's MPO also does, but only previews."""
    try:
        pages = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
    except Exception:  # a damaged page further on says nothing about the first
        return ()
    return (Remark("is read as the first of its pages or frames", f"{pages} of them"),) if pages > 1 else ()


def read(path: Path, orientation: Orientation = "upright") -> Image:
    """`path` as RGB pixels, `orientation` "upright" or "ignore". Raises InputError for anything that is not a whole
    picture.
    """
    path = Path(path)
    with reading(path, "a whole PNG, JPEG, BMP or WEBP picture"):
        picture, remarks = open_picture(path, ("PNG", "JPEG", "BMP", "DIB", "WEBP"), orientation)
        if picture.mode.startswith("I"):  # Pillow hands out 16-bit grey as "I;16" or, for some PNGs, "I"
            grey = (np.asarray(picture).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8)
            pixels = np.repeat(grey[..., None], 3, axis=-1)
        else:
            pixels = np.array(picture.convert("RGB"))
        return Image(pixels, remarks + about_picture(pixels))


def write(image: Image, path: Path) -> None:
    """An exact PNG."""
    Pillow.fromarray(image.pixels).save(path, format="PNG")


IMAGE = Modality(
    "image",
    Image,
    (".png", ".jpg", ".jpeg", ".bmp", ".webp"),
    read,
    write,
    spaces={PIXELS.name: PIXELS},
    templates=("a photo of a {}.", "a picture of a {}.", "{}"),
)
