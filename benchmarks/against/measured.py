"""The numbers of one row."""

import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from against import libraries
from against.contest import Contest, Found, NotAvailable, Row, Settings
from against.meter import Cost, PeakMemory, yardstick
from against.subject import Subject, subject
from ironbind.numerics.norms import distance


@dataclass(frozen=True)
class Measured:
    """What came of a row; `error` says why there is nothing else.

    Per sample: whether it was `wrong` before any attack, whether it `stands` (right before and after), how far its
    example lies (`norms`), which stage felled it (`won`, where the attack has stages). `outside`: how far examples
    leave the bounds of the space. `pace`: CPU milliseconds of one gradient pass of one row around this measurement.
    """

    error: str = ""
    version: str = ""
    cpu_s: float = math.nan
    pace: float = math.nan
    peak_mib: float = math.nan
    load: float = math.nan
    outside: float = math.nan
    stages: Mapping[str, Cost] = field(default_factory=dict)
    wrong: list[bool] = field(default_factory=list)
    stands: list[bool] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    won: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, held: Mapping[str, Any]) -> "Measured":
        """Back from JSON."""
        return cls(**{**held, "stages": {stage: Cost(**cost) for stage, cost in held.get("stages", {}).items()}})

    @property
    def held(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @property
    def cost(self) -> Cost:
        return sum(self.stages.values(), Cost())

    @property
    def accuracy(self) -> float:
        """Percent that stand."""
        return 100 * sum(self.stands) / len(self.stands)

    @property
    def paced(self) -> float:
        """CPU seconds as multiples of one gradient pass of one row: comparable between measurements of other hours."""
        return 1000 * self.cpu_s / self.pace

    def __str__(self) -> str:
        return self.error or f"{self.accuracy:.1f} % stand, {self.cpu_s:.1f} CPU s, {self.cost.passes} passes"


def measure(row: Row, settings: Settings) -> Measured:
    """Runs one row in this process. What a contestant raises is not raised: the row says why there is no number."""
    try:
        version = libraries.ready(row.library)
        against = subject("image", settings.samples)
        fit = against.x[: settings.batch]
        against.classifier(frozen=True)
        yardstick(against.embed, fit)  # warms up allocator and kernels
        before = yardstick(against.embed, fit)
        classifier = against.classifier(frozen=row.frozen)
        memory, started = PeakMemory(), time.process_time()
        found = row.run(Contest(classifier, against, settings))
        cpu, peak = time.process_time() - started, memory.read()
    except NotAvailable as error:
        return Measured(error=f"not available: {error}")
    except Exception as error:  # noqa: BLE001
        return Measured(error=f"crashed: {type(error).__name__}: {libraries.first_line(error)}")
    found = found if isinstance(found, Found) else Found(found, [])
    against.network.requires_grad_(False)
    pace = (before + yardstick(against.embed, fit)) / 2
    return Measured(
        "",
        version,
        cpu,
        pace,
        peak,
        os.getloadavg()[0],
        stages=dict(classifier.stages),
        won=found.won,
        **judged(against, found.x, row.norm),
    )


def judged(against: Subject, examples: torch.Tensor, norm: str) -> dict[str, Any]:
    """The one verdict for everybody, with distances in double precision."""
    space, wrong = against.space, against.fallen(against.x)
    low, high = space.low if space.low is not None else -math.inf, space.high if space.high is not None else math.inf
    return {
        "wrong": wrong.tolist(),
        "stands": (~(wrong | against.fallen(examples))).tolist(),
        "norms": distance(examples.double(), against.x.double(), space, norm).tolist(),
        "outside": max(low - float(examples.min()), float(examples.max()) - high, 0.0),
    }
