"""Random noise, the baseline that every attack has to beat and that no gradient can mask."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.attacks.engine import with_restarts
from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.norms import enforce, project, random_start, steepest_step
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

KINDS = ("uniform", "sign")


@dataclass(frozen=True)
class Noise:
    """The best of `draws` random points of the budget, one forward pass each; a sample leaves at its first success.

    `kind`: "uniform" draws from the whole ball, "sign" from its surface, the full radius in a random direction (for
    linf a corner, plus or minus the radius at every coordinate; for event_share events added or removed outright).
    `loss` picks the best point where none succeeds.
    """

    draws: int = 100
    kind: str = "uniform"
    loss: str = "margin"
    stop_when_reached: bool = True

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"Noise needs at least one draw, not draws={self.draws}")
        if self.kind not in KINDS:
            raise InputError(f"kind {self.kind!r} of noise is not known; expected one of {', '.join(KINDS)}")

    @property
    def name(self) -> str:
        return f"noise{self.draws}-{self.kind}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        budget.check(space)
        goal, embed = goal.using(self.loss), in_full_batches(embed)

        def point(clean: Float[Tensor, "r ..."], rng: SampleRandom, tag: str) -> Float[Tensor, "r ..."]:
            if self.kind == "uniform":
                return random_start(clean, space, budget, rng, tag)
            direction = rng.normal(tag, tuple(clean.shape[1:])).to(clean)
            return project(clean + steepest_step(direction, clean, space, budget), clean, space, budget)

        def attempt(draw: int, rows: Int[Tensor, " r"]) -> Attacked:
            y = point(x[rows], rng[rows], f"noise {draw}")
            z, wanted = embed(y), goal[rows]
            passes = torch.ones(len(rows), dtype=torch.int64, device=x.device)
            return Attacked(y, wanted.reached(z), wanted.loss(z), 0 * passes, passes)

        with torch.no_grad():
            result = with_restarts(attempt, x, self.draws, self.stop_when_reached)
        enforce(result.x, x, space, budget)
        return result
