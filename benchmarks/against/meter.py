"""What an attack costs: rows passed through the model, CPU seconds, peak memory. And the model as every library wants
it, a classifier.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from ironbind.numerics.metrics import class_scores
from ironbind.types import ClassCenters, Embed

LOGIT_SCALE = 20.0  # the one at which ironbind's own cross-entropy works (goals/misclassify.py)
YARDSTICK_PASSES = 8


@dataclass
class Cost:
    """Rows that went through the model (forward with a graph, forward without, backward; padding rows count) and CPU
    seconds.
    """

    gradient_forwards: int = 0
    plain_forwards: int = 0
    backwards: int = 0
    cpu_s: float = 0.0

    @property
    def passes(self) -> int:
        """Forward plus backward rows, of whatever kind."""
        return self.gradient_forwards + self.plain_forwards + self.backwards

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.gradient_forwards + other.gradient_forwards, self.plain_forwards + other.plain_forwards,
            self.backwards + other.backwards, self.cpu_s + other.cpu_s,
        )  # fmt: skip


class Classifier(nn.Module):
    """Logits = 20 x cosine to the class centers, `b c`. Counts what passes, by stage; `embed` is the counted way to the
    embeddings alone.

    `network` holds the parameters (libraries ask a model for them); `embedding` is how it is called.
    """

    def __init__(self, network: nn.Module, embedding: Embed, centers: ClassCenters) -> None:
        super().__init__()
        self.network, self.embedding, self.centers = network, embedding, centers
        self.stage = ""
        self.stages: dict[str, Cost] = defaultdict(Cost)
        self._since = time.process_time()

    def embed(self, x: Tensor) -> Tensor:
        """Unit rows `b d`."""
        cost = self.stages[self.stage]
        z = self.embedding(x)
        if not z.requires_grad:
            cost.plain_forwards += len(x)
            return z
        cost.gradient_forwards += len(x)

        def backward(_gradient: Tensor) -> None:
            cost.backwards += len(x)

        z.register_hook(backward)
        return z

    def forward(self, x: Tensor) -> Tensor:
        return LOGIT_SCALE * class_scores(self.embed(x), self.centers)

    @contextmanager
    def during(self, stage: str) -> Iterator[None]:
        """Passes and CPU seconds inside belong to `stage`; a stage within a stage is charged to the inner one alone."""
        outer = self._enter(stage)
        try:
            yield
        finally:
            self._enter(outer)

    def _enter(self, stage: str) -> str:
        left, now = self.stage, time.process_time()
        self.stages[left].cpu_s += now - self._since
        self.stage, self._since = stage, now
        return left


def seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    started = time.process_time()
    work()
    return time.process_time() - started


def yardstick(embedding: Embed, x: Tensor) -> float:
    """CPU milliseconds of one gradient pass of one row, now: a machine's pace drifts, and neighbours slow it down."""

    def gradients() -> None:
        for _ in range(YARDSTICK_PASSES):
            at = x.clone().requires_grad_(True)
            torch.autograd.grad(embedding(at).sum(), at)

    return 1000 * seconds(gradients) / (YARDSTICK_PASSES * len(x))


def _status(field: str) -> float:
    line = next(
        one for one in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if one.startswith(f"{field}:")
    )
    return int(line.split()[1]) / 1024


class PeakMemory:
    """MiB by which the process's peak resident memory exceeded what was resident at the beginning; nan where Linux's
    /proc is missing.
    """

    def __init__(self) -> None:
        try:
            Path("/proc/self/clear_refs").write_text(
                "5", encoding="ascii"
            )  # sets the peak back to what is resident now
            self.before = _status("VmRSS")
        except (OSError, StopIteration):
            self.before = float("nan")

    def read(self) -> float:
        return _status("VmHWM") - self.before if self.before == self.before else float("nan")
