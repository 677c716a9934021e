"""A gate on how far small noise moves an embedding, with an answer of its own for what it stops.

Letters: b = batch, d = embedding width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ironbind.defences.counterattack import driven_away
from ironbind.defences.defence import Passes, Radius, Where, radius_in, refuse_odd_knobs
from ironbind.numerics.norms import into_bounds, per_row
from ironbind.types import Embed, InputError, SampleRandom, Space

SIDES = ("below", "above")
RESPONSES = ("average", "counterattack")


@dataclass(frozen=True)
class NoiseGate:
    """`draws` Gaussian noises of standard deviation `sigma` move the embedding by a mean distance, the drift. An input
    whose drift lies on the suspicious `side` of `threshold` is answered by the mean of its noisy embeddings
    (`response` "average") or by a counterattack of `steps` steps within `eps` ("counterattack"); any other as it is.

    Kin: TTC's tau and FPT-Noise's feature perception threshold (arXiv 2510.20856) take small drifts for a sign of an
    attack, Roth, Kilcher and Hofmann 2019 (arXiv 1902.04818) large ones. The composition and all values are ours.
    """

    sigma: Radius = "4/255"
    draws: int = 4
    threshold: float = 0.2
    side: str = "below"
    response: str = "average"
    eps: Radius = "4/255"
    steps: int = 2

    name = "noise_gate"

    def __post_init__(self) -> None:
        refuse_odd_knobs(self)
        if self.side not in SIDES:
            raise InputError(f"side {self.side!r} of a noise gate is not known; expected {' or '.join(SIDES)}")
        if self.response not in RESPONSES:
            raise InputError(f"response {self.response!r} of a noise gate is not known; expected one of {RESPONSES}")
        if self.draws < 1 or self.steps < 1:
            raise InputError(f"{self}: expected at least one draw and one step")

    @property
    def gradients(self) -> tuple[str, ...]:
        return ("straight_through", "unrolled") if self.response == "counterattack" else ("straight_through",)

    @property
    def acts_above(self) -> float:
        return -self.threshold if self.side == "below" else self.threshold

    def unsuitable(self, modality: str, space: Space) -> str:
        """It has a meaning wherever an input can be moved a little."""
        return ""

    def randomised(self, modality: str, space: Space) -> bool:
        return True

    def passes(self, modality: str, space: Space) -> Passes:
        more = (1, self.steps) if self.response == "counterattack" else (0, 0)
        return Passes(1 + self.draws + more[0], more[1])

    def answer(self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom) -> Float[Tensor, "b d"]:
        noisy = self._noisy(x, where, rng)
        origin, around = embed(x), torch.stack([embed(each) for each in noisy])
        drift = (around - origin).norm(dim=-1).mean(dim=0)
        stopped = drift < self.threshold if self.side == "below" else drift > self.threshold
        if self.response == "average":
            answer = normalize(around.mean(dim=0), dim=-1)
        else:
            radius = radius_in(where.space, self.eps)
            answer = embed(driven_away(embed, x, noisy[0], origin, (radius, radius), (self.steps, 2.0), where))
        return torch.where(per_row(stopped, origin), answer, origin)

    def suspicion(
        self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom
    ) -> Float[Tensor, " b"]:
        """The drift, or minus the drift where small ones are suspicious."""
        origin = embed(x)
        drift = torch.stack([(embed(each) - origin).norm(dim=1) for each in self._noisy(x, where, rng)]).mean(dim=0)
        return -drift if self.side == "below" else drift

    def _noisy(self, x: Tensor, where: Where, rng: SampleRandom) -> list[Tensor]:
        sigma, shape = radius_in(where.space, self.sigma), tuple(x.shape[1:])
        return [
            into_bounds(x + sigma * rng.normal(f"noise {draw}", shape).to(x), where.space) for draw in range(self.draws)
        ]
