"""Attacks that climb on another function than the one that judges them: the attacker's own account of a defence."""

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from ironbind.attacks.engine import reached_and_loss
from ironbind.goals.unless_caught import UnlessCaught
from ironbind.numerics.norms import enforce
from ironbind.types import Attack, Attacked, Budget, Embed, Goal, SampleRandom, Space


@dataclass(frozen=True)
class Through:
    """`attack` climbs `surrogate`, a differentiable account of the embed that it is called with (BPDA, unrolled inner
    steps, a mean over draws); that embed then judges the examples.

    `way` says how the surrogate is differentiated, in the name and in stored verdicts; the surrogate itself must be
    determined by what is evaluated. Each pass counts `passes` times, as a surrogate may run its encoder often.
    `loss` in what comes back is the margin of the judging embed.
    """

    attack: Attack
    surrogate: Embed = field(repr=False, compare=False)
    way: str
    passes: int = 1

    @property
    def name(self) -> str:
        return f"{self.way}({self.attack.name})"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        crafted = self.attack(self.surrogate, x, goal, space, budget, rng)
        enforce(crafted.x, x, space, budget)
        reached, loss = reached_and_loss(embed, crafted.x, goal)
        return Attacked(
            crafted.x,
            reached,
            loss,
            self.passes * crafted.gradient_passes,
            self.passes * (crafted.forward_passes + 1),
        )


@dataclass(frozen=True)
class PastGate:
    """`attack` climbs `surrogate`, whose rows carry a gate's excess behind the embedding: the goal without the gate
    acting (`goals.unless_caught.UnlessCaught`). The embed that it is called with, which knows no excess, judges the
    examples. Each pass counts `passes` times.
    """

    attack: Attack
    surrogate: Embed = field(repr=False, compare=False)
    way: str
    passes: int = 1

    @property
    def name(self) -> str:
        return f"past-gate-{self.way}({self.attack.name})"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        crafted = self.attack(self.surrogate, x, UnlessCaught(goal), space, budget, rng)
        enforce(crafted.x, x, space, budget)
        reached, loss = reached_and_loss(embed, crafted.x, goal)
        gradients, forwards = self.passes * crafted.gradient_passes, self.passes * (crafted.forward_passes + 1)
        return Attacked(crafted.x, reached, loss, gradients, forwards)
