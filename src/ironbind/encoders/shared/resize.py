"""Decoded images, grey images and videos -> native tensors in [0, 1], as ImageBind and UniBind resize and crop them.
Nothing here normalises.

Axis letters: t = frames, h, w = rows and columns. Pillow's resizing always antialiases; video frames are resized
without, as the original does.
"""

import math

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from ironbind.encoders.shared.fbank import clip_times
from ironbind.types import Image, InputError, Thermal, Video

SIDE = 224
FRAMES = 2  # per clip: the temporal kernel of ImageBind's vision stem
OFFICIAL_CLIPS, OFFICIAL_CROPS = 5, 3
LONGEST = 16  # times the short side: of longer pictures only the middle is resized


def middle(x: Float[Tensor, "... h w"]) -> Float[Tensor, "... h2 w2"]:
    """The middle of a picture that is more than LONGEST times as long as wide, any other as it is.

    The short side is resized to a fixed number of pixels and the long one in proportion, before the middle square is
    cut out: without this a picture of 1 x 50,000 pixels, a file of some hundred bytes, would take gigabytes.
    """
    rows, columns = _middle_slices(*x.shape[-2:])
    return x[..., rows, columns]


def middle_of_array(pixels: np.ndarray) -> np.ndarray:
    """`middle` of an array `h w ...`."""
    return pixels[_middle_slices(*pixels.shape[:2])]


def _middle_slices(height: int, width: int) -> tuple[slice, slice]:
    rows, columns = min(height, LONGEST * width), min(width, LONGEST * height)
    top, left = (height - rows) // 2, (width - columns) // 2
    return slice(top, top + rows), slice(left, left + columns)


def resize_and_crop(picture: PIL.Image.Image, side: int = SIDE) -> PIL.Image.Image:
    """Bicubic to `side` pixels on the short side (the long one rounded down), then the middle square (torchvision's
    Resize and CenterCrop).
    """
    if max(picture.size) > LONGEST * min(picture.size):
        picture = PIL.Image.fromarray(np.ascontiguousarray(middle_of_array(np.asarray(picture))))
    width, height = picture.size
    short = min(width, height)
    picture = picture.resize((int(side * width / short), int(side * height / short)), PIL.Image.Resampling.BICUBIC)
    left, top = round((picture.width - side) / 2.0), round((picture.height - side) / 2.0)
    return picture.crop((left, top, left + side, top + side))


def image(decoded: Image) -> Float[Tensor, "3 224 224"]:
    """RGB in [0, 1]."""
    picture = resize_and_crop(PIL.Image.fromarray(decoded.pixels))
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float().div(255)


def plane(values: np.ndarray) -> Float[Tensor, "1 224 224"]:
    """One float channel, resized in float32; bicubic overshoot stays."""
    return torch.from_numpy(np.array(resize_and_crop(PIL.Image.fromarray(values.astype(np.float32))))).float()[None]


def thermal(decoded: Thermal) -> Float[Tensor, "1 224 224"]:
    """Intensity in [0, 1].

    A file of 8-bit depth goes through 8-bit resizing, as UniBind's loader does; a finer one is resized in float,
    because 16-bit thermal scenes often span a few of 256 levels.
    """
    levels = decoded.intensity * 255
    whole = np.rint(levels)
    if np.abs(levels - whole).max() > 1e-3:
        return plane(decoded.intensity).clamp(0, 1)
    return (
        torch.from_numpy(np.array(resize_and_crop(PIL.Image.fromarray(whole.astype(np.uint8))))).float().div(255)[None]
    )


def _short_side(frames: Float[Tensor, "t 3 h w"], side: int) -> Float[Tensor, "t 3 h2 w2"]:
    height, width = frames.shape[-2:]
    size = (side, math.floor(width / height * side)) if height <= width else (math.floor(height / width * side), side)
    return F.interpolate(frames, size=size, mode="bilinear", align_corners=False)


def video(decoded: Video, official: bool = False, side: int = SIDE) -> Float[Tensor, "t 3 {side} {side}"]:
    """Frames in [0, 1], two per clip, clip after clip.

    One clip (t = 2): the middle crop of the middle one of the five 2-second clips that ImageBind spreads over a file:
    its first and last frame. `official`: all five clips, each cut into three squares along the longer side (t = 30,
    clip-major): fifteen passes instead of one. Raises InputError for a video without frames.
    """
    count = len(decoded.frames)
    if count == 0 or decoded.fps <= 0:
        raise InputError(
            f"video of {count} frames at {decoded.fps} frames per second; "
            "expected at least one frame and a positive rate"
        )
    times = clip_times(count / decoded.fps, OFFICIAL_CLIPS)
    if not official:
        times = times[OFFICIAL_CLIPS // 2 : OFFICIAL_CLIPS // 2 + 1]
    squares = []
    for start, end in times:
        first = min(math.ceil(decoded.fps * start), count - 1)
        last = max(min(math.ceil(decoded.fps * end), count) - 1, first)
        chosen = np.linspace(first, last, FRAMES).astype(int)
        frames = torch.from_numpy(np.ascontiguousarray(decoded.frames[chosen])).permute(0, 3, 1, 2).float().div(255)
        frames = _short_side(middle(frames), side)
        spare = max(frames.shape[-2:]) - side
        offsets = (0, math.ceil(spare / 2), spare) if official else (math.ceil(spare / 2),)
        axis = 2 if frames.shape[2] > frames.shape[3] else 3
        squares += [frames.narrow(axis, offset, side) for offset in offsets]
    return torch.cat(squares)
