"""Minimum-norm evaluation: the nearest adversarial example of every sample, and verdicts at every radius from it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.numerics.norms import SLACK, enforce, per_row, project
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Attack, Attacked, Budget

OUTWARDS = (1e-3, 1e-2)  # by how much an example that a second pass does not confirm is moved beyond the boundary


@dataclass(frozen=True)
class NearestExample:
    """The nearest example of every sample within `largest`, over all attacks: its verdict, whose `distance` is the
    distance. A sample that no attack breaks keeps the worst point that was evaluated; one that is wrong when clean has
    distance 0.

    `keep_examples` stores the nearest examples too. `twin`: an evaluator of the same samples on another encoder, whose
    nearest examples are tried here as well.
    """

    attacks: Sequence[Attack]
    largest: Budget
    threat_model: str = "whitebox"
    keep_examples: bool = False
    twin: Evaluator | None = None
    label: str = ""

    @property
    def strengths(self) -> tuple[Budget]:
        return (self.largest,)

    def identity(self, evaluator: Evaluator, count: int) -> dict[str, Any]:
        return {
            "threat_model": self.threat_model,
            "attacks": [repr(attack) for attack in self.attacks],
            "budgets": [f"{self.largest.norm} {self.largest.radius!r}"],
            "seed": evaluator.context.seed,
            "strong": self.keep_examples,
            "search": "nearest",
            "twin": self.twin.key(1) if self.twin else "",
        }

    def verdicts_at(self, evaluator: Evaluator, index: int = 0) -> dict[str, Verdict]:
        if self.twin:
            self.twin.verdicts_at(0)  # crafts what is missing
        search = partial(self._search, evaluator)
        return evaluator.complete(1, f"{self.threat_model} nearest", search, evaluator.clean())

    def craft(self, evaluator: Evaluator, index: int, indices: list[int]) -> None:
        clean = evaluator.clean()
        self._search(evaluator, indices, [clean[sample] for sample in evaluator.ids(indices)])

    def _search(self, evaluator: Evaluator, indices: list[int], before: list[Verdict]) -> list[Verdict]:
        task, budget, seed = evaluator.task, self.largest, evaluator.context.seed
        ids, x = evaluator.ids(indices), task.load(indices)
        nearest = [replace(verdict, gradient_passes=0, forward_passes=0) for verdict in before]
        examples = x.clone()
        rows = [row for row, verdict in enumerate(before) if verdict.rank == 1]
        if not rows:
            return nearest
        numbers = [indices[row] for row in rows]

        def keep_nearer(
            y: Float[Tensor, "r ..."], by: str, gradients: Sequence[int], forwards: Sequence[int]
        ) -> list[bool]:
            """Keeps the examples that are nearer. Returns which of these examples are adversarial."""
            enforce(y, x[rows], task.space, budget)
            verdicts = evaluator.verdicts_of(numbers, y, Verdict(0, 0.0, won_by=by), x[rows], budget.norm)
            for position, (row, verdict) in enumerate(zip(rows, verdicts, strict=True)):
                old, better = nearest[row], _nearer(verdict, nearest[row])
                if better:
                    examples[row] = y[position]
                nearest[row] = replace(
                    verdict if better else old,
                    gradient_passes=old.gradient_passes + gradients[position],
                    forward_passes=old.forward_passes + forwards[position] + 1,
                )
            return [verdict.rank > 1 for verdict in verdicts]

        no_passes = [0] * len(rows)
        for attack in self.attacks:
            rng = PerSample.of(seed, [ids[row] for row in rows], f"{attack.name} {budget} nearest")
            attacked: Attacked = attack(task.embed, x[rows], task.goal(numbers), task.space, budget, rng)
            by = f"{attack.name} {budget.written}"
            broken = keep_nearer(attacked.x, by, attacked.gradient_passes.tolist(), attacked.forward_passes.tolist())
            # where the encoder's last bits differ from pass to pass, a point on the boundary is on either side
            for share in OUTWARDS:
                doubtful = attacked.reached & ~torch.tensor(broken, device=x.device)
                if not doubtful.any():
                    break
                outwards = x[rows] + (1 + per_row(share * doubtful.to(x), x)) * (attacked.x - x[rows])
                moved = project(outwards, x[rows], task.space, budget)
                broken = keep_nearer(torch.where(per_row(doubtful, x), moved, attacked.x), by, no_passes, no_passes)
        if self.twin:
            by = f"{self.attacks[0].name} {budget.written} replayed"
            keep_nearer(self.twin.examples(0, numbers), by, no_passes, no_passes)
        if self.keep_examples:
            evaluator.context.store.add_examples(evaluator.key(1), ids, examples)
        return nearest


def _nearer(verdict: Verdict, other: Verdict) -> bool:
    if (verdict.rank > 1) != (other.rank > 1):
        return verdict.rank > 1
    return verdict.distance < other.distance if verdict.rank > 1 else verdict.worse_than(other)


@dataclass(frozen=True)
class WithinRadius:
    """Verdicts at every radius of `strengths`, from the verdicts of the evaluator `nearest`: the nearest example where
    the radius allows it, else the clean sample.
    """

    nearest: Evaluator
    strengths: Sequence[Budget]
    label: str = ""

    @property
    def threat_model(self) -> str:
        return self.nearest.protocol.threat_model

    @property
    def attacks(self) -> Sequence[Attack]:
        return self.nearest.protocol.attacks

    def identity(self, evaluator: Evaluator, count: int) -> dict[str, Any]:
        radius = repr(self.strengths[count - 1].radius)
        return {"threat_model": self.threat_model, "nearest": self.nearest.key(1), "radius": radius}

    def verdicts_at(self, evaluator: Evaluator, index: int) -> dict[str, Verdict]:
        nearest, clean = self.nearest.verdicts_at(0), evaluator.clean()
        allowed = self.strengths[index].radius + SLACK

        def evaluate(indices: list[int], _: list[Verdict]) -> list[Verdict]:
            verdicts = [
                nearest[sample] if nearest[sample].rank > 1 and nearest[sample].distance <= allowed else clean[sample]
                for sample in evaluator.ids(indices)
            ]
            return [replace(verdict, gradient_passes=0, forward_passes=0) for verdict in verdicts]

        return evaluator.complete(index + 1, f"{self.threat_model} {self.strengths[index].written}", evaluate)

    def craft(self, evaluator: Evaluator, index: int, indices: list[int]) -> None:
        self.nearest.protocol.craft(self.nearest, 0, indices)
