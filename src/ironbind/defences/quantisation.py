"""Inputs rounded to few levels: feature squeezing (Xu, Evans and Qi 2018, arXiv 1704.01155).

Letters: b = batch, d = embedding width.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ironbind.defences.defence import Passes, Where, bounded, refuse_odd_knobs
from ironbind.defences.stand_ins import prepared
from ironbind.types import Embed, InputError, SampleRandom, Space

BITS = {"waveform": 8, "unit_sphere": 7}
"""What leaves a sound or a point cloud usable, where the paper's five bits would not (ours)."""


@dataclass(frozen=True)
class Quantisation:
    """2^`bits` levels between the bounds of the space; None: the paper's 5 bits for pictures, and for event frames and
    spectrograms; BITS for others. Rounding has no gradient; it does not take away the attack.
    """

    bits: int | None = None

    name = "quantisation"
    gradients = ("straight_through",)

    def __post_init__(self) -> None:
        refuse_odd_knobs(self)
        if self.bits is not None and not 1 <= self.bits <= 16:
            raise InputError(f"bits {self.bits} of a quantisation: expected 1 to 16")

    def unsuitable(self, modality: str, space: Space) -> str:
        return "" if bounded(space) else "it has no bounds to put levels between"

    def randomised(self, modality: str, space: Space) -> bool:
        return False

    def passes(self, modality: str, space: Space) -> Passes:
        return Passes(1)

    def answer(self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom) -> Float[Tensor, "b d"]:
        return embed(prepared(self.rounded(x, where.space), x, where))

    def rounded(self, x: Float[Tensor, "b ..."], space: Space) -> Float[Tensor, "b ..."]:
        """The nearest level of every coordinate."""
        assert space.low is not None
        assert space.high is not None
        steps = 2 ** (self.bits or BITS.get(space.name, 5)) - 1
        width = space.high - space.low
        return space.low + ((x - space.low) * (steps / width)).round() * (width / steps)
