"""The one loop behind every iterative attack.

It owns what is easy to get wrong and the same for all: gradients with respect to the input only, the best iterate of
every sample, samples that have fallen leave the batch, passes are counted, every returned example is checked. An attack
hands it a start and a step.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.norms import enforce, per_row, project
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, Space


@dataclass
class Iteration:
    """Where the loop stands, for the samples still in the batch (r rows): what a step rule may look at.

    `state` belongs to the rule: tensors with one row per sample, which the loop thins out together with the batch.
    """

    t: int
    x: Float[Tensor, "r ..."]  # the clean samples
    current: Float[Tensor, "r ..."]
    gradient: Float[Tensor, "r ..."]
    loss: Float[Tensor, " r"]
    state: dict[str, Tensor] = field(default_factory=dict)


Step = Callable[[Iteration], Float[Tensor, "r ..."]]


def ascend(
    embed: Embed,
    x: Float[Tensor, "b ..."],
    goal: Goal,
    space: Space,
    budget: Budget,
    *,
    start: Float[Tensor, "b ..."],
    step: Step,
    steps: int,
    stop_when_reached: bool = True,
) -> Attacked:
    """Climbs `goal.loss` from `start` for `steps` gradient steps, each followed by a projection.

    Returns for every sample the iterate where the goal was reached with the highest loss, or, where it was never
    reached, the iterate of highest loss. With `stop_when_reached` a sample leaves at its first success. The success of
    an iterate is read from the forward pass that its gradient needs anyway, so that a robust sample costs `steps`
    forward-backward passes and one forward pass.

    Parameters of the encoder should be frozen (`requires_grad_(False)`): the gradient is taken with respect to the
    input alone. Raises BrokenPostCondition when an example leaves its budget or bounds.
    """
    budget.check(space)
    embed = in_full_batches(embed)
    device = x.device
    best, best_loss = x.clone(), torch.full((len(x),), -torch.inf, device=device)
    reached = torch.zeros(len(x), dtype=torch.bool, device=device)
    gradients = torch.zeros(len(x), dtype=torch.int64, device=device)
    forwards = torch.zeros_like(gradients)

    rows = torch.arange(len(x), device=device)  # who is still in the batch
    now = Iteration(0, x, start.detach(), x, best_loss)
    while len(rows):
        final = now.t == steps
        with torch.set_grad_enabled(not final):
            at = now.current.requires_grad_(not final)
            z = embed(at)
            loss = goal.loss(z)
        with torch.no_grad():
            hit = goal.reached(z)
            stay = ~hit if stop_when_reached else torch.ones_like(hit)
            better = _is_better(rows, loss, hit, best_loss, reached)
            # the one answer of a step that the device is waited for
            some_stay, all_stay, all_better = torch.stack([stay.any(), stay.all(), better.all()]).tolist()
            if all_better and now.t and len(rows) == len(x):
                best, best_loss, reached = at.detach(), loss.detach().clone(), hit.clone()  # this iterate as it is
            else:
                _put_better(rows, better, (at.detach(), loss.detach(), hit), (best, best_loss, reached))
            forwards.index_add_(0, rows, (torch.ones_like(stay) if final else ~stay).long())
        if final or not some_stay:
            break
        gradient = input_gradient(loss, at)
        # those that have just fallen share this pass without needing it: counts must not depend on neighbours
        gradients.index_add_(0, rows, stay.long())
        now.current, now.gradient, now.loss = at.detach(), gradient, loss.detach()
        if not all_stay:
            left = stay.nonzero().squeeze(1)
            rows, goal = rows[left], goal[left]
            now.x, now.current, now.gradient, now.loss = (
                now.x[left],
                now.current[left],
                now.gradient[left],
                now.loss[left],
            )
            now.state = {name: value[left] for name, value in now.state.items()}
        with torch.no_grad():
            now.current = project(step(now), now.x, space, budget)
        now.t += 1
    enforce(best, x, space, budget)
    return Attacked(best, reached, best_loss, gradients, forwards)


def input_gradient(loss: Float[Tensor, " r"], at: Float[Tensor, "r ..."]) -> Float[Tensor, "r ..."]:
    """d loss / d at, row by row. Coordinates whose gradient is not a number count as zero, as they would for an
    attacker: the others still lead.
    """
    gradient = torch.autograd.grad(loss.sum(), at, allow_unused=True)[0] if loss.requires_grad else None
    if gradient is None:
        raise InputError(
            "the encoder passes no gradient back to its input; a gradient attack needs an embed that is "
            "differentiable in x"
        )
    if gradient.device.type == "cpu" and torch.isfinite(gradient.sum()):
        return gradient  # one reading pass in the usual case instead of a writing one; another device is not waited for
    return gradient.nan_to_num(nan=0.0, posinf=0.0, neginf=0.0)


def _put_better(
    rows: Int[Tensor, " r"],
    better: Bool[Tensor, " r"],
    new: tuple[Float[Tensor, "r ..."], Float[Tensor, " r"], Bool[Tensor, " r"]],
    held: tuple[Float[Tensor, "b ..."], Float[Tensor, " b"], Bool[Tensor, " b"]],
) -> None:
    """Writes the `better` rows of `new` (examples, losses, successes) where they belong in `held`; no device is waited
    for.
    """
    for value, kept in zip(new, held, strict=True):
        kept[rows] = torch.where(per_row(better, value), value, kept[rows])


def _is_better(
    rows: Int[Tensor, " r"],
    loss: Float[Tensor, " r"],
    hit: Bool[Tensor, " r"],
    best_loss: Float[Tensor, " b"],
    reached: Bool[Tensor, " b"],
) -> Bool[Tensor, " r"]:
    """Success beats failure; among equals the higher loss wins."""
    before = reached[rows]
    return (hit & ~before) | ((hit == before) & (loss > best_loss[rows]))


@torch.no_grad()
def reached_and_loss(
    embed: Embed, x: Float[Tensor, "r ..."], goal: Goal
) -> tuple[Bool[Tensor, " r"], Float[Tensor, " r"]]:
    """Whether the goal is reached at `x`, and the margin loss there, whatever loss was pursued: for examples that were
    crafted in another way or on another encoder. One forward pass."""
    z = in_full_batches(embed)(x)
    return goal.reached(z), goal.using("margin").loss(z)


def worst_of(first: Attacked, second: Attacked, rows: Int[Tensor, " r"]) -> Attacked:
    """`first`, updated in place by a second attempt on `rows`: passes add up, the better example of a sample stays."""
    better = _is_better(rows, second.loss, second.reached, first.loss, first.reached)
    _put_better(rows, better, (second.x, second.loss, second.reached), (first.x, first.loss, first.reached))
    first.gradient_passes[rows] += second.gradient_passes
    first.forward_passes[rows] += second.forward_passes
    return first


def with_restarts(
    attempt: Callable[[int, Int[Tensor, " r"]], Attacked],
    x: Float[Tensor, "b ..."],
    restarts: int,
    stop_when_reached: bool,
) -> Attacked:
    """The best of `restarts` attempts per sample; `attempt(restart, rows)` attacks those rows.

    With `stop_when_reached` only samples that still stand start again.
    """
    everyone = torch.arange(len(x), device=x.device)
    result = attempt(0, everyone)
    for restart in range(1, restarts):
        rows = everyone[~result.reached] if stop_when_reached else everyone
        if len(rows):
            result = worst_of(result, attempt(restart, rows), rows)
    return result
