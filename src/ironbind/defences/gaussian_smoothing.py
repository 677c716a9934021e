"""Gaussian smoothing: the answer is that of many noisy copies together (Cohen, Rosenfeld and Kolter 2019, arXiv
1902.02918; as a defence, without its certificate).

Letters: b = batch, d = embedding width, s = noisy copies, t = texts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ironbind.core.default_budgets import SCALE
from ironbind.defences.defence import Passes, Where, refuse_odd_knobs
from ironbind.numerics.norms import into_bounds
from ironbind.types import Embed, InputError, SampleRandom, Space

RULES = ("mean", "vote")


@dataclass(frozen=True)
class Smoothing:
    """`n` copies with Gaussian noise of standard deviation `sigma` (Cohen et al.: 0.12 to 1; they vote with n0 = 100
    copies, which would cost 100 passes a query: 16 is ours). `rule` "mean": their normalised mean embedding (Pautov et
    al. 2022, arXiv 2202.01186). "vote": every copy votes for the copy that most others are near to, and the mean of
    the nearer half is the answer: a vote without classes (ours). In a waveform `sigma` counts a fifth.
    """

    sigma: float = 0.12
    n: int = 16
    rule: str = "mean"

    name = "smoothing"

    def __post_init__(self) -> None:
        refuse_odd_knobs(self)
        if self.rule not in RULES or self.n < 1 or not self.sigma >= 0:
            raise InputError(f"{self} cannot smooth; expected sigma >= 0, n >= 1 and rule {' or '.join(RULES)}")

    @property
    def gradients(self) -> tuple[str, ...]:
        return ("exact",) if self.rule == "mean" else ("straight_through",)

    def unsuitable(self, modality: str, space: Space) -> str:
        """It has a meaning wherever an input can be moved a little."""
        return ""

    def randomised(self, modality: str, space: Space) -> bool:
        return True

    def passes(self, modality: str, space: Space) -> Passes:
        return Passes(self.n)

    def answer(self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom) -> Float[Tensor, "b d"]:
        sigma, shape = self.sigma * float(SCALE.get(where.space.name, 1)), tuple(x.shape[1:])
        z = torch.stack(
            [
                embed(into_bounds(x + sigma * rng.normal(f"noise {copy}", shape).to(x), where.space))
                for copy in range(self.n)
            ],
            dim=1,
        )
        return normalize((z if self.rule == "mean" else _elected(z)).mean(dim=1), dim=-1)


def _elected(z: Float[Tensor, "b s d"]) -> Float[Tensor, "b h d"]:
    """The half of the copies (the larger one) that is nearest to the copy which all others are nearest to. Which they
    are is decided without a gradient.
    """
    with torch.no_grad():
        cosine = torch.einsum("bsd,bpd->bsp", z, z)
        winner = cosine.sum(dim=2).argmax(dim=1)
        near = cosine.gather(1, winner[:, None, None].expand(-1, 1, z.shape[1])).squeeze(1)
        chosen = near.topk((z.shape[1] + 1) // 2, dim=1).indices
    return z.gather(1, chosen[:, :, None].expand(-1, -1, z.shape[2]))
