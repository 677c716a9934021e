"""Views of an input that show the same thing: crops, mirrors and colour of pictures, shifts and speed of sound, turned
and jittered points, time bins of events. All are differentiable; letters: b = batch, c = channels, n = samples or
points, f = mel bins, t = frames.
"""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from ironbind.numerics.norms import into_bounds
from ironbind.types import SampleRandom, Space

View = Callable[[Tensor, SampleRandom], Tensor]


def cropped(share: float, row: float = 0.5, column: float = 0.5) -> View:
    """A window of `share` of each side, enlarged again (bilinear); `row` and `column`: where, from 0 to 1."""

    def view(x: Tensor, rng: SampleRandom) -> Tensor:
        height, width = x.shape[-2:]
        tall, wide = max(1, round(share * height)), max(1, round(share * width))
        top, left = round(row * (height - tall)), round(column * (width - wide))
        flat = x.reshape(-1, 1, height, width)[:, :, top : top + tall, left : left + wide]
        return F.interpolate(flat, size=(height, width), mode="bilinear", align_corners=False).reshape(x.shape)

    return view


def mirrored(x: Tensor, rng: SampleRandom) -> Tensor:
    return x.flip(-1)


def scaled(gain: float, around: float = 0.0) -> View:
    """Brighter or louder (`around` 0), or of another contrast (around the middle)."""
    return lambda x, rng: around + gain * (x - around)


def shifted(share: float) -> View:
    """Later by a share of the length (earlier where negative); the edge is repeated."""

    def view(x: Tensor, rng: SampleRandom) -> Tensor:
        n = x.shape[-1]
        steps = int(math.copysign(max(1, round(abs(share) * n)), share))
        source = (torch.arange(n, device=x.device) - steps).clamp(0, n - 1)
        return x.index_select(-1, source)

    return view


def at_speed(rate: float) -> View:
    """Played faster (rate > 1) or slower around its middle, linear between samples; the edge is repeated."""

    def view(x: Tensor, rng: SampleRandom) -> Tensor:
        n = x.shape[-1]
        middle = (n - 1) / 2
        at = ((torch.arange(n, dtype=torch.float64) - middle) * rate + middle).clamp(0, n - 1)
        below = at.floor().long().clamp_max(n - 1)
        share = (at - below).to(x.dtype).to(x.device)
        below = below.to(x.device)
        return x.index_select(-1, below) * (1 - share) + x.index_select(-1, (below + 1).clamp_max(n - 1)) * share

    return view


def turned(degrees: float, axis: int) -> View:
    """Rotated about a coordinate axis."""

    def view(x: Float[Tensor, "b n 3"], rng: SampleRandom) -> Tensor:
        angle, (first, second) = math.radians(degrees), [k for k in range(3) if k != axis]
        columns = list(x.unbind(-1))
        a, b = columns[first], columns[second]
        columns[first], columns[second] = (
            math.cos(angle) * a - math.sin(angle) * b,
            math.sin(angle) * a + math.cos(angle) * b,
        )
        return torch.stack(columns, dim=-1)

    return view


def jittered(deviation: float, number: int) -> View:
    """Every coordinate with Gaussian noise of its own."""
    return lambda x, rng: x + deviation * rng.normal(f"jitter {number}", tuple(x.shape[1:])).to(x)


def time_bin(first: float, last: float) -> View:
    """Only the events of a part of the recording, whose times then span all of it. Zero stays "never"."""
    return lambda x, rng: torch.where(x <= last, ((x - first) / (last - first)).clamp_min(0), 0.0)


_PICTURE: tuple[View, ...] = (
    mirrored, cropped(0.9), cropped(0.8), cropped(0.9, 0, 0), cropped(0.9, 1, 1), scaled(1.1), scaled(0.9, 0.5),
)  # fmt: skip
_SOUND: tuple[View, ...] = (
    shifted(0.01), shifted(-0.01), shifted(0.03), shifted(-0.03), at_speed(0.97), at_speed(1.03), scaled(0.9),
)  # fmt: skip
VIEWS: dict[str, tuple[View, ...]] = {
    "pixels": _PICTURE,
    "waveform": _SOUND,
    "logmel": (
        shifted(0.02), shifted(-0.02), shifted(0.05), shifted(-0.05), at_speed(0.97), at_speed(1.03), scaled(0.95),
    ),
    "unit_sphere": (
        turned(10, 2), turned(-10, 2), turned(10, 0), turned(-10, 0), turned(10, 1), turned(-10, 1), jittered(0.01, 0),
    ),
    "event_frames": (
        mirrored, time_bin(0.1, 1.0), time_bin(0.2, 1.0), time_bin(0.0, 0.9), time_bin(0.0, 0.8), cropped(0.9),
        cropped(0.8),
    ),
}  # fmt: skip
"""By space, beside the input itself. Which and how strong is ours."""
DRAWN = frozenset({"unit_sphere"})
"""The spaces in which a view draws."""


def no_views(modality: str, space: Space) -> str:
    """Why there are no views of a space, "" where there are."""
    return "" if space.name in VIEWS else f"there are views of {', '.join(VIEWS)} only"


def views_of(x: Float[Tensor, "b ..."], space: Space, rng: SampleRandom) -> list[Float[Tensor, "b ..."]]:
    """The input and its views, within the bounds of the space."""
    return [x, *(into_bounds(view(x, rng), space) for view in VIEWS[space.name])]
