"""The adaptive attacker of a test-time defence: he computes the defence himself, on draws of his own, keeps of each
sample the example that does best there, and the defence answers that one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.numerics.batching import batches, in_full_batches
from ironbind.numerics.norms import enforce
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Attack, Budget, Task


@dataclass(frozen=True)
class AgainstDefence:
    """`estimate`: the same task on the defence as its attacker computes it. `twin`: the evaluator of the undefended
    encoder, whose examples are candidates too. `attacks`: each on the samples that still stand in the estimate. Of
    each sample the worst candidate by the estimate (the clean one, that of a smaller radius, the twin's, one of every
    attack) is kept for replay on other draws, and its verdict is what the deployed defence answers.
    """

    attacks: Sequence[Attack]
    strengths: Sequence[Budget]
    estimate: Task
    twin: Evaluator
    threat_model: str = "adaptive"
    label: str = ""
    top_k: bool = False

    def identity(self, evaluator: Evaluator, count: int) -> dict[str, Any]:
        return {
            "threat_model": self.threat_model,
            "attacks": [repr(attack) for attack in self.attacks],
            "budgets": [f"{budget.norm} {budget.radius!r}" for budget in self.strengths[:count]],
            "seed": evaluator.context.seed,
            "estimate": self.estimate.encoder.weights_sha256,
            "transfer": self.twin.key(count),
        }

    def verdicts_at(self, evaluator: Evaluator, index: int) -> dict[str, Verdict]:
        self.twin.verdicts_at(index)  # crafts its examples
        before = evaluator.clean() if index == 0 else evaluator.verdicts_at(index - 1)
        what = f"{self.threat_model} {self.strengths[index].written}"
        return evaluator.complete(index + 1, what, partial(self._attack, evaluator, index), before)

    def craft(self, evaluator: Evaluator, index: int, indices: list[int]) -> None:
        before = [Verdict(0, 0.0)] * len(indices)
        self._attack(evaluator, index, indices, before)

    def _attack(self, evaluator: Evaluator, index: int, indices: list[int], before: list[Verdict]) -> list[Verdict]:
        task, budget = evaluator.task, self.strengths[index]
        x = task.load(indices)
        best = x.clone()
        estimated = self._estimated(indices, x, "clean")

        def consider(rows: Sequence[int], candidates: Float[Tensor, "r ..."], won_by: str, paid: Any = None) -> None:
            chosen = list(rows)
            enforce(candidates, x[chosen], task.space, budget)
            verdicts = self._estimated([indices[row] for row in chosen], candidates, won_by)
            for place, row in enumerate(chosen):
                spent = (0, 0) if paid is None else (int(paid[0][place]), int(paid[1][place]))
                gradients = estimated[row].gradient_passes + spent[0]
                forwards = estimated[row].forward_passes + spent[1] + 1
                worse = verdicts[place].worse_than(estimated[row])
                kept = verdicts[place] if worse else estimated[row]
                estimated[row] = replace(kept, gradient_passes=gradients, forward_passes=forwards)
                if worse:
                    best[row] = candidates[place]

        everyone = range(len(indices))
        if index:
            earlier = self.strengths[index - 1].written
            consider(everyone, evaluator.examples(index - 1, indices), f"an example of {earlier}")
        twins = self.twin.examples(index, indices)
        consider(everyone, twins, f"{self.twin.protocol.attacks[0].name} {budget.written} replayed")
        for attack in self.attacks:
            standing = [row for row in everyone if estimated[row].rank == 1]
            for rows in batches(standing, evaluator.context.batch_size):
                numbers = [indices[row] for row in rows]
                rng = PerSample.of(evaluator.context.seed, evaluator.ids(numbers), f"{attack.name} {budget} defended")
                attacked = attack(self.estimate.embed, x[rows], task.goal(numbers), task.space, budget, rng)
                paid = attacked.gradient_passes, attacked.forward_passes
                consider(rows, attacked.x, f"{attack.name} {budget.written}", paid)
        evaluator.context.store.add_examples(evaluator.key(index + 1), evaluator.ids(indices), best)
        answered = evaluator.verdicts_of(indices, best, Verdict(0, 0.0), x, budget.norm)
        return [
            replace(
                verdict,
                won_by=estimate.won_by,
                gradient_passes=estimate.gradient_passes,
                forward_passes=estimate.forward_passes + 1,
            )
            for verdict, estimate in zip(answered, estimated, strict=True)
        ]

    def _estimated(self, indices: Sequence[int], x: Float[Tensor, "r ..."], won_by: str) -> list[Verdict]:
        """What the attacker expects of the defence."""
        goal = self.estimate.goal(indices)
        with torch.no_grad():
            z = in_full_batches(self.estimate.embed)(x).float()
            pairs = zip(goal.rank(z).tolist(), goal.margin(z).tolist(), strict=True)
        return [Verdict(rank, margin, won_by=won_by) for rank, margin in pairs]
