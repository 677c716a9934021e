"""Attacks through named wrong classes: APGD-T, and a race among targets that spends its steps on the promising ones."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.attacks.apgd import APGD, apgd_step
from ironbind.attacks.engine import ascend, with_restarts, worst_of
from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.norms import random_start
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space


def _rivals(embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, count: int) -> Int[Tensor, "b t"]:
    """The wrong classes nearest to each clean sample, best first (one forward pass)."""
    with torch.no_grad():
        return goal.rivals(in_full_batches(embed)(x), count)


@dataclass(frozen=True)
class TargetedAPGD:
    """APGD-T (Croce and Hein 2020, arXiv 2003.01690): one APGD run towards each of the `targets` best-scoring wrong
    classes.

    Samples leave once any wrong class wins. As many targets as there are wrong classes, where they are fewer; a goal
    without rivals (an item to be hidden from its query) is attacked once, untargeted. `loss`: "dlr" (from four classes
    up, below that the lead itself), "margin" or "ce".
    """

    steps: int = 100
    targets: int = 9
    restarts: int = 1
    loss: str = "dlr"
    stop_when_reached: bool = True

    def __post_init__(self) -> None:
        if min(self.steps, self.targets, self.restarts) < 1:
            knobs = f"steps={self.steps}, targets={self.targets}, restarts={self.restarts}"
            raise InputError(f"TargetedAPGD needs at least one step, one target and one restart, not {knobs}")

    @property
    def name(self) -> str:
        again = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"apgd{self.steps}{again}-t{self.targets}-{self.loss}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        goal = goal.using(self.loss)
        rivals = _rivals(embed, x, goal, self.targets)
        untargeted = APGD(self.steps, self.restarts, self.loss, self.stop_when_reached)
        if not rivals.shape[1]:
            return untargeted(embed, x, goal, space, budget, rng)

        def attempt(number: int, rows: Tensor) -> Attacked:
            target = number // self.restarts
            start = random_start(x[rows], space, budget, rng[rows], f"apgd-t {number}")
            return ascend(
                embed, x[rows], goal[rows].against(rivals[rows, target]), space, budget,
                start=start, step=apgd_step(self.steps, space, budget), steps=self.steps,
                stop_when_reached=self.stop_when_reached,
            )  # fmt: skip

        result = with_restarts(attempt, x, rivals.shape[1] * self.restarts, self.stop_when_reached)
        result.forward_passes.add_(1)
        return result


@dataclass(frozen=True)
class TargetRace:
    """Targets by successive halving (ours; kin to Jamieson and Talwalkar 2016, arXiv 1502.07943): every target gets a
    short APGD run, the better half of the targets, judged by the lead over the truth, goes on from where it stands with
    twice the steps, until one is left.

    `targets` wrong classes, `steps` in the first heat. Nine targets at 10 steps cost 9*10 + 5*20 + 3*40 + 2*80 = 470
    gradient passes for a sample that survives, against 900 of APGD-T with 100 steps each. `heats`: stop after so many.
    """

    steps: int = 10
    targets: int = 9
    heats: int = 4
    loss: str = "dlr"
    stop_when_reached: bool = True

    def __post_init__(self) -> None:
        if min(self.steps, self.targets, self.heats) < 1:
            raise InputError(
                f"TargetRace needs at least one step, target and heat, not steps={self.steps}, "
                f"targets={self.targets}, heats={self.heats}"
            )

    @property
    def name(self) -> str:
        return f"race{self.steps}-t{self.targets}-{self.loss}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        goal = goal.using(self.loss)
        rivals = _rivals(embed, x, goal, self.targets)
        if not rivals.shape[1]:
            return APGD(self.steps * 2**self.heats, 1, self.loss, self.stop_when_reached)(
                embed, x, goal, space, budget, rng
            )
        runners: list[Tensor] = [rivals[:, place] for place in range(rivals.shape[1])]  # each: one target per sample
        where: list[Tensor] = [random_start(x, space, budget, rng, f"race {place}") for place in range(len(runners))]
        result, everyone = None, torch.arange(len(x), device=x.device)
        for heat in range(self.heats):
            steps = self.steps * 2**heat
            leads = x.new_full((len(x), len(runners)), -torch.inf)
            for place, target in enumerate(runners):
                rows = everyone if result is None or not self.stop_when_reached else everyone[~result.reached]
                if not len(rows):
                    break
                # a later heat begins where the last one ended, with the step that a search has there rather than with
                # the first, coarse one
                step = apgd_step(steps, space, budget, first=2.0 if heat == 0 else 0.5)
                attacked = ascend(
                    embed, x[rows], goal[rows].against(target[rows]), space, budget,
                    start=where[place][rows], step=step, steps=steps, stop_when_reached=self.stop_when_reached,
                )  # fmt: skip
                leads[rows, place] = attacked.loss
                where[place] = where[place].index_copy(0, rows, attacked.x)
                result = attacked if result is None else worst_of(result, attacked, rows)
            assert result is not None
            if len(runners) == 1 or (self.stop_when_reached and bool(result.reached.all())):
                break
            order = leads.argsort(dim=1, descending=True, stable=True)[:, : (len(runners) + 1) // 2]
            runners, where = _picked(runners, order), _picked(where, order)
        assert result is not None
        result.forward_passes.add_(1)
        return result


def _picked(columns: list[Tensor], order: Int[Tensor, "b t"]) -> list[Tensor]:
    """For each sample the columns in its own order."""
    stacked = torch.stack(columns, dim=1)
    rows = torch.arange(len(order), device=order.device)
    return [stacked[rows, order[:, place]] for place in range(order.shape[1])]
