"""The "replayed" threat model: examples crafted on another encoder, run through this task's."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.types import Attack, Budget


@dataclass(frozen=True)
class Replay:
    """Examples that `source` keeps (of the same samples, on the backbone), at each radius alone, as an example was
    crafted for it."""

    source: Evaluator
    threat_model: str = "replayed"
    label: str = ""

    @property
    def top_k(self) -> bool:
        """Whether the examples were meant for every metric."""
        return bool(getattr(self.source.protocol, "top_k", False))

    @property
    def attacks(self) -> Sequence[Attack]:
        return self.source.protocol.attacks

    @property
    def strengths(self) -> Sequence[Budget]:
        return self.source.strengths

    def identity(self, evaluator: Evaluator, count: int) -> dict[str, Any]:
        return {
            "threat_model": self.threat_model,
            "attacks": [repr(attack) for attack in self.attacks],
            "budgets": [f"{budget.norm} {budget.radius!r}" for budget in self.strengths[:count]],
            "seed": evaluator.context.seed,
            "crafted_on": self.source.key(count),
        }

    def verdicts_at(self, evaluator: Evaluator, index: int) -> dict[str, Verdict]:
        budget = self.strengths[index]
        self.source.verdicts_at(index)  # crafts what is missing

        def evaluate(indices: list[int], _: list[Verdict]) -> list[Verdict]:
            like = Verdict(0, 0.0, won_by=f"{self.attacks[0].name} {budget.written} replayed", forward_passes=1)
            clean = evaluator.task.load(indices)
            return evaluator.verdicts_of(indices, self.source.examples(index, indices), like, clean, budget.norm)

        return evaluator.complete(index + 1, f"{self.threat_model} {budget.written}", evaluate)

    def craft(self, evaluator: Evaluator, index: int, indices: list[int]) -> None:
        self.source.protocol.craft(self.source, index, indices)
