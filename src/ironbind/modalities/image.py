"""Pictures: PNG, JPEG, BMP, WEBP -> uint8 RGB, as torchvision's and the encoders' own loaders decode them.

That means: `convert("RGB")` for grey, palette, CMYK and alpha (alpha is dropped, not blended), EXIF orientation not
honoured, the first frame of an animation. Where we differ: 16-bit grey is scaled by 1/257, where a plain convert would
clip it to white. The content decides, not the suffix (ImageNet holds a PNG called .JPEG).
"""

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ironbind.modalities.reading import MAX_PIXELS, reading
from ironbind.modalities.spaces import PIXELS
from ironbind.types import Image, InputError, Modality


def open_picture(path: Path, formats: tuple[str, ...]) -> Pillow.Image:
    """The first frame of a picture, its pixels loaded; to be called inside `reading`. InputError above MAX_PIXELS, or
    what the file can hold.
    """
    with Pillow.open(path, formats=formats) as picture:
        width, height = picture.size
        if width * height > MAX_PIXELS:
            raise InputError(f"{path}: announces {width} x {height} pixels; expected at most {MAX_PIXELS:,} in all")
        # Pillow clears room for all of it before it finds the file too short
        if {tile[0] for tile in picture.tile} == {"raw"} and width * height > 8 * path.stat().st_size:
            raise InputError(
                f"{path}: announces {width} x {height} pixels; expected what its {path.stat().st_size:,} bytes can hold"
            )
        picture.load()
        return picture.copy()


def read(path: Path) -> Image:
    """`path` as RGB pixels. Raises InputError for anything that is not a whole picture."""
    path = Path(path)
    with reading(path, "a whole PNG, JPEG, BMP or WEBP picture"):
        picture = open_picture(path, ("PNG", "JPEG", "BMP", "DIB", "WEBP"))
        if picture.mode.startswith("I"):  # Pillow hands out 16-bit grey as "I;16" or, for some PNGs, "I"
            grey = (np.asarray(picture).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8)
            return Image(np.repeat(grey[..., None], 3, axis=-1))
        return Image(np.array(picture.convert("RGB")))


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
