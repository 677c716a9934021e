"""Attacks that climb on another function than the one that judges them: the attacker's own account of a defence."""

from collections.abc import Callable
from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from ironbind.attacks.engine import reached_and_loss
from ironbind.goals.unless_caught import UnlessCaught
from ironbind.numerics.norms import enforce
from ironbind.types import Attack, Attacked, Budget, Embed, Goal, SampleRandom, Space

Account = Callable[[], Embed]
"""A surrogate, made anew for every call of an attack: it may draw at every step, the same in every run."""


@dataclass(frozen=True)
class Through:
    """`attack` climbs the `surrogate`, a differentiable account of the embed that it is called with (BPDA, unrolled
    inner steps, fresh draws at every step); that embed then judges the examples.

    `way` says how the surrogate is differentiated, in the name and in stored verdicts; the surrogate itself must be
    determined by what is evaluated. An attack on a surrogate that draws must not stop early, as what is drawn at a step
    would then depend on who shares the batch. Each pass counts `passes` times, as a surrogate may run its encoder
    often. `loss` in what comes back is the margin of the judging embed.
    """

    attack: Attack
    surrogate: Account = field(repr=False, compare=False)
    way: str
    passes: int = 1

    @property
    def name(self) -> str:
        return f"{self.way}({self.attack.name})"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        crafted = self.attack(self.surrogate(), x, goal, space, budget, rng)
        return _judged(crafted, embed, x, goal, (space, budget), self.passes)


@dataclass(frozen=True)
class PastGate:
    """`attack` climbs the `surrogate`, whose rows carry a gate's excess behind the embedding: the goal without the gate
    acting (`goals.unless_caught.UnlessCaught`). The embed that it is called with, which knows no excess, judges the
    examples. Each pass counts `passes` times.
    """

    attack: Attack
    surrogate: Account = field(repr=False, compare=False)
    way: str
    passes: int = 1

    @property
    def name(self) -> str:
        return f"past-gate-{self.way}({self.attack.name})"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        crafted = self.attack(self.surrogate(), x, UnlessCaught(goal), space, budget, rng)
        return _judged(crafted, embed, x, goal, (space, budget), self.passes)


def _judged(
    crafted: Attacked,
    embed: Embed,
    x: Float[Tensor, "b ..."],
    goal: Goal,
    within: tuple[Space, Budget],
    passes: int,
) -> Attacked:
    enforce(crafted.x, x, *within)
    reached, loss = reached_and_loss(embed, crafted.x, goal)
    gradients, forwards = passes * crafted.gradient_passes, passes * crafted.forward_passes
    return Attacked(crafted.x, reached, loss, gradients, forwards + passes)
