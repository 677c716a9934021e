"""Further attempts on samples that almost fell: a minimum-norm search says which they are and where to begin. Ours."""

from dataclasses import dataclass, replace

from jaxtyping import Float, Int
from torch import Tensor

from ironbind.attacks.apgd import APGD, apgd_step
from ironbind.attacks.engine import ascend, reached_and_loss, worst_of
from ironbind.attacks.nearest.fmn import FMN
from ironbind.numerics.norms import distance, enforce, project
from ironbind.numerics.sample_random import Tagged
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

LOSSES = ("margin", "dlr", "ce")  # of the tries, in turns: near the boundary none leads everywhere


@dataclass(frozen=True)
class NearMiss:
    """A minimum-norm search of `search` steps; a sample that it breaks just outside of the budget gets many more tries,
    the others none.

    Robust samples are of two kinds: most cannot be broken at twice the radius, and a few miss it by a percent or two,
    so that a lucky start decides. Restarts for everybody spend nearly all their passes on the first kind. Here a sample
    whose nearest example lies within `within` radii is attacked again, first from that example (brought into the
    budget), then from `tries` random points, with APGD of `steps` steps.

    A sample costs `search` gradient passes, a near miss up to `search + steps * (tries + 1)`.
    """

    search: int = 100
    within: float = 1.05
    tries: int = 14
    steps: int = 100

    def __post_init__(self) -> None:
        if min(self.search, self.steps) < 1 or self.tries < 0 or not self.within >= 1:
            knobs = f"search={self.search}, within={self.within}, tries={self.tries}, steps={self.steps}"
            raise InputError(
                "NearMiss needs at least one step of each kind, no negative number of tries, and within >= 1, not "
                f"{knobs}"
            )

    @property
    def name(self) -> str:
        return f"nearmiss{self.search}-{self.steps}x{self.tries}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        """Raises BrokenPostCondition when an example leaves its budget or bounds."""
        budget.check(space)
        wide = replace(budget, radius=self.within * budget.radius)
        nearest = FMN(self.search)(embed, x, goal, space, wide, rng)
        distances = distance(nearest.x, x, space, budget.norm)
        start = project(nearest.x, x, space, budget)
        outside = nearest.reached & (distances > budget.radius)
        result = nearest._replace(x=start, reached=nearest.reached & ~outside, loss=nearest.loss.clone())
        moved = (distances > budget.radius).nonzero().squeeze(1)
        if len(moved):
            result.reached[moved], result.loss[moved] = reached_and_loss(embed, start[moved], goal[moved])
            result.forward_passes[moved] += 1
        for number in range(self.tries + 1):
            rows = (outside & ~result.reached).nonzero().squeeze(1)
            if not len(rows):
                break
            result = worst_of(result, self._try(number, rows, embed, x, start, goal, space, budget, rng), rows)
        enforce(result.x, x, space, budget)
        return result

    def _try(
        self, number: int, rows: Int[Tensor, " r"], embed: Embed, x: Tensor, start: Tensor, goal: Goal, space: Space,
        budget: Budget, rng: SampleRandom,
    ) -> Attacked:  # fmt: skip
        """The first from the nearest example, with the step that a search has at its end; the others afresh. Losses are
        comparable: margins.
        """
        loss = LOSSES[number % len(LOSSES)]
        if number == 0:
            step = apgd_step(self.steps, space, budget, first=0.25)
            wanted = goal.using(loss)[rows]
            attacked = ascend(embed, x[rows], wanted, space, budget, start=start[rows], step=step, steps=self.steps)
        else:
            attacked = APGD(self.steps, loss=loss)(
                embed, x[rows], goal[rows], space, budget, Tagged(rng[rows], f"try {number}")
            )
        _, margin = reached_and_loss(embed, attacked.x, goal[rows])
        return attacked._replace(loss=margin, forward_passes=attacked.forward_passes + 1)
