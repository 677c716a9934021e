"""Corruptions, and random noise within the budgets of an attack: perturbations that no adversary chose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.numerics.norms import enforce, random_start
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Attack, Budget, InputError, SampleRandom, Space, Task


@runtime_checkable
class Corruption(Protocol):
    """A change that no adversary chose: it uses neither goal nor encoder. `norm` and `written` give its strength in
    tables ("severity", "3").
    """

    @property
    def name(self) -> str: ...

    @property
    def norm(self) -> str: ...

    @property
    def written(self) -> str: ...

    def describe(self, shape: tuple[int, ...]) -> str:
        """What that strength means for samples of a shape."""
        ...

    def corrupt(
        self, x: Float[Tensor, "b ..."], modality: str, space: Space, rng: SampleRandom
    ) -> Float[Tensor, "b ..."]:
        """`x` corrupted, row by row, within the bounds of the space."""
        ...


@dataclass(frozen=True)
class RandomNoise:
    """A random point of the budget, uniform in its ball: a corruption whose strength is a distance, and what an attack
    of that budget has to beat.
    """

    budget: Budget

    name = "random_noise"

    @property
    def norm(self) -> str:
        return self.budget.norm

    @property
    def written(self) -> str:
        return self.budget.written

    def describe(self, shape: tuple[int, ...]) -> str:
        return f"{self.name}, uniform within {self.budget}"

    def corrupt(
        self, x: Float[Tensor, "b ..."], modality: str, space: Space, rng: SampleRandom
    ) -> Float[Tensor, "b ..."]:
        """Raises BrokenPostCondition when a point lies outside of the budget."""
        y = random_start(x, space, self.budget, rng, self.name)
        enforce(y, x, space, self.budget)
        return y


@dataclass(frozen=True)
class UnderCorruption:
    """The "corrupted" threat model: each of `strengths` alone, as a severe corruption need not break the samples that a
    slight one breaks.
    """

    strengths: Sequence[Corruption]

    threat_model = "corrupted"
    label = ""
    attacks: tuple[Attack, ...] = ()

    def identity(self, evaluator: Evaluator, count: int) -> dict[str, Any]:
        corruption = self.strengths[count - 1]
        # its words too: the strength behind a severity may change, and stored verdicts must not be reused then
        description = f"{corruption!r} {corruption.describe(input_shape(evaluator.task))}"
        return {"threat_model": self.threat_model, "corruption": description, "seed": evaluator.context.seed}

    def verdicts_at(self, evaluator: Evaluator, index: int) -> dict[str, Verdict]:
        """Every strength of a corruption has the same randomness."""
        corruption, task = self.strengths[index], evaluator.task

        def evaluate(indices: list[int], _: list[Verdict]) -> list[Verdict]:
            x = task.load(indices)
            rng = PerSample.of(evaluator.context.seed, evaluator.ids(indices), f"corruption {corruption.name}")
            with torch.no_grad():
                y = corruption.corrupt(x, task.modality, task.space, rng)
            if y.shape != x.shape or not torch.isfinite(y).all():
                raise InputError(
                    f"corruption {corruption.name!r} ({corruption.norm} {corruption.written}) gives {tuple(y.shape)}, "
                    f"not all of it finite; expected finite numbers of shape {tuple(x.shape)}"
                )
            like = Verdict(0, 0.0, won_by=f"{corruption.name} {corruption.written}", forward_passes=1)
            return evaluator.verdicts_of(indices, y, like)

        return evaluator.complete(index + 1, corruption.name, evaluate)

    def craft(self, evaluator: Evaluator, index: int, indices: list[int]) -> None:
        raise InputError("corrupted samples are not stored as examples")


def input_shape(task: Task) -> tuple[int, ...]:
    """The shape of one sample in the task's space."""
    return tuple(task.encoder.inputs[task.modality].shape_in(task.space.name))
