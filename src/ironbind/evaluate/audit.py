"""Task -> verdicts -> Result. Samples are examined in batches, radii in rising order, and every batch is stored before
the next begins.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch

from ironbind.core.results import Check, Result, Row
from ironbind.evaluate.checks import CheckContext, run_checks, scope_of
from ironbind.evaluate.index_compatibility import compatibility
from ironbind.evaluate.provenance import threat_model_record
from ironbind.evaluate.run_record import recorded
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore, audit_key
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.numerics.batching import batches, in_full_batches
from ironbind.numerics.metrics import mean_interval, wilson
from ironbind.numerics.networks import frozen
from ironbind.numerics.norms import distance, enforce
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Attack, AttackFactory, Budget, CalibratedEncoder, Encoder, InputError, StagedAttack, Task

Progress = Callable[[str, int, int], None]  # what is going on, samples done, samples in all

# Raise this when code changes what a verdict would be (a loss, a default, a tie rule): stored verdicts of older rules
# are then not reused.
RULES = 3


@dataclass
class Examination:
    """One threat model over one task: who is attacked with what, and where the verdicts go.

    `ladder`: budgets of one norm in rising order. A sample that fell at a smaller radius has fallen at the larger ones
    too (the same example is allowed there), so each rung attacks only what still stands. `keep_examples`: additionally
    push *every* sample to the end of the first attack at every radius and store the example, for replay against other
    encoders.
    """

    task: Task
    attacks: Sequence[Attack]
    ladder: Sequence[Budget]
    store: VerdictStore
    threat_model: str
    seed: int = 0
    batch_size: int = 64
    keep_examples: bool = False
    progress: Progress = field(default=lambda what, done, total: None)
    transfer: "Replay | None" = (
        None  # examples of another model that this attacker owns too: the adaptive one replays before it attacks
    )
    label: str = ""  # what tables call the attacks together
    _keys: dict[int, str] = field(default_factory=dict, init=False, repr=False)
    _complete_rungs: dict[int, dict[str, Verdict]] = field(default_factory=dict, init=False, repr=False)

    def description(self, rungs: int) -> dict[str, Any]:
        """Everything that decides the verdicts of the first `rungs` rungs (0: without attack)."""
        task, budgets = self.task, self.ladder[:rungs]
        return {
            "encoder": task.encoder.name,
            "weights": task.encoder.weights_sha256,
            "data": f"{task.dataset.name} {task.dataset.fingerprint}",
            "modality": task.modality,
            "space": task.space.name,
            "rules": RULES,
            "question": task.question,
            "threat_model": self.threat_model if rungs else "clean",
            "attacks": [repr(one) for one in self.attacks] if rungs else [],
            "budgets": [f"{one.norm} {one.radius!r}" for one in budgets],
            "seed": self.seed if rungs else 0,
            "strong": self.keep_examples if rungs else False,
            "transfer": self.transfer.key(rungs) if self.transfer and rungs else "",
        }

    @property
    def middle(self) -> Budget:
        """The middle rung, 4/255 of the default ladder."""
        return self.ladder[len(self.ladder) // 2]

    def key(self, rungs: int) -> str:
        """The audit key of the first `rungs` rungs."""
        if rungs not in self._keys:
            self._keys[rungs] = audit_key(self.description(rungs))
        return self._keys[rungs]

    def clean(self) -> dict[str, Verdict]:
        """Verdicts without attack, by sample id."""

        def judge(indices: list[int], _: list[Verdict]) -> list[Verdict]:
            return self._judge(indices, self.task.load(indices), Verdict(0, 0.0, forward_passes=1))

        return self._complete(0, "clean", judge)

    def rung(self, number: int) -> dict[str, Verdict]:
        """Verdicts under `ladder[number]`, the smaller radii included, by sample id."""
        if number + 1 in self._complete_rungs:
            return self._complete_rungs[number + 1]
        before = self.clean() if number == 0 else self.rung(number - 1)
        if self.transfer:  # whoever knows the calibration can replay as well (check C17)
            replayed = self.transfer.rung(number)
            before = {one: replayed[one] if replayed[one].worse_than(found) else found for one, found in before.items()}
        budget = self.ladder[number]
        return self._complete(
            number + 1, f"{self.threat_model} {budget.written}", partial(self._attack, number), before
        )

    def examples(self, number: int, indices: Sequence[int]) -> torch.Tensor:
        """The stored examples of these samples under `ladder[number]`; those that are missing are crafted again."""
        ids = [self.task.dataset.ids[index] for index in indices]
        key = self.key(number + 1)
        there = self.store.has_examples(key)
        missing = [index for index, one in zip(indices, ids, strict=True) if one not in there]
        if missing:
            self._craft(number, missing)
        found = self.store.examples(key, ids)
        return torch.stack([found[one] for one in ids]).to(self.task.device)

    # ------------------------------------------------------------------------------------------------- one batch

    def _complete(
        self,
        rungs: int,
        what: str,
        judge: Callable[[list[int], list[Verdict]], list[Verdict]],
        before: dict[str, Verdict] | None = None,
    ) -> dict[str, Verdict]:
        """What is stored under this rung, completed batch by batch; each batch is stored as soon as it is judged."""
        if rungs in self._complete_rungs:
            return self._complete_rungs[rungs]
        ids = self.task.dataset.ids[: len(self.task)]
        key, done = self.key(rungs), self.store.verdicts(self.key(rungs))
        missing = [index for index, one in enumerate(ids) if one not in done]
        self.progress(what, len(ids) - len(missing), len(ids))
        for batch in batches(missing, self.batch_size):
            with frozen(self.task.encoder):
                verdicts = judge(batch, [before[ids[index]] for index in batch] if before else [])
            fresh = {ids[index]: one for index, one in zip(batch, verdicts, strict=True)}
            self.store.add(key, self.description(rungs), fresh)
            done.update(fresh)
            self.progress(what, len(done), len(ids))
        self._complete_rungs[rungs] = {one: done[one] for one in ids}
        return self._complete_rungs[rungs]

    def _judge(
        self, indices: Sequence[int], x: torch.Tensor, like: Verdict, clean: torch.Tensor | None = None
    ) -> list[Verdict]:
        """fp32 verdicts on `x` in a pass of their own, independent of what the attack believed."""
        goal = self.task.goal(indices)
        with torch.no_grad():
            z = in_full_batches(self.task.embed)(x).float()
            if clean is None and not torch.isfinite(z).all():
                where = self.task.dataset.ids[indices[int((~torch.isfinite(z).all(dim=1)).nonzero()[0])]]
                raise InputError(
                    f"encoder {self.task.encoder.name!r} answers sample {where!r} with an embedding that is not finite"
                )
            ranks, margins = goal.rank(z).tolist(), goal.margin(z).tolist()
            used = (
                distance(x, clean, self.task.space, self.ladder[0].norm).tolist()
                if clean is not None
                else [0.0] * len(x)
            )
        return [replace(like, rank=r, margin=m, distance=s) for r, m, s in zip(ranks, margins, used, strict=True)]

    def _attack(self, number: int, indices: list[int], before: list[Verdict]) -> list[Verdict]:
        """The worst verdict of each sample over all attacks of this rung and what smaller radii had found."""
        x = self.task.load(indices)
        worst = [replace(one, gradient_passes=0, forward_passes=0) for one in before]
        budget = self.ladder[number]

        def attempt(attack: Attack, k: int, rows: list[int], keep: bool = False) -> None:
            if not rows:
                return
            some, clean = [indices[row] for row in rows], x[rows]
            rng = PerSample.of(
                self.seed, [self.task.dataset.ids[index] for index in some], f"{attack.name} {budget} top{k}"
            )
            attacked = attack(self.task.embed, clean, self.task.goal(some, k), self.task.space, budget, rng)
            enforce(attacked.x, clean, self.task.space, budget)
            if keep:
                self.store.add_examples(
                    self.key(number + 1), [self.task.dataset.ids[index] for index in some], attacked.x
                )
            found = self._judge(some, attacked.x, Verdict(0, 0.0, won_by=f"{attack.name} {budget.written}"), clean)
            for i, row in enumerate(rows):
                gradients = worst[row].gradient_passes + int(attacked.gradient_passes[i])
                forwards = worst[row].forward_passes + int(attacked.forward_passes[i]) + 1
                kept = found[i] if found[i].worse_than(worst[row]) else worst[row]
                worst[row] = replace(kept, gradient_passes=gradients, forward_passes=forwards)

        def standing(k: int) -> list[int]:
            return [row for row, one in enumerate(worst) if one.rank <= k]

        first = self.attacks[0]
        if self.keep_examples:
            attempt(to_the_end(first), 1, list(range(len(indices))), keep=True)
        wrong_classes = len(self.task.centers) - 1
        for k in sorted((k for _, k in self.task.metrics if 1 < k <= wrong_classes), reverse=True):
            attempt(first, k, standing(k))
        for attack in self.attacks[1:] if self.keep_examples else self.attacks:
            attempt(attack, 1, standing(1))
        return worst

    def _craft(self, number: int, indices: list[int]) -> None:
        """Examples alone, for samples whose verdicts are known but whose examples were deleted."""
        attack, budget = to_the_end(self.attacks[0]), self.ladder[number]
        for batch in batches(indices, self.batch_size):
            ids = [self.task.dataset.ids[index] for index in batch]
            rng = PerSample.of(self.seed, ids, f"{attack.name} {budget} top1")
            with frozen(self.task.encoder):
                x = self.task.load(batch)
                attacked = attack(self.task.embed, x, self.task.goal(batch), self.task.space, budget, rng)
            self.store.add_examples(self.key(number + 1), ids, attacked.x)


@dataclass
class Replay(Examination):
    """The *replayed* threat model: examples crafted on the backbone (`source`), run through this task's calibrated
    encoder.
    """

    source: Examination | None = None

    def description(self, rungs: int) -> dict[str, Any]:
        assert self.source is not None
        crafted = {"crafted_on": self.source.key(rungs)} if rungs else {}
        return {**super().description(rungs), **crafted}

    def rung(self, number: int) -> dict[str, Verdict]:
        """Verdicts on the backbone's examples under `ladder[number]`: that radius alone, as the example was crafted for
        it.
        """
        if number + 1 in self._complete_rungs:
            return self._complete_rungs[number + 1]
        source, budget = self.source, self.ladder[number]
        assert source is not None
        source.rung(number)  # crafts what is missing

        def judge(indices: list[int], _: list[Verdict]) -> list[Verdict]:
            like = Verdict(0, 0.0, won_by=f"{self.attacks[0].name} {budget.written} replayed", forward_passes=1)
            return self._judge(indices, source.examples(number, indices), like, self.task.load(indices))

        return self._complete(number + 1, f"{self.threat_model} {budget.written}", judge)


def to_the_end(attack: Attack) -> Attack:
    """The same attack without early stop, where it or the attack that it wraps has one: examples for training and
    replay should be strong, not barely successful."""
    inner = getattr(attack, "attack", None)
    if isinstance(inner, Attack):
        return replace(attack, attack=to_the_end(inner))  # type: ignore[type-var]
    return replace(attack, stop_when_reached=False) if hasattr(attack, "stop_when_reached") else attack  # type: ignore[type-var]


def stages_of(
    attacks: Sequence[Attack | StagedAttack | AttackFactory], task: Task, ladder: Sequence[Budget], folder: Path
) -> tuple[Attack, ...]:
    """The attacks in order: tailored ones made for this task, ensembles taken apart into their stages."""
    made = [one.for_task(task, ladder, folder) if isinstance(one, AttackFactory) else one for one in attacks]
    return tuple(stage for one in made for stage in (one.stages if isinstance(one, StagedAttack) else (one,)))


# ----------------------------------------------------------------------------------------------------------- audit


def audit(
    task: Task,
    attack: Attack | StagedAttack | AttackFactory | Sequence[Attack | StagedAttack | AttackFactory],
    budget: Budget | Sequence[Budget],
    *,
    threat_model: str | None = None,
    out: Path | str | None = None,
    store: VerdictStore | None = None,
    seed: int = 0,
    batch_size: int = 64,
    fresh: bool = False,
    keep_examples: bool = False,
    checks: bool = True,
    black_box: Attack | None = None,
    progress: Progress | None = None,
) -> Result:
    """How much of a task survives an attack: rows for clean data and for every budget, with 95 % intervals, and the
    record behind them.

    For an uncalibrated encoder the attacked rows are "whitebox". For a calibrated one they are "replayed" (crafted on
    its backbone) *and* "adaptive" (white-box through everything), never one without the other; the backbone's own rows
    come along, and for zero-shot tasks those of an index that the backbone built (`evaluate.index_compatibility`).
    `threat_model="transfer"` is for attacks that look into another encoder only: this one is examined as it stands, and
    so is its backbone.

    `attack`: one or several, or an ensemble such as `bindattack("standard")`; the verdict of a sample is the worst over
    them, and names the one that won (the first also pursues top-5 or R@5/R@10). `budget`: one or several of the same
    norm. `out`: run folder whose verdict store is reused and extended, so that a killed audit goes on where it stopped;
    `store` passes an open one instead; `fresh` forgets stored verdicts. `checks` tests the audit itself on a few
    samples (docs/checks.md); left out, every row says so. `black_box` is what check C17b searches with (None: it is
    skipped; `ironbind.audit` brings one). Same seed, same machine: same bits; with one torch thread also whatever
    `batch_size`. Raises InputError for budgets that do not fit the task's space, and for samples or embeddings that are
    not finite.
    """
    given = tuple(attack) if isinstance(attack, Sequence) else (attack,)
    ladder = _ladder([budget] if isinstance(budget, Budget) else list(budget), task)
    with recorded(task, out=out, store=store, seed=seed, fresh=fresh) as (result, kept):
        options: dict[str, Any] = {"ladder": ladder, "store": kept, "seed": seed, "batch_size": batch_size}
        options["label"] = "+".join(one.name for one in given)
        options["progress"] = progress or (lambda what, done, total: None)
        attacks = stages_of(given, task, ladder, kept.folder)
        below, of_below = task, attacks
        if isinstance(task.encoder, CalibratedEncoder):
            below = task.on(task.encoder.backbone)
            of_below = stages_of(given, below, ladder, kept.folder)
        if threat_model is not None:
            if below is not task:
                _tabulate(Examination(below, of_below, threat_model=threat_model, **options), result)
            examined = Examination(task, attacks, threat_model=threat_model, **options)
            _tabulate(examined, result)
        elif below is not task:
            backbone = Examination(below, of_below, threat_model="whitebox", keep_examples=True, **options)
            replayed = Replay(task, of_below, threat_model="replayed", source=backbone, **options)
            examined = Examination(task, attacks, threat_model="adaptive", transfer=replayed, **options)
            _tabulate(backbone, result)
            _tabulate(replayed, result)
            _tabulate(examined, result, clean=False)
        else:
            examined = Examination(task, attacks, threat_model="whitebox", keep_examples=keep_examples, **options)
            _tabulate(examined, result)
        if isinstance(task, ZeroShot) and below is not task:
            result.rows += compatibility(task, kept)
        if checks:
            _check(examined, black_box, result)
        else:
            result.checks.append(
                Check("C1-C22", "attack checks", "skipped", "left out by the caller", _scope(examined))
            )
        result.threat_models.append(threat_model_record(task, attacks, ladder, (threat_model,) if threat_model else ()))
    return result


def _ladder(budgets: list[Budget], task: Task) -> tuple[Budget, ...]:
    if not budgets:
        raise InputError("an audit needs at least one budget, such as Linf('4/255')")
    for one in budgets:
        one.check(task.space)
    if len({one.norm for one in budgets}) != 1:
        raise InputError(
            f"the budgets of one audit must share one norm, not {', '.join(sorted({one.norm for one in budgets}))}"
        )
    return tuple(sorted(budgets, key=lambda one: one.radius))


def _scope(examination: Examination) -> str:
    task, (_, calibration) = examination.task, calibration_of(examination.task.encoder)
    return scope_of(
        task.modality, task.space.name, task.name, calibration, examination.threat_model, examination.middle.written
    )


def _check(examination: Examination, black_box: Attack | None, result: Result) -> None:
    """Appends the checks at the middle radius: at the largest one everything has fallen, and nothing can be checked
    against it.
    """
    at = examination.ladder.index(examination.middle)
    source = examination.transfer.source if examination.transfer else None
    scene = CheckContext(
        examination.task, examination.attacks, examination.middle, examination.clean(), examination.rung(at), examination.seed,
        examination.batch_size, black_box=black_box, twin=partial(source.examples, at) if source else None,
    )  # fmt: skip
    examination.progress("checks", 0, 1)
    result.checks += run_checks(scene, _scope(examination))
    result.record.update({f"check_{kind}_passes": scene.passes[kind] for kind in ("gradient", "forward")})
    examination.progress("checks", 1, 1)


def _tabulate(examination: Examination, result: Result, clean: bool = True) -> None:
    """Runs an examination and appends its rows; the store learns which of its verdicts they speak of."""
    if clean:
        result.rows += rows_of(examination, examination.clean(), "clean", None)
        examination.store.label(examination.key(0), label_of(result.rows[-1]))
    for number, budget in enumerate(examination.ladder):
        result.rows += rows_of(examination, examination.rung(number), examination.threat_model, budget)
        examination.store.label(examination.key(number + 1), label_of(result.rows[-1]))


def calibration_of(encoder: Encoder) -> tuple[str, str]:
    """(name of the encoder underneath, name of its calibration or "none")."""
    return (
        (encoder.backbone.name, encoder.calibration)
        if isinstance(encoder, CalibratedEncoder)
        else (encoder.name, "none")
    )


class Strength(Protocol):
    """Of an attack or a corruption, as it stands in a table."""

    @property
    def norm(self) -> str: ...

    @property
    def written(self) -> str: ...


def rows_of(
    examination: Examination, verdicts: dict[str, Verdict], threat_model: str, budget: Strength | None, attack: str = ""
) -> list[Row]:
    """One row per metric: shares in percent with Wilson intervals, and the mean rank of the worst example found (a
    lower bound: attacks stop at their goal). `attack`: "" for the examination's own name of it."""
    task = examination.task
    encoder, calibration = calibration_of(task.encoder)
    attack = attack or examination.label or "+".join(one.name for one in examination.attacks)
    common: dict[str, Any] = {
        "encoder": encoder, "calibration": calibration, "modality": task.modality, "space": task.space.name, "task": task.name,
        "attack": attack if budget else "none", "norm": budget.norm if budget else "none", "eps": budget.written if budget else "0",
        "threat_model": threat_model, "n": len(verdicts),
    }  # fmt: skip
    ranks = [one.rank for one in verdicts.values()]
    rows = []
    for metric, k in task.metrics:
        value, low, high = (100 * one for one in wilson(sum(rank <= k for rank in ranks), len(ranks)))
        rows.append(Row(metric=metric, value=value, ci_low=low, ci_high=high, **common))
    mean = mean_interval([float(rank) for rank in ranks])
    return [*rows, Row(metric="mean_rank", value=mean.value, ci_low=mean.low, ci_high=mean.high, **common)]
