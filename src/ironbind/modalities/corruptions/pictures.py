"""Pictures, maps of depth and every frame of a video. Letters: b = batch, t = frames, c = channels, h, w = picture.

ImageNet-C's strengths, and CIFAR-10-C's on small pictures, where ImageNet-C's leave little to see.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from ironbind.modalities.corruptions.kind import SMALL, Kind, chosen, window
from ironbind.numerics.norms import in_float64
from ironbind.types import SampleRandom, Space

LARGE_SIDE = (
    224  # what ImageNet-C's lengths in pixels refer to; on other large pictures they grow and shrink in proportion
)


def is_picture(modality: str, space: Space) -> bool:
    return space.name in ("pixels", "depth", "disparity")


def is_video(modality: str, space: Space) -> bool:
    return modality == "video" and space.name == "pixels"


def gaussian_noise(x: Float[Tensor, "b ... h w"], deviation: float, space: Space, rng: SampleRandom) -> Tensor:
    return x + deviation * rng.normal("gaussian_noise", tuple(x.shape[1:])).to(x)


def gaussian_blur(x: Float[Tensor, "b ... h w"], deviation: float, space: Space, rng: SampleRandom) -> Tensor:
    """`deviation` in pixels of a 224-pixel picture, in proportion on other large ones; in pixels as they are on small
    ones, where a share would blur nothing. Taps are added up one after the other: rows cannot feel each other as in a
    convolution kernel."""
    shortest = min(x.shape[-2:])
    sigma = deviation * (1 if shortest < SMALL else shortest / LARGE_SIDE)
    reach = min(math.ceil(3 * sigma), shortest - 1)
    weights = [math.exp(-(tap**2) / (2 * sigma**2)) for tap in range(-reach, reach + 1)]
    planes = x.reshape(-1, 1, *x.shape[-2:])
    for _ in range(2):  # along one axis, then along the other
        wide = F.pad(planes, (reach, reach, 0, 0), mode="reflect")
        size = planes.shape[-1]
        planes = sum(
            (weight * wide[..., tap : tap + size] for tap, weight in enumerate(weights)), torch.zeros_like(planes)
        ) / sum(weights)
        planes = planes.transpose(-1, -2)
    return planes.reshape(x.shape)


def brightness(x: Float[Tensor, "b ..."], more: float, space: Space, rng: SampleRandom) -> Tensor:
    """On all channels, where ImageNet-C raises HSV's value."""
    return x + more


def contrast(x: Float[Tensor, "b ... h w"], kept: float, space: Space, rng: SampleRandom) -> Tensor:
    mean = x.mean(dim=(-2, -1), keepdim=True)
    return mean + kept * (x - mean)


def pixelate(x: Float[Tensor, "b ... h w"], kept: float, space: Space, rng: SampleRandom) -> Tensor:
    """Every side is cut into boxes, as many as the whole part of its `kept` share; each holds the mean of the pixels
    whose centres lie in it.
    """
    return _in_boxes(_in_boxes(x, kept).transpose(-1, -2), kept).transpose(-1, -2)


def _in_boxes(x: Float[Tensor, "... n"], kept: float) -> Float[Tensor, "... n"]:
    """Along the last axis. Sums rather than a matrix product: rows cannot feel each other."""
    n = x.shape[-1]
    count = max(1, int(kept * n))
    exact = in_float64(x)
    box = ((torch.arange(n, device=exact.device, dtype=torch.float64) + 0.5) * count / n).long()
    end = torch.bincount(box, minlength=count).cumsum(dim=0)
    total = F.pad(exact.cumsum(dim=-1), (1, 0))[..., F.pad(end, (1, 0))].diff(dim=-1)
    return (total / F.pad(end, (1, 0)).diff())[..., box].to(x.dtype).to(x.device)


def occlusion(x: Float[Tensor, "b ... h w"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    """A square of middle grey, its side a share of the picture's, at the same random place in all frames."""
    h, w = x.shape[-2:]
    side, where = max(1, round(share * min(h, w))), rng.uniform("occlusion", (2,)).to(x)
    square = window(h, side, where[:, 0])[:, :, None] & window(w, side, where[:, 1])[:, None, :]
    square = square.reshape(len(x), *[1] * (x.dim() - 3), h, w)
    grey = ((space.low or 0.0) + (1.0 if space.high is None else space.high)) / 2
    return x.masked_fill(square, grey)


def frame_drop(x: Float[Tensor, "b t c h w"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    """Lost frames are black; one stays."""
    lost = chosen(rng.uniform("frame_drop", (x.shape[1],)).to(x), share, x.shape[1] - 1)
    return x.masked_fill(lost[:, :, None, None, None], space.low or 0.0)


def frame_freeze(x: Float[Tensor, "b t c h w"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    """Lost frames repeat the last one that arrived; the first always does."""
    score = rng.uniform("frame_freeze", (x.shape[1],)).to(x)
    score[:, 0] = 2.0
    lost = chosen(score, share, x.shape[1] - 1)
    shown = torch.arange(x.shape[1], device=x.device).masked_fill(lost, 0).cummax(dim=1).values
    return x[torch.arange(len(x), device=x.device)[:, None], shown]


GAUSSIAN_NOISE = Kind(
    is_picture,
    (0.08, 0.12, 0.18, 0.26, 0.38),
    gaussian_noise,
    "standard deviation {:g}",
    (0.04, 0.06, 0.08, 0.09, 0.10),
)
GAUSSIAN_BLUR = Kind(
    is_picture, (1, 2, 3, 4, 6), gaussian_blur, "standard deviation {:g} of 224 pixels",
    (0.4, 0.6, 0.7, 0.8, 1.0), "standard deviation {:g} pixels",
)  # fmt: skip
BRIGHTNESS = Kind(is_picture, (0.1, 0.2, 0.3, 0.4, 0.5), brightness, "{:g} more", (0.05, 0.1, 0.15, 0.2, 0.3))
CONTRAST = Kind(is_picture, (0.4, 0.3, 0.2, 0.1, 0.05), contrast, "{:g} of it kept", (0.75, 0.5, 0.4, 0.3, 0.15))
PIXELATE = Kind(
    is_picture, (0.6, 0.5, 0.4, 0.3, 0.25), pixelate, "{:g} of each side kept", (0.95, 0.9, 0.85, 0.75, 0.65)
)
OCCLUSION = Kind(is_picture, (0.2, 0.3, 0.4, 0.5, 0.6), occlusion, "a square of {:g} of the side")
FRAME_DROP = Kind(is_video, (0.125, 0.25, 0.375, 0.5, 0.75), frame_drop, "{:g} of the frames")
FRAME_FREEZE = Kind(is_video, (0.125, 0.25, 0.375, 0.5, 0.75), frame_freeze, "{:g} of the frames")
