"""UniBind's inputs beyond ImageBind's: point clouds and event recordings. Axis letters: n = points, h, w = rows and
columns.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.encoders.imagebind.inputs import SIDE, ImageBindInputs, clip_normalise
from ironbind.encoders.shared import resize as preparation
from ironbind.modalities.spaces import PIXELS, UNIT_SPHERE
from ironbind.types import Events, Image, InputError, InputSpec, Points

MOST_GROUPS = 512  # centers of the point encoder's first level


def unit_sphere(decoded: Points, count: int) -> Float[Tensor, "{count} 3"]:
    """`count` points, centred on their mean and scaled to radius 1. More points: evenly spaced rows of the file; fewer:
    repeated in turn.

    UniBind's own files are already such clouds of 8192 points, and stay what they are up to rounding.
    """
    points = len(decoded.xyz)
    rows = np.linspace(0, points - 1, count).round().astype(int) if points > count else np.arange(count) % points
    xyz = torch.from_numpy(decoded.xyz[rows]).float()
    xyz = xyz - xyz.mean(dim=0)
    return xyz / xyz.norm(dim=-1).max().clamp(min=torch.finfo(xyz.dtype).tiny)


def event_picture(decoded: Events) -> Image:
    """Events drawn on white: each pixel in the colour of its last event, red brighter (p = 1), blue darker. The
    official rendering is unpublished.
    """
    pixels = np.full((decoded.height, decoded.width, 3), 255, dtype=np.uint8)
    colours = np.array([(0, 0, 255), (255, 0, 0)], dtype=np.uint8)
    pixels[decoded.y, decoded.x] = colours[np.asarray(decoded.p, dtype=int)]  # ascending in time, so the last one stays
    return Image(pixels)


def prepare_event(decoded: Events | Image) -> Float[Tensor, "3 224 224"]:
    """A recording, or an already rendered event picture such as UniBind's data sets hold, as RGB in [0, 1]."""
    return preparation.image(event_picture(decoded) if isinstance(decoded, Events) else decoded)


@dataclass(frozen=True)
class UniBindInputs(ImageBindInputs):
    """ImageBind's choices, and `points` per cloud (8192 officially, at least 512)."""

    points: int = 8192

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.points < MOST_GROUPS:
            raise InputError(f"points={self.points}; expected at least {MOST_GROUPS}, the groups of the point encoder")

    def prepare_point(self, decoded: Points) -> Float[Tensor, "n 3"]:
        return unit_sphere(decoded, self.points)

    def specs(self) -> dict[str, InputSpec]:
        return super().specs() | {
            "point": InputSpec("point", (self.points, 3), UNIT_SPHERE, self.prepare_point),
            "event": InputSpec("event", (3, SIDE, SIDE), PIXELS, prepare_event),
        }

    def converters(self) -> dict:
        return super().converters() | {("point", "unit_sphere"): lambda x: x, ("event", "pixels"): clip_normalise}
