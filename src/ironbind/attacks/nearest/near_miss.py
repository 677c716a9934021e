"""A minimum-norm search decides how much a sample is worth: nothing more where it ends far from the budget, further
attempts where it ends just outside. Ours."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.attacks.apgd import APGD, apgd_step
from ironbind.attacks.engine import ascend, reached_and_loss, worst_of
from ironbind.attacks.nearest.fmn import FMN
from ironbind.attacks.targeted import TargetRace
from ironbind.numerics.norms import distance, enforce, project
from ironbind.numerics.sample_random import Tagged
from ironbind.types import Attack, Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

AGAIN: tuple[Attack, ...] = (APGD(50, loss="dlr"), APGD(50, loss="ce"), TargetRace(6))
"""What a sample that just missed gets: near the boundary no loss leads everywhere, and a lucky start decides."""


@dataclass(frozen=True)
class NearMiss:
    """A minimum-norm search in at most `search` steps. A sample that it breaks within the budget leaves at once; one
    that it breaks just outside gets further attempts.

    Robust samples are of two kinds: most cannot be broken at a radius that is larger by a tenth, and a few miss it by a
    percent or two, so that a lucky start decides. The distance of the nearest example tells them apart, where margins
    at the end of a run do not: a run that is stuck looks like one that has converged (docs/attacks.md has the
    measurements). The search may go as far as `within` radii. It begins with a short heat towards each of the nearest
    wrong classes; a sample without an example after those whose boundary, taken as linear, lies beyond `hopeless` times
    that is given up. A sample whose nearest example lies within `within` radii is attacked from there (brought into the
    budget) with APGD of `steps` steps; within `close` radii the attacks of `again` follow, from elsewhere.

    With the default search a sample costs 56 gradient passes if it is given up, 100 if it is not, and `steps` and
    `again` on top if it almost fell.
    """

    search: int = 100
    within: float = 1.05
    hopeless: float = 1.15
    steps: int = 40
    close: float = 1.02
    again: tuple[Attack, ...] = AGAIN

    def __post_init__(self) -> None:
        if min(self.search, self.steps) < 1 or not self.within >= self.close >= 1 or not self.hopeless >= 1:
            knobs = ", ".join(f"{name}={getattr(self, name)}" for name in ("search", "steps", "within", "close"))
            raise InputError(
                "NearMiss needs at least one step of each kind, 1 <= close <= within, and hopeless >= 1, not "
                f"{knobs}, hopeless={self.hopeless}"
            )

    @property
    def name(self) -> str:
        return f"nearmiss{self.search}-{self.steps}+{len(self.again)}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        """Raises BrokenPostCondition when an example leaves its budget or bounds."""
        budget.check(space)
        search = FMN(self.search, enough=1 / self.within, hopeless=self.hopeless)
        nearest = search(embed, x, goal, space, replace(budget, radius=self.within * budget.radius), rng)
        distances = distance(nearest.x, x, space, budget.norm)
        start = project(nearest.x, x, space, budget)
        outside = nearest.reached & (distances > budget.radius)
        result = nearest._replace(x=start, reached=nearest.reached & ~outside, loss=nearest.loss.clone())
        moved = (distances > budget.radius).nonzero().squeeze(1)
        if len(moved):
            result.reached[moved], result.loss[moved] = reached_and_loss(embed, start[moved], goal[moved])
            result.forward_passes[moved] += 1

        def polish(rows: Int[Tensor, " r"]) -> Attacked:
            """From the nearest example, with the step that a search has at its end."""
            step = apgd_step(self.steps, space, budget, first=0.25)
            wanted = goal[rows].using("margin")
            return ascend(embed, x[rows], wanted, space, budget, start=start[rows], step=step, steps=self.steps)

        def attempt(number: int, attack: Attack) -> Callable[[Int[Tensor, " r"]], Attacked]:
            return lambda rows: attack(
                embed, x[rows], goal[rows], space, budget, Tagged(rng[rows], f"attempt {number} {attack.name}")
            )

        def strengthened(result: Attacked, chosen: Bool[Tensor, " b"], attack: Callable[..., Attacked]) -> Attacked:
            """After another attack on what still stands of the chosen samples. Losses are comparable: margins."""
            rows = (chosen & ~result.reached).nonzero().squeeze(1)
            if not len(rows):
                return result
            attacked = attack(rows)
            _, margin = reached_and_loss(embed, attacked.x, goal[rows])
            attacked = attacked._replace(loss=margin, forward_passes=attacked.forward_passes + 1)
            return worst_of(result, attacked, rows)

        result = strengthened(result, outside, polish)
        for number, attack in enumerate(self.again):
            close = outside & (distances <= self.close * budget.radius)
            result = strengthened(result, close, attempt(number, attack))
        enforce(result.x, x, space, budget)
        return result
