"""Task -> verdicts. One `Evaluator` evaluates one protocol over one task: it owns the identity of verdicts, their store
and the loop over batches. The protocol says how adversarial examples are made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Protocol

import torch

from ironbind.core.encoder import backbone_of
from ironbind.evaluate.inputs.prepared import remarks_on
from ironbind.evaluate.preparation import preparation_of
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.store.verdict_store import Verdict, audit_key
from ironbind.numerics import ranks
from ironbind.numerics.batching import batches, in_full_batches
from ironbind.numerics.networks import frozen
from ironbind.numerics.norms import distance
from ironbind.types import Attack, Budget, InputError, Task

# Raise this when code changes what a verdict would be (a loss, a default, a tie rule): stored verdicts of older rules
# are then not reused.
RULES = 5


class Strength(Protocol):
    """The strength of an attack or a corruption, as a table gives it."""

    @property
    def norm(self) -> str: ...

    @property
    def written(self) -> str: ...


class EvaluationProtocol(Protocol):
    """How samples are perturbed at each of several strengths, and what decides the verdicts: a small value.

    `threat_model`, `label` and `strengths` are what tables say of it; `attacks` may be () where there is no adversary.
    """

    @property
    def threat_model(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def attacks(self) -> Sequence[Attack]: ...

    @property
    def strengths(self) -> Sequence[Any]: ...

    def identity(self, evaluator: "Evaluator", count: int) -> dict[str, Any]:
        """What decides the verdicts under the first `count` strengths (at least one), beside the task."""
        ...

    def verdicts_at(self, evaluator: "Evaluator", index: int) -> dict[str, Verdict]:
        """Verdicts under `strengths[index]`, by sample id."""
        ...

    def craft(self, evaluator: "Evaluator", index: int, indices: list[int]) -> None:
        """Stores examples under `strengths[index]` again, of samples whose verdicts are known."""
        ...


@dataclass
class Evaluator:
    """One protocol over one task: what is evaluated, how, and where the verdicts go."""

    task: Task
    protocol: EvaluationProtocol
    context: RunContext = field(default_factory=RunContext)
    _keys: dict[int, str] = field(default_factory=dict, init=False, repr=False)
    _complete: dict[int, dict[str, Verdict]] = field(default_factory=dict, init=False, repr=False)

    @property
    def strengths(self) -> Sequence[Any]:
        """The budgets, or corruptions, in the order in which they are evaluated."""
        return self.protocol.strengths

    @property
    def middle(self) -> Budget:
        """The middle budget, 4/255 of the default ones."""
        budget: Budget = self.strengths[len(self.strengths) // 2]
        return budget

    def description(self, count: int) -> dict[str, Any]:
        """Everything that decides the verdicts under the first `count` strengths (0: without attack)."""
        task = self.task
        clean = {
            "encoder": task.encoder.name,
            "weights": task.encoder.weights_sha256,
            "data": f"{task.dataset.name} {task.dataset.fingerprint}",
            "modality": task.modality,
            "space": task.space.name,
            "rules": RULES,
            "preparation": preparation_of(task, self.context),
            "question": task.question,
            "threat_model": "clean",
            "attacks": [],
            "budgets": [],
            "seed": 0,
            "strong": False,
            "transfer": "",
        }
        return {**clean, **(self.protocol.identity(self, count) if count else {})}

    def key(self, count: int) -> str:
        """The audit key of the first `count` strengths."""
        if count not in self._keys:
            self._keys[count] = audit_key(self.description(count))
        return self._keys[count]

    def clean(self) -> dict[str, Verdict]:
        """Verdicts without attack, by sample id."""

        def evaluate(indices: list[int], _: list[Verdict]) -> list[Verdict]:
            return self.verdicts_of(indices, self.task.load(indices), Verdict(0, 0.0, forward_passes=1))

        return self.complete(0, "clean", evaluate)

    def verdicts_at(self, index: int) -> dict[str, Verdict]:
        """Verdicts under `strengths[index]`, by sample id."""
        complete = self._complete.get(index + 1)
        return self.protocol.verdicts_at(self, index) if complete is None else complete

    def examples(self, index: int, indices: Sequence[int]) -> torch.Tensor:
        """The stored examples of these samples under `strengths[index]`; those that are missing are crafted again."""
        ids, key, store = self.ids(indices), self.key(index + 1), self.context.store
        stored = store.has_examples(key)
        missing = [number for number, sample in zip(indices, ids, strict=True) if sample not in stored]
        for batch in batches(missing, self.context.batch_size):
            with frozen(self.task.encoder):
                self.protocol.craft(self, index, batch)
        examples = store.examples(key, ids)
        return torch.stack([examples[sample] for sample in ids]).to(self.task.device)

    def ids(self, indices: Sequence[int]) -> list[str]:
        """The ids of these samples."""
        return [self.task.dataset.ids[index] for index in indices]

    def complete(
        self,
        count: int,
        what: str,
        evaluate: Callable[[list[int], list[Verdict]], list[Verdict]],
        before: dict[str, Verdict] | None = None,
    ) -> dict[str, Verdict]:
        """What is stored under the first `count` strengths, completed batch by batch; each batch is stored as soon as
        it is evaluated. `evaluate` takes sample numbers and their verdicts in `before`.
        """
        if count in self._complete:
            return self._complete[count]
        group, store, progress = ranks.current(), self.context.store, self.context.progress
        own_key = self.key(count)
        key = self._keys[count] = group.from_first(lambda: own_key)  # processors differ in the last bits
        ids, description = self.task.dataset.ids[: len(self.task)], self.description(count)
        done = store.verdicts(key)
        missing = [index for index, sample in enumerate(ids) if sample not in done]
        finished = len(ids) - len(missing)
        progress(what, finished, len(ids))
        if group.size > 1 and before:  # every block then holds samples of every difficulty
            missing = ranks.interleaved(sorted(missing, key=lambda index: before[ids[index]].difficulty))
        blocks = ranks.shrinking_blocks(missing, group.size, self.context.batch_size)
        handed_out = list(accumulate(map(len, blocks)))
        for number, block in group.deal(blocks):
            with frozen(self.task.encoder):
                verdicts = evaluate(block, [before[ids[index]] for index in block] if before else [])
            fresh = {ids[index]: verdict for index, verdict in zip(block, verdicts, strict=True)}
            store.add(key, description, fresh)
            if count == 0:  # every sample that is evaluated is decoded for its clean verdict
                store.add_remarks(data_key(self.task), remarks_on(self.task.dataset, self.task.modality, block))
            done.update(fresh)
            progress(what, finished + handed_out[number], len(ids))
        done = store.verdicts(key) if group.size > 1 and missing else done
        if group.size > 1:
            progress(what, len(ids), len(ids))
        self._complete[count] = {sample: done[sample] for sample in ids}
        return self._complete[count]

    def verdicts_of(
        self,
        indices: Sequence[int],
        x: torch.Tensor,
        like: Verdict,
        clean: torch.Tensor | None = None,
        norm: str = "linf",
    ) -> list[Verdict]:
        """Verdicts on `x` in float32, in a pass of their own, independent of the attack's own record. `clean`: the
        unperturbed samples, to which the distance in `norm` is measured.
        """
        goal = self.task.goal(indices)
        with torch.no_grad():
            z = in_full_batches(self.task.embed)(x).float()
            if clean is None and not torch.isfinite(z).all():
                sample = self.task.dataset.ids[indices[int((~torch.isfinite(z).all(dim=1)).nonzero()[0])]]
                raise InputError(
                    f"encoder {self.task.encoder.name!r} answers sample {sample!r} with an embedding that is not finite"
                )
            ranks, margins = goal.rank(z).tolist(), goal.margin(z).tolist()
            distances = [0.0] * len(x) if clean is None else distance(x, clean, self.task.space, norm).tolist()
        verdicts = [
            replace(like, rank=rank, margin=margin, distance=far)
            for rank, margin, far in zip(ranks, margins, distances, strict=True)
        ]
        self.context.witness(self.ids(indices), x, verdicts)
        return verdicts


def data_key(task: Task) -> str:
    """The key of a task's samples, under which remarks on them are stored."""
    return f"{task.dataset.name} {task.dataset.fingerprint} {task.modality}"


def backbone_first(task: Task) -> tuple[Task, ...]:
    """The task on its encoder's backbone, then the task: both are reported of a calibrated encoder. Of another one the
    task alone.
    """
    backbone = backbone_of(task.encoder)
    return (task,) if backbone is task.encoder else (task.on(backbone), task)
