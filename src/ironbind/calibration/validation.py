"""Choosing the best state of a training: clean and adaptive accuracy on samples that are neither trained on nor
reported, of which each rank evaluates a share.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.data_parallel import own_share
from ironbind.calibration.training_batches import Rows
from ironbind.numerics.batching import batches, in_full_batches
from ironbind.numerics.networks import frozen
from ironbind.numerics.ranks import Ranks
from ironbind.numerics.sample_random import PerSample
from ironbind.types import AdversarialTraining, Stage, Task


class ValidationScore(NamedTuple):
    """Accuracy in percent on the validation samples, and the cosine of their new to their old clean embeddings; means
    over the spaces. `adaptive`: under attack; under noise instead in a stage that trains with noise.
    """

    clean: float
    adaptive: float
    cosine: float = 1.0

    def score(self, frozen: float, floor: float = 0.0) -> float:
        """What the best state has most of: adaptive accuracy, less what has been lost of the frozen encoder's clean
        accuracy, in whatever stage.

        Where the cosine is below `floor`, less than any of a state that is not, and the more the nearer it is.
        """
        return self.adaptive - max(0.0, frozen - self.clean) if self.cosine >= floor else -1000 + self.cosine


class ValidationCounts(NamedTuple):
    """Of one rank's validation samples: how many are correct, how many of them robust, the cosine of each."""

    correct: int
    robust: int
    cosines: list[float]


@dataclass
class Validation:
    """The validation samples `rows` of `tasks` (one task per space) against the encoder under training, `hard`."""

    hard: Calibrated
    tasks: Sequence[Task]
    rows: Sequence[int]
    stage: Stage
    seed: int
    purpose: str
    group: Ranks

    def __post_init__(self) -> None:
        assert self.stage.adversarial_training is not None
        self.settings: AdversarialTraining = self.stage.adversarial_training
        self.share = list(self.rows)[own_share(len(self.rows), self.group)]

    def score(self) -> ValidationScore:
        """Of the present state, means over the spaces. All ranks must ask."""
        scores = [self._evaluate(task) for task in self.tasks]
        return ValidationScore(*(math.fsum(values) / len(scores) for values in zip(*scores, strict=True)))

    @cached_property
    def _old(self) -> dict[str, Float[Tensor, "n d"]]:
        """Embeddings of this rank's validation samples by the frozen encoder, by space; {} where it has none."""
        return {
            task.space.name: torch.cat([z for _, _, z in self._embeddings(task.on(self.hard.backbone))])
            for task in self.tasks
            if self.share
        }

    @cached_property
    def frozen_accuracy(self) -> float:
        """Clean accuracy in percent of the frozen encoder on the validation samples, mean over the spaces."""
        correct = 0
        for task in self.tasks if self.share else ():
            goal = task.on(self.hard.backbone).goal(self.share)
            correct += int((~goal.reached(self._old[task.space.name])).sum())
        return 100 * sum(self.group.gather(correct)) / (len(self.tasks) * len(self.rows))

    def _evaluate(self, task: Task) -> ValidationScore:
        found, count = self.group.gather(self._evaluate_share(task)), len(self.rows)
        correct, robust = sum(one.correct for one in found), sum(one.robust for one in found)
        cosines = [cosine for one in found for cosine in one.cosines]
        return ValidationScore(100 * correct / count, 100 * robust / count, math.fsum(cosines) / count)

    def _evaluate_share(self, task: Task) -> ValidationCounts:
        """What is found of this rank's validation samples."""
        hard = task.on(self.hard)
        sigma = self.settings.noise_in(task.space)
        correct, robust = 0, 0
        cosines: list[float] = []
        if not self.share:
            return ValidationCounts(correct, robust, cosines)
        with frozen(self.hard):
            batches_of_old = self._old[task.space.name].split(self.stage.batch_size)
            for (rows, x, z), old in zip(self._embeddings(hard), batches_of_old, strict=True):
                cosines += (z * old).sum(dim=1).tolist()
                goal = hard.goal(rows)
                at = (~goal.reached(z)).nonzero().squeeze(1)
                correct += len(at)
                if sigma:
                    robust += self._right_under_noise(hard, rows, x, sigma)
                else:
                    robust += self._robust(hard, rows, x, at)
        return ValidationCounts(correct, robust, cosines)

    def _robust(self, task: Task, rows: Rows, x: Tensor, at: Tensor) -> int:
        """How many of the samples at these places of a batch withstand the attack within every budget."""
        goal = task.goal(rows)
        for budget in self.stage.budgets_in(task.space):
            if not len(at):
                break
            ids = [task.dataset.ids[rows[int(index)]] for index in at]
            rng = PerSample.of(self.seed, ids, f"judge {self.purpose}")
            attacked = self.settings.validation_attack(task.embed, x[at], goal[at], task.space, budget, rng)
            at = at[~attacked.reached]
        return len(at)

    def _right_under_noise(self, task: Task, rows: Rows, x: Tensor, sigma: float) -> int:
        """How many samples the encoder answers rightly under a draw of noise, the same at every validation."""
        rng = PerSample.of(self.seed, [task.dataset.ids[row] for row in rows], f"judge {self.purpose}")
        with torch.no_grad():
            z = in_full_batches(task.embed)(x + sigma * rng.normal("noise", tuple(x.shape[1:])).to(x))
        return int((~task.goal(rows).reached(z)).sum())

    def _embeddings(self, task: Task) -> Iterator[tuple[Rows, Tensor, Float[Tensor, "b d"]]]:
        """This rank's validation samples batch by batch: row numbers, inputs, embeddings without an attack."""
        embed = in_full_batches(task.embed)
        for rows in batches(self.share, self.stage.batch_size):
            x = task.load(rows)
            with torch.no_grad():
                z = embed(x)
            yield rows, x, z
