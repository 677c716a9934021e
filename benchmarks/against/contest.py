"""What every contestant is handed, and what a contestant is."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from against.meter import Classifier
from against.subject import Subject
from ironbind import attacks
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Attack, Budget

OURS = "ironbind"


class NotAvailable(Exception):
    """A contestant that cannot take part here; says why in one line."""


@dataclass(frozen=True)
class Settings:
    """The numbers of a run, the same for all. `radius` in units of 1/255 (linf); `rounds` are those of the interleaved
    part E.
    """

    samples: int = 256
    radius: float = 1.5
    steps: int = 100
    targets: int = 9
    queries: int = 5000
    minimum_steps: int = 100
    pgd_steps: int = 20
    batch: int = 64
    seed: int = 0
    rounds: int = 5

    @property
    def eps(self) -> float:
        return self.radius / 255


# to see that everything runs: what it prints says nothing
QUICK = Settings(samples=16, steps=4, targets=4, queries=12, minimum_steps=10, pgd_steps=3, batch=8, rounds=1)


@dataclass(frozen=True)
class Contest:
    """The classifier (it counts), the samples, the settings."""

    classifier: Classifier
    subject: Subject
    settings: Settings

    def in_batches(self, attack: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """`attack(x, label)` batch by batch, the examples put together."""
        size, x, label = self.settings.batch, self.subject.x, self.subject.label
        torch.manual_seed(self.settings.seed)
        return torch.cat(
            [attack(x[i : i + size].clone(), label[i : i + size].clone()).detach() for i in range(0, len(x), size)]
        )

    def with_ours(self, attack: Attack, budget: Budget) -> Tensor:
        """The same for an attack of ironbind."""
        subject, goal, size = self.subject, self.subject.goal(), self.settings.batch
        rng = PerSample.of(self.settings.seed, subject.ids, f"{attack.name} {budget}")
        found = []
        for rows in torch.arange(len(subject.x)).split(size):
            found.append(attack(self.classifier.embed, subject.x[rows], goal[rows], subject.space, budget, rng[rows]).x)
        return torch.cat(found)


class Found(NamedTuple):
    """Examples, and the stage that felled each sample ("" where none did)."""

    x: Tensor
    won: list[str]


@dataclass(frozen=True)
class Row:
    """One contestant of one comparison. `library` is the name of its distribution; `attack` says what runs, with its
    knobs.

    `frozen`: whether the model's parameters take part in no gradient; models come with parameters that do.
    """

    group: str
    library: str
    attack: str
    run: Callable[[Contest], Tensor | Found]
    frozen: bool = True
    norm: str = "linf"

    @property
    def ours(self) -> bool:
        return self.library == OURS

    @property
    def label(self) -> str:
        return f"{self.group} | {self.library} | {self.attack}{'' if self.frozen else ', parameters not frozen'}"


def our_attack(name: str, *args: Any, **knobs: Any) -> Attack:
    """`ironbind.attacks.name(...)`. Raises NotAvailable where this version has no such attack."""
    made = getattr(attacks, name, None)
    if not callable(made):
        raise NotAvailable(f"ironbind.attacks has no {name} in this version")
    return made(*args, **knobs)
