"""White-box attacks within budgets of rising radius: the "whitebox", "adaptive" and "transfer" threat models."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ironbind.evaluate.attack_variants import to_the_end
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.numerics.batching import batches
from ironbind.numerics.norms import enforce
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Attack, Budget, Task


def attacked_metrics(task: Task, top_k: bool) -> tuple[tuple[str, int], ...]:
    """The metrics that an attack pursues: the first, which asks for the first place, or with `top_k` all of them."""
    return task.metrics if top_k else task.metrics[:1]


@dataclass(frozen=True)
class WhiteBox:
    """`strengths`: budgets of one norm in rising order. A sample that was broken at a smaller radius is broken at the
    larger ones too (the same example is allowed there), so that each radius attacks only what is still robust.

    `keep_examples`: additionally push *every* sample to the end of the first attack at every radius and store the
    example, for replay against other encoders. `replay`: examples of another model that this attacker owns too: the
    adaptive one replays before it attacks (check C17). `label`: what tables call the attacks together. `top_k`: attack
    every metric of the task, not only the first; the first attack then drives the truth out of the first k as well.
    """

    attacks: Sequence[Attack]
    strengths: Sequence[Budget]
    threat_model: str = "whitebox"
    keep_examples: bool = False
    replay: Evaluator | None = None
    label: str = ""
    top_k: bool = False

    def identity(self, evaluator: Evaluator, count: int) -> dict[str, Any]:
        return {
            "threat_model": self.threat_model,
            "attacks": [repr(attack) for attack in self.attacks],
            "budgets": [f"{budget.norm} {budget.radius!r}" for budget in self.strengths[:count]],
            "seed": evaluator.context.seed,
            "strong": self.keep_examples,
            "transfer": self.replay.key(count) if self.replay else "",
            "metrics": attacked_metrics(evaluator.task, self.top_k),
        }

    def verdicts_at(self, evaluator: Evaluator, index: int) -> dict[str, Verdict]:
        before = evaluator.clean() if index == 0 else evaluator.verdicts_at(index - 1)
        if self.replay:
            replayed = self.replay.verdicts_at(index)
            before = {
                sample: replayed[sample] if replayed[sample].worse_than(verdict) else verdict
                for sample, verdict in before.items()
            }
        what = f"{self.threat_model} {self.strengths[index].written}"
        return evaluator.complete(index + 1, what, partial(self._attack, evaluator, index), before)

    def craft(self, evaluator: Evaluator, index: int, indices: list[int]) -> None:
        attack, budget, task = to_the_end(self.attacks[0]), self.strengths[index], evaluator.task
        ids = evaluator.ids(indices)
        rng = PerSample.of(evaluator.context.seed, ids, f"{attack.name} {budget} top1")
        x = task.load(indices)
        attacked = attack(task.embed, x, task.goal(indices), task.space, budget, rng)
        evaluator.context.store.add_examples(evaluator.key(index + 1), ids, attacked.x)

    def _attack(self, evaluator: Evaluator, index: int, indices: list[int], before: list[Verdict]) -> list[Verdict]:
        """The worst verdict of each sample over all attacks at this radius and at smaller ones.

        `indices` may be several batches: what still stands of them shares batches at every stage, so that few rows are
        padding.
        """
        task, budget, context = evaluator.task, self.strengths[index], evaluator.context
        x = task.load(indices)
        worst = [replace(verdict, gradient_passes=0, forward_passes=0) for verdict in before]

        def attempt(attack: Attack, k: int, rows: list[int], keep: bool = False) -> None:
            for part in batches(rows, context.batch_size):
                attempt_batch(attack, k, part, keep)

        def attempt_batch(attack: Attack, k: int, rows: list[int], keep: bool) -> None:
            numbers, clean = [indices[row] for row in rows], x[rows]
            ids = evaluator.ids(numbers)
            rng = PerSample.of(context.seed, ids, f"{attack.name} {budget} top{k}")
            attacked = attack(task.embed, clean, task.goal(numbers, k), task.space, budget, rng)
            enforce(attacked.x, clean, task.space, budget)
            if keep:
                context.store.add_examples(evaluator.key(index + 1), ids, attacked.x)
            like = Verdict(0, 0.0, won_by=f"{attack.name} {budget.written}")
            verdicts = evaluator.verdicts_of(numbers, attacked.x, like, clean, budget.norm)
            for i, row in enumerate(rows):
                gradients = worst[row].gradient_passes + int(attacked.gradient_passes[i])
                forwards = worst[row].forward_passes + int(attacked.forward_passes[i]) + 1
                worse = verdicts[i] if verdicts[i].worse_than(worst[row]) else worst[row]
                worst[row] = replace(worse, gradient_passes=gradients, forward_passes=forwards)

        def robust(k: int) -> list[int]:
            return [row for row, verdict in enumerate(worst) if verdict.rank <= k]

        first = self.attacks[0]
        if self.keep_examples:
            attempt(to_the_end(first), 1, list(range(len(indices))), keep=True)
        wrong_classes = len(task.centers) - 1
        attacked_k = (k for _, k in attacked_metrics(task, self.top_k))
        for k in sorted((k for k in attacked_k if 1 < k <= wrong_classes), reverse=True):
            attempt(first, k, robust(k))
        for attack in self.attacks[1:] if self.keep_examples else self.attacks:
            attempt(attack, 1, robust(1))
        return worst
