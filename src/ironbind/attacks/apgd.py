"""Auto-PGD (Croce and Hein 2020, arXiv 2003.01690, algorithm 1): momentum, and a step that halves where progress
stalls. No step size to tune.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.attacks.engine import Iteration, Step, ascend, with_restarts
from ironbind.numerics.norms import per_row, project, random_start, steepest_step
from ironbind.types import Attacked, Budget, Embed, Goal, InputError, SampleRandom, Space

MOMENTUM = 0.75  # alpha of the paper
PROGRESS = 0.75  # rho: a checkpoint is passed when this share of the steps since the last one increased the loss


def checkpoints(steps: int) -> list[int]:
    """Iterations at which the step may halve: 22 % of the steps, then in spans that shrink by 3 % to no less than 6 %
    (section 3.3).
    """
    marks, span, least = [], max(int(0.22 * steps), 1), max(int(0.06 * steps), 1)
    at = span
    while at < steps:
        marks.append(at)
        span = max(span - max(int(0.03 * steps), 1), least)
        at += span
    return marks


@dataclass(frozen=True)
class APGD:
    """`steps` iterations from a random point, `restarts` times for samples that still stand. `loss`: "margin", "ce",
    "dlr" or "cosine".
    """

    steps: int = 50
    restarts: int = 1
    loss: str = "margin"
    stop_when_reached: bool = True

    def __post_init__(self) -> None:
        if self.steps < 1 or self.restarts < 1:
            raise InputError(
                f"APGD needs at least one step and one restart, not steps={self.steps}, restarts={self.restarts}"
            )

    @property
    def name(self) -> str:
        again = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"apgd{self.steps}{again}-{self.loss}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        goal = goal.using(self.loss)

        def attempt(restart: int, rows: Tensor) -> Attacked:
            start = random_start(x[rows], space, budget, rng[rows], f"apgd restart {restart}")
            step = apgd_step(self.steps, space, budget)
            return ascend(
                embed, x[rows], goal[rows], space, budget, start=start, step=step, steps=self.steps,
                stop_when_reached=self.stop_when_reached,
            )  # fmt: skip

        return with_restarts(attempt, x, self.restarts, self.stop_when_reached)


def apgd_step(steps: int, space: Space, budget: Budget, first: float = 2.0) -> Step:
    """The step rule of a run of `steps` iterations, a fresh one for each run. `first`: the first step, in radii."""
    return _Step(steps, space, budget, first)


class _Step:
    """The step rule: reads the iteration, keeps what each sample needs in its `state` (so that the engine can thin it
    out).

    `size` is a share of the radius: twice the radius at first, as in the paper, unless `first` says otherwise.
    """

    def __init__(self, steps: int, space: Space, budget: Budget, first: float) -> None:
        self.space, self.budget, self.first = space, budget, first
        self.marks = checkpoints(steps)
        self.spans = {mark: mark - before for before, mark in zip([0, *self.marks], self.marks, strict=False)}

    def __call__(self, now: Iteration) -> Float[Tensor, "r ..."]:
        state = now.state
        if now.t == 0:
            state.update(
                previous=now.current.clone(), size=torch.full_like(now.loss, self.first), last_loss=now.loss.clone(),
                increases=torch.zeros_like(now.loss), top=now.current.clone(), top_loss=now.loss.clone(),
                top_gradient=now.gradient.clone(),
                top_loss_at_mark=now.loss.clone(), halved=torch.ones_like(now.loss, dtype=torch.bool),
            )  # fmt: skip
        else:
            state["increases"] += (now.loss > state["last_loss"]).to(now.loss)
            state["last_loss"] = now.loss.clone()
            better = now.loss > state["top_loss"]
            for name, value in (("top", now.current), ("top_gradient", now.gradient), ("top_loss", now.loss)):
                state[name] = torch.where(per_row(better, value), value, state[name])
        current, gradient = now.current, now.gradient
        if now.t in self.spans:
            current, gradient = self._at_mark(now)
        size = per_row(state["size"], now.x)
        aimed = project(
            current + size * steepest_step(gradient, now.x, self.space, self.budget, at=current),
            now.x,
            self.space,
            self.budget,
        )
        share = 1.0 if now.t == 0 else MOMENTUM
        moved = current + share * (aimed - current) + (1 - share) * (current - state["previous"])
        state["previous"] = current.clone()
        return moved

    def _at_mark(self, now: Iteration) -> tuple[Tensor, Tensor]:
        """Conditions 1 and 2 of the paper: where progress stalls, halve the step and return to the best point."""
        state = now.state
        stalled = state["increases"] < PROGRESS * self.spans[now.t]
        stuck = ~state["halved"] & (state["top_loss_at_mark"] >= state["top_loss"])
        halve = stalled | stuck
        state["size"] = torch.where(halve, state["size"] / 2, state["size"])
        state["halved"], state["top_loss_at_mark"] = halve, state["top_loss"].clone()
        state["increases"] = torch.zeros_like(state["increases"])
        back = per_row(halve, now.x)
        state["previous"] = torch.where(back, state["top"], state["previous"])
        return torch.where(back, state["top"], now.current), torch.where(back, state["top_gradient"], now.gradient)
