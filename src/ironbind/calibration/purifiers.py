"""Small residual networks in front of an encoder, one per space: x + net(x) at full resolution, the identity at birth.

Letters: b = batch, c = channels, h, w = picture, t = frames or time, n = samples or points, k = neighbours.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from ironbind.types import Space

DETAIL = 16.0  # makes 8/255 of a space's range, which the purifier sees as [-1, 1], a change of 1
NEIGHBOURS = 12
MOST_POINTS = 1024  # compared with all others at once; larger clouds are taken in slices of so many


class Purifier(nn.Module):
    """x + s net((x - m) / s), with m the middle and s half the width of the space's bounds (0 and 1 where it has none).
    Net gives zeros at birth.

    The sum is not clamped: a clamp would hide gradients from the attacker without stopping him.
    """

    def __init__(self, net: nn.Module, space: Space) -> None:
        super().__init__()
        low, high = (-1.0, 1.0) if space.low is None or space.high is None else (space.low, space.high)
        self.middle, self.reach = (low + high) / 2, (high - low) / 2
        self.net = net

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        return x + self.reach * self.net((x - self.middle) / self.reach).to(x.dtype)

    def take(self, other: nn.Module) -> None:
        """Becomes another purifier of the same space and width; of a wider one over planes the strongest channels."""
        assert isinstance(other, Purifier)
        if isinstance(self.net, Planes) and isinstance(other.net, Planes):
            self.net.take(other.net)
        else:
            self.net.load_state_dict(other.net.state_dict())


def purifier_for(space: Space, shape: tuple[int, ...], width: int) -> Purifier:
    """The purifier of inputs of `shape` (without batch axis): convolutions over pictures, clips and signals, a network
    over neighbours for a set.
    """
    if space.unordered:
        return Purifier(Cloud(shape[-1], width), space)
    if len(shape) == 2:
        return Purifier(Signal(shape[0], width), space)
    channels = (
        shape[-3] if len(shape) > 2 and -3 in space.element_axes else 1
    )  # colours, or the two polarities of events
    frames = (
        math.prod(shape[:-3]) if channels > 1 else 1
    )  # a clip is seen as a whole; the clips of a long sound one by one
    return Purifier(Planes(frames * channels, width), space)


def _born_silent(last: nn.Module) -> nn.Module:
    """`last` with zeros for weights: what ends in it adds nothing yet."""
    for parameter in last.parameters():
        nn.init.zeros_(parameter)
    return last


class Planes(nn.Module):
    """Convolutions of the plane and of its fine detail, amplified; beside full resolution at half of it with twice the
    channels, and back.

    Detail is what differs from the mean of its surroundings. An attacker's change is a hundredth of the range; a layer
    that is to tell it from an edge must see both at a size of about 1. The `channels` right in front of height and
    width are taken together, others one by one.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        self.first = nn.Conv2d(2 * channels, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.wide = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.Conv2d(2 * width, width, 1)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        _born_silent(self.last)

    def forward(self, x: Float[Tensor, "b ... h w"]) -> Float[Tensor, "b ... h w"]:
        plane = x.reshape(-1, self.channels, *x.shape[-2:]).contiguous(memory_format=torch.channels_last)
        detail = DETAIL * (plane - avg_pool2d(plane, 3, stride=1, padding=1, count_include_pad=False))
        # channels last, which one channel does not say by itself: other kernels round small batches differently
        both = torch.cat([plane, detail], dim=1).contiguous(memory_format=torch.channels_last)
        full = relu(self.first(both))
        half = self.up(relu(self.wide(relu(self.down(full)))))
        return self.last(relu(full + interpolate(half, size=full.shape[-2:]))).reshape(x.shape)

    @torch.no_grad()
    def take(self, other: "Planes") -> None:
        """Becomes another of as many or more channels, less those that pass on least: in front of and behind a channel
        the product of its weights' lengths.
        """
        width, wide = len(self.first.weight), len(self.down.weight)
        full = _strongest(width, (_length(other.first, 0) + _length(other.up, 0)) * _length(other.last, 1))
        half = _strongest(wide, _length(other.down, 0) * _length(other.wide, 1))
        mixed = _strongest(wide, _length(other.wide, 0) * _length(other.up, 1))
        every = slice(None)
        for name, outputs, inputs in (
            ("first", full, every), ("down", half, full), ("wide", mixed, half), ("up", full, mixed),
            ("last", every, full),
        ):  # fmt: skip
            mine, its = self.get_submodule(name), other.get_submodule(name)
            mine.get_parameter("weight").copy_(its.get_parameter("weight")[outputs][:, inputs])
            mine.get_parameter("bias").copy_(its.get_parameter("bias")[outputs])


def _length(layer: nn.Conv2d, axis: int) -> Float[Tensor, " c"]:
    """Euclidean length of the weights of each output (axis 0) or input (1)."""
    return layer.weight.square().sum(tuple({0, 1, 2, 3} - {axis})).sqrt()


def _strongest(count: int, strength: Float[Tensor, " c"]) -> Int[Tensor, " k"]:
    """Which `count` are strongest, in their old order."""
    return strength.topk(count).indices.sort().values


class Signal(nn.Module):
    """Three convolutions along time, 33 samples wide."""

    def __init__(self, channels: int, width: int, kernel: int = 33) -> None:
        super().__init__()
        sizes = ((channels, width), (width, width), (width, channels))
        self.convs = nn.ModuleList(nn.Conv1d(before, after, kernel, padding=kernel // 2) for before, after in sizes)
        _born_silent(self.convs[-1])

    def forward(self, x: Float[Tensor, "b c n"]) -> Float[Tensor, "b c n"]:
        first, second, last = self.convs
        return last(relu(second(relu(first(x)))))


class Cloud(nn.Module):
    """Each point moves by what it sees of itself and its nearest neighbours; the order of the points does not matter.

    Per neighbour a layer reads its offset; maximum and mean over the neighbours, with the point itself, give the shift.
    """

    def __init__(self, channels: int, width: int, neighbours: int = NEIGHBOURS) -> None:
        super().__init__()
        self.neighbours = neighbours
        self.offset = nn.Linear(channels, width)
        self.mix = nn.Linear(2 * width + 2 * channels, 2 * width)
        self.shift = nn.Linear(2 * width, channels)
        _born_silent(self.shift)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        away = 4 * (self._near(x) - x[:, :, None])  # b n k c, of about unit size
        seen = relu(self.offset(away))
        return self.shift(relu(self.mix(torch.cat([x, away.mean(2), seen.mean(2), seen.amax(2)], dim=-1))))

    def _near(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b n k c"]:
        count = min(self.neighbours + 1, x.shape[1])
        with torch.no_grad():
            nearest = [
                torch.cdist(part, x).topk(count, largest=False).indices[:, :, 1:]
                for part in x.detach().split(MOST_POINTS, dim=1)
            ]
        which = torch.cat(nearest, dim=1)
        rows = torch.arange(x.shape[0], device=x.device)[:, None, None]
        return x[rows, which]
