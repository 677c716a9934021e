"""Event frames: how recent the last event of each pixel and polarity is, 0 = never. Letters: b = batch, c = polarities,
h, w = sensor. Ours.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.modalities.corruptions.kind import Kind, chosen
from ironbind.types import SampleRandom, Space

FIRST_EVENT = 1e-3  # the recency of an event at the very beginning; at 0 it would be none


def is_event_frame(modality: str, space: Space) -> bool:
    return space.name == "event_frames"


def event_drop(x: Float[Tensor, "b c h w"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    return x.masked_fill(rng.uniform("event_drop", tuple(x.shape[1:])).to(x) < share, 0.0)


def hot_pixels(x: Float[Tensor, "b c h w"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    """Some pixels fire all the time, in both polarities: their last event was just now."""
    h, w = x.shape[-2:]
    hot = chosen(rng.uniform("hot_pixels", (h * w,)).to(x), share, h * w)
    return x.masked_fill(hot.reshape(-1, 1, h, w), 1.0)


def time_jitter(x: Float[Tensor, "b c h w"], deviation: float, space: Space, rng: SampleRandom) -> Tensor:
    """Events come earlier or later by a share of the recording; none appears, none disappears."""
    moved = (x + deviation * rng.normal("time_jitter", tuple(x.shape[1:])).to(x)).clamp(FIRST_EVENT, 1.0)
    return torch.where(x > 0, moved, x)


EVENT_DROP = Kind(is_event_frame, (0.1, 0.25, 0.5, 0.75, 0.9), event_drop, "{:g} of the cells")
HOT_PIXELS = Kind(is_event_frame, (0.005, 0.01, 0.02, 0.05, 0.1), hot_pixels, "{:g} of the pixels")
TIME_JITTER = Kind(is_event_frame, (0.05, 0.1, 0.2, 0.3, 0.5), time_jitter, "standard deviation {:g} of the recording")
