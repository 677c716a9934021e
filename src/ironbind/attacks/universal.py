"""One perturbation for every input: fitted on some samples, added to all others.

The question is that of Moosavi-Dezfooli et al. 2017 (arXiv 1610.08401); the fit is minibatch ascent on the mean loss
with a projection after each step (kin to Shafahi et al. 2020, arXiv 1811.11304), by the steepest step of the budget's
norm instead of the sign alone.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.attacks.engine import input_gradient, reached_and_loss
from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.norms import enforce, into_bounds, project, steepest_step
from ironbind.types import Attack, Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

FIXED = ("linf", "l2", "l1", "pointwise_l2")  # norms whose radius means the same for every sample
FIRST_STEP = 0.5  # of the radius, falling linearly to nothing


@dataclass(frozen=True)
class Universal:
    """Adds `delta` to every input and brings the sum into budget and bounds: one forward pass, no gradient.
    `fit_universal` makes it.

    The repr knows `delta` by its hash. Raises InputError for inputs of another shape, and for norms whose radius
    depends on the sample.
    """

    delta: Float[Tensor, "..."] = field(repr=False, compare=False)
    sha256: str = field(init=False)

    def __post_init__(self) -> None:
        held = self.delta.detach().cpu().contiguous()
        digest = hashlib.sha256(f"{tuple(held.shape)} {held.dtype}".encode() + held.numpy().tobytes())
        object.__setattr__(self, "sha256", digest.hexdigest())

    @property
    def name(self) -> str:
        return f"universal-{self.sha256[:8]}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        _check(space, budget)
        if x.shape[1:] != self.delta.shape:
            raise InputError(
                f"universal perturbation of shape {tuple(self.delta.shape)} does not fit samples of shape "
                f"{tuple(x.shape[1:])}"
            )
        y = project(x + self.delta.to(x), x, space, budget)
        reached, loss = reached_and_loss(embed, y, goal)
        enforce(y, x, space, budget)
        passes = torch.ones(len(x), dtype=torch.int64, device=x.device)
        return Attacked(y, reached, loss, 0 * passes, passes)


@dataclass(frozen=True)
class PerBudget:
    """A different attack for each budget of a ladder: what was fitted for one radius is not the best within another.

    Raises InputError for a budget that none was made for.
    """

    title: str
    attacks: tuple[tuple[Budget, Attack], ...]

    @property
    def name(self) -> str:
        return self.title

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        for fitted, attack in self.attacks:
            if (fitted.norm, fitted.radius) == (budget.norm, budget.radius):
                return attack(embed, x, goal, space, budget, rng)
        raise InputError(
            f"{self.title} was made for {', '.join(str(fitted) for fitted, _ in self.attacks)}, not for {budget}"
        )


def fit_universal(
    embed: Embed,
    batches: Sequence[tuple[Float[Tensor, "b ..."], Goal]],
    space: Space,
    budget: Budget,
    epochs: int = 10,
    loss: str = "margin",
) -> Universal:
    """The perturbation within `budget` that reaches the goals of most of these samples, as an attack on any others.

    Starts at zero, takes one step per batch and epoch on the batch's mean `loss`, and keeps the end of the best epoch
    (most goals reached, then the highest loss; one more forward pass over the data each). Costs 2 epochs of passes per
    epoch. Fit on other samples than those you report. Raises InputError for no batches, and for norms whose radius
    depends on the sample (snr, event_share).
    """
    _check(space, budget)
    if not batches or epochs < 1:
        raise InputError(
            f"a universal perturbation needs samples and at least one epoch to be fitted, not {len(batches)} "
            f"batches, epochs={epochs}"
        )
    embed = in_full_batches(embed)
    batches = [(x, goal.using(loss)) for x, goal in batches]
    boundless = replace(
        space, low=None, high=None
    )  # the perturbation itself lives within the budget alone; sums are brought into the bounds
    origin = torch.zeros_like(batches[0][0][:1])
    delta, best, best_score = origin, origin, (-1.0, 0.0)
    for epoch in range(epochs):
        for number, (x, goal) in enumerate(batches):
            share = FIRST_STEP * (1 - (epoch * len(batches) + number) / (epochs * len(batches)))
            at = delta.clone().requires_grad_(True)
            gradient = input_gradient(goal.loss(embed(into_bounds(x + at, space))) / len(x), at)
            with torch.no_grad():
                delta = project(
                    delta + share * steepest_step(gradient, origin, boundless, budget, at=delta),
                    origin,
                    boundless,
                    budget,
                )
        score = _score(embed, batches, delta, space)
        if score > best_score:
            best, best_score = delta, score
    return Universal(best[0])


@torch.no_grad()
def _score(
    embed: Embed, batches: Sequence[tuple[Tensor, Goal]], delta: Float[Tensor, "1 ..."], space: Space
) -> tuple[float, float]:
    """How many samples reach their goals under `delta`, and the sum of their losses."""
    reached, loss = 0.0, 0.0
    for x, goal in batches:
        z = embed(into_bounds(x + delta, space))
        reached += float(goal.reached(z).sum())
        loss += float(goal.loss(z).nan_to_num().sum())
    return reached, loss


def _check(space: Space, budget: Budget) -> None:
    budget.check(space)
    if budget.norm not in FIXED:
        raise InputError(
            f"norm {budget.norm!r} gives every sample a radius of its own, so none fits all; expected "
            f"{', '.join(FIXED)}"
        )
