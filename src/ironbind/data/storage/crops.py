"""Boxes cut out of pictures, one a sample."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ironbind.data.storage.files import Source
from ironbind.types import Decoded, Image, InputError, Thermal

REMEMBERED = 2  # decoded pictures of which crops are taken: those of two paired modalities

_pictures: dict[tuple[Source, str], Decoded] = {}


@dataclass(frozen=True, eq=False)
class Crops:
    """A box of a picture a sample: `boxes[i]` is (left, top, right, bottom) in pixels, right and bottom excluded, of
    row i of `pictures`.

    A box must lie within its picture, whose size only decoding shows: `decode` raises InputError for one that does not.
    """

    pictures: Source
    boxes: Sequence[tuple[int, int, int, int]]

    def __len__(self) -> int:
        return len(self.boxes)

    def decode(self, row: int) -> Decoded:
        """The part of the picture, all its bits."""
        whole = self._picture(row)
        left, top, right, bottom = self.boxes[row]
        if not isinstance(whole, Image | Thermal):
            raise InputError(
                f"{self.place(row)}: is no picture but {type(whole).__name__}; "
                "expected an image or a thermal picture to cut from"
            )
        pixels = whole.pixels if isinstance(whole, Image) else whole.intensity
        height, width = pixels.shape[:2]
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise InputError(
                f"{self.place(row)}: leaves its picture of {width} x {height} pixels, or is empty; "
                "expected a box within it"
            )
        part = np.ascontiguousarray(pixels[top:bottom, left:right])
        return replace(whole, pixels=part) if isinstance(whole, Image) else replace(whole, intensity=part)

    def _picture(self, row: int) -> Decoded:
        """Crops of one picture follow each other, and unpacking it costs most: the last few are remembered."""
        key = (self.pictures, self.pictures.place(row))
        if key not in _pictures:
            decoded = self.pictures.decode(row)
            while len(_pictures) >= REMEMBERED:
                _pictures.pop(next(iter(_pictures)))
            _pictures[key] = decoded
        return _pictures[key]

    def place(self, row: int) -> str:
        """The picture's, and the box."""
        return f"{self.pictures.place(row)}[{','.join(map(str, self.boxes[row]))}]"

    def digest(self, row: int) -> str:
        """The picture's; the box is in the place."""
        return self.pictures.digest(row)

    def keep(self, rows: Sequence[int]) -> "Crops":
        """Those rows, in that order."""
        return Crops(self.pictures.keep(rows), [self.boxes[row] for row in rows])

    def absent(self) -> list[int]:
        """Those whose picture is not there."""
        return self.pictures.absent()
