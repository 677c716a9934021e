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
    """`estimates`: the same task on the defence as its attacker computes it, one for each draw that he averages over.
    `sources`: evaluators whose examples are candidates too, the undefended encoder's first. `attacks`: each on the
    samples of which more than an eighth of the estimates are still right. Of each sample the candidate that most
    estimates get wrong (the clean one, that of a smaller radius, one of every source and of every attack; at a tie the
    one of the highest mean margin) is kept for replay on other draws, and its verdict is what the deployed defence
    answers.
    """

    attacks: Sequence[Attack]
    strengths: Sequence[Budget]
    estimates: Sequence[Task]
    sources: Sequence[Evaluator]
    threat_model: str = "adaptive"
    label: str = ""
    top_k: bool = False

    def identity(self, evaluator: Evaluator, count: int) -> dict[str, Any]:
        return {
            "threat_model": self.threat_model,
            "attacks": [repr(attack) for attack in self.attacks],
            "budgets": [f"{budget.norm} {budget.radius!r}" for budget in self.strengths[:count]],
            "seed": evaluator.context.seed,
            "estimates": [task.encoder.weights_sha256 for task in self.estimates],
            "transfer": [source.key(count) for source in self.sources],
        }

    def verdicts_at(self, evaluator: Evaluator, index: int) -> dict[str, Verdict]:
        for source in self.sources:
            source.verdicts_at(index)  # crafts its examples
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
                forwards = estimated[row].forward_passes + spent[1] + len(self.estimates)
                worse = verdicts[place].worse_than(estimated[row])
                kept = verdicts[place] if worse else estimated[row]
                estimated[row] = replace(kept, gradient_passes=gradients, forward_passes=forwards)
                if worse:
                    best[row] = candidates[place]

        everyone = range(len(indices))
        if index:
            earlier = self.strengths[index - 1].written
            consider(everyone, evaluator.examples(index - 1, indices), f"an example of {earlier}")
        for source in self.sources:
            won_by = f"{source.protocol.attacks[0].name} {budget.written} replayed"
            consider(everyone, source.examples(index, indices), won_by)
        for attack in self.attacks:
            standing = [row for row in everyone if 8 * (estimated[row].rank - 1) < 7 * len(self.estimates)]
            for rows in batches(standing, evaluator.context.batch_size):
                numbers = [indices[row] for row in rows]
                rng = PerSample.of(evaluator.context.seed, evaluator.ids(numbers), f"{attack.name} {budget} defended")
                attacked = attack(self.estimates[0].embed, x[rows], task.goal(numbers), task.space, budget, rng)
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
        """What the attacker expects of the defence: `rank` is one more than the number of estimates that are wrong."""
        wrong = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        margin = torch.zeros(len(x), dtype=torch.float64)
        for task in self.estimates:
            goal = task.goal(indices)
            with torch.no_grad():
                z = in_full_batches(task.embed)(x).float()
            wrong += goal.rank(z) > 1
            margin += goal.margin(z).double().cpu() / len(self.estimates)
        return [
            Verdict(1 + count, mean, won_by=won_by) for count, mean in zip(wrong.tolist(), margin.tolist(), strict=True)
        ]
