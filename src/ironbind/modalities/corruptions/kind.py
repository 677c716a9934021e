"""What a corruption is made of, and the random choices that several share. Letters: b = batch, k = places of a row."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ironbind.types import SampleRandom, Space

# pictures whose shorter side is below this many pixels are corrupted as CIFAR-10-C's (32 pixels) are, others as
# ImageNet-C's (224)
SMALL = 64

Suits = Callable[[str, Space], bool]
Apply = Callable[[Tensor, float, Space, SampleRandom], Tensor]


@dataclass(frozen=True)
class Kind:
    """A row of CORRUPTIONS: where it makes sense, its strengths at severity 1 to 5, and what it does. `apply(x,
    strength, space, rng)` need not mind the bounds.

    `measure` says what a strength is, as a format of one number. `small`: the strengths on pictures below SMALL pixels,
    where they differ, and `small_measure` what those are ("": the same).
    """

    suits: Suits = field(repr=False)
    strengths: tuple[float, float, float, float, float]
    apply: Apply = field(repr=False)
    measure: str
    small: tuple[float, float, float, float, float] | None = None
    small_measure: str = ""

    def strength(self, severity: int, shape: tuple[int, ...]) -> float:
        """The strength of a severity for one sample of a shape."""
        return (self.small if self.small and min(shape[-2:]) < SMALL else self.strengths)[severity - 1]

    def describe(self, severity: int, shape: tuple[int, ...]) -> str:
        """What that is, in words."""
        small = self.small is not None and min(shape[-2:]) < SMALL
        return (self.small_measure if small and self.small_measure else self.measure).format(
            self.strength(severity, shape)
        )


def chosen(score: Float[Tensor, "b k"], share: float, most: int) -> Bool[Tensor, "b k"]:
    """In each row the `share` of places with the lowest score: one at least, `most` at most. A larger share holds a
    smaller one.
    """
    count = min(max(1, round(share * score.shape[1])), most)
    return score.argsort(dim=1, stable=True).argsort(dim=1, stable=True) < count


def window(length: int, width: int, where: Float[Tensor, " b"]) -> Bool[Tensor, "b k"]:
    """True on `width` neighbouring places; `where` in [0, 1) says how far along the row. A wider window holds a
    narrower one.
    """
    first = (where * (length - width + 1)).floor()
    place = torch.arange(length, device=where.device)
    return (place >= first[:, None]) & (place < first[:, None] + width)
