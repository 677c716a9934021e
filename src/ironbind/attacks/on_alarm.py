"""Black-box search where gradients cannot be trusted: an attack that is run only on samples whose gradient alarm rings,
and on a random few.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ironbind.attacks.engine import input_gradient
from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.norms import enforce, project, random_start, steepest_step
from ironbind.types import Attack, Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

PROBE = 0.01  # of the radius: short enough that a smooth loss is straight there
TRUE_WITHIN = 0.5  # a gradient is believed when it predicts the change of the loss to this relative error
NOISE_DRAWS = 4


@dataclass(frozen=True)
class OnAlarm:
    """`attack`, spent where it may find what gradient attacks missed: on samples whose alarm rings, and on a random
    `share` of the others (ours).

    The alarm of a sample rings when its gradient is zero or not finite, when it mispredicts the change of the loss
    along a step of 1 % of the radius by more than half, or when a random point of the budget already succeeds. Costs
    one gradient pass and a handful of forward passes per sample. The others are returned as they came.
    """

    attack: Attack
    share: float = 0.05
    loss: str = field(default="margin")

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise InputError(f"OnAlarm's share {self.share} is not between 0 and 1")

    @property
    def name(self) -> str:
        return f"alarm-{self.attack.name}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        budget.check(space)
        goal = goal.using(self.loss)
        result, rings = probe(embed, x, goal, space, budget, rng)
        drawn = rng.uniform("random audit subset", ()).to(x.device) < self.share
        rows = (~result.reached & (rings | drawn)).nonzero().squeeze(1)
        if len(rows):
            attacked = self.attack(embed, x[rows], goal[rows], space, budget, rng[rows])
            result.x[rows], result.reached[rows], result.loss[rows] = attacked.x, attacked.reached, attacked.loss
            result.gradient_passes[rows] += attacked.gradient_passes
            result.forward_passes[rows] += attacked.forward_passes
        return result


def probe(
    embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
) -> tuple[Attacked, Bool[Tensor, " b"]]:
    """Whether the gradient alarm rings for each sample, and what probing found by chance (a random point that reached
    the goal, else `x`).
    """
    embed = in_full_batches(embed)
    at = x.detach().clone().requires_grad_(True)
    loss = goal.loss(embed(at))
    try:
        gradient = input_gradient(loss, at)
    except InputError:  # no graph leads back: nothing can be believed
        gradient = torch.zeros_like(x)
    loss = loss.detach()
    with torch.no_grad():
        step = project(x + PROBE * steepest_step(gradient, x, space, budget), x, space, budget) - x
        predicted = (gradient * step).flatten(1).sum(dim=1)
        measured = goal.loss(embed(x + step)) - loss
        # where the whole change is within rounding of a cosine, there is nothing to tell
        off = (measured - predicted).abs() > TRUE_WITHIN * predicted.abs().maximum(measured.abs()) + 1e-6
        rings = off | (gradient.flatten(1).abs().amax(dim=1) == 0) | ~torch.isfinite(loss)
        best, best_loss, reached = x.clone(), loss.clone(), torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for draw in range(NOISE_DRAWS):
            point = random_start(x, space, budget, rng, f"alarm noise {draw}")
            z = embed(point)
            hit, value = goal.reached(z), goal.loss(z)
            better = (hit & ~reached) | ((hit == reached) & (value > best_loss))
            best[better], best_loss[better] = point[better], value[better]
            reached |= hit
    enforce(best, x, space, budget)
    passes = torch.ones(len(x), dtype=torch.int64, device=x.device)
    return Attacked(best, reached, best_loss, passes, (1 + NOISE_DRAWS) * passes), rings | reached
