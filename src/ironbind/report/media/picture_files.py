"""Gallery items as files: clean, adversarial and the amplified difference side by side in one picture."""

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from ironbind.report.charts.svg_files import Titled, svg_file
from ironbind.report.media.gallery import Exhibit, View

HEIGHT = 192  # pixels of a picture
GAP = 8


class PictureFile(NamedTuple):
    """A file to write: what to call it, its bytes, and what it shows to those who cannot see it."""

    name: str
    content: bytes
    alt: str


def picture_file(exhibit: Exhibit) -> PictureFile | None:
    """PNG for what is made of pixels, SVG for point clouds; None where the arrays of the item are missing."""
    if not exhibit.views:
        return None
    stem = f"{exhibit.item.modality}-{exhibit.item.space}"
    alt = f"{exhibit.label}: " + ", ".join(view.title.lower() for view in exhibit.views)
    pictures = [_pixels(view) for view in exhibit.views]
    if all(picture is not None for picture in pictures):
        return PictureFile(f"{stem}.png", _side_by_side([picture for picture in pictures if picture]), alt)
    drawings = [Titled(view.title, view.drawing, dark=True) for view in exhibit.views]
    return PictureFile(f"{stem}.svg", svg_file(drawings, len(drawings), alt).encode("utf-8"), alt)


def _pixels(view: View) -> Image.Image | None:
    """The view as a picture: the still of a video, the spectrogram of a sound."""
    uri = view.still or view.spectrogram or view.image
    if not uri:
        return None
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as picture:
        return picture.convert("RGB")


def _side_by_side(pictures: list[Image.Image]) -> bytes:
    """All at one height: small ones enlarged to whole multiples with their pixels visible, large ones reduced."""
    scaled = []
    for picture in pictures:
        factor = max(1, HEIGHT // picture.height)
        size = (picture.width * factor, picture.height * factor)
        if picture.height > HEIGHT:
            size = (max(1, round(picture.width * HEIGHT / picture.height)), HEIGHT)
        method = Image.Resampling.NEAREST if factor > 1 else Image.Resampling.LANCZOS
        scaled.append(np.asarray(picture.resize(size, method)))
    heights, widths = [part.shape[0] for part in scaled], [part.shape[1] for part in scaled]
    canvas = np.full((max(heights), sum(widths) + GAP * (len(scaled) - 1), 4), 0, np.uint8)
    left = 0
    for part in scaled:
        canvas[: part.shape[0], left : left + part.shape[1], :3] = part
        canvas[: part.shape[0], left : left + part.shape[1], 3] = 255
        left += part.shape[1] + GAP
    out = io.BytesIO()
    Image.fromarray(canvas, "RGBA").quantize(256, method=Image.Quantize.FASTOCTREE).save(out, "PNG", optimize=True)
    return out.getvalue()
