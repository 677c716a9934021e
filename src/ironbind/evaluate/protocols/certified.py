"""Certified accuracy: the share of samples whose answer provably stays what it is within a radius."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ironbind.core.results import Check, Result, Row
from ironbind.evaluate.checks import scope_of
from ironbind.evaluate.evaluator import Evaluator, backbone_first
from ironbind.evaluate.preparation import preparation_of
from ironbind.evaluate.provenance import threat_model_record
from ironbind.evaluate.rows import clean_rows, rows_at
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.run_record import recorded_result
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.numerics.networks import frozen
from ironbind.numerics.norms import enforce, euclidean
from ironbind.numerics.sample_random import PerSample
from ironbind.types import (
    L2,
    Attack,
    Budget,
    Certifier,
    InputError,
    Keeping,
    Task,
    calibration_of,
)

CERTIFIED = "certified"
DRAWS = "cache/noisy"
"""Where a run folder keeps embeddings under noise."""


@dataclass(frozen=True)
class TopK:
    """A strength that is none: what is to be proven, that the truth stays among the first `k`."""

    k: int

    norm = "l2"

    @property
    def written(self) -> str:
        return f"top {self.k}"


@dataclass(frozen=True)
class CertifiedRadius:
    """The radius of every sample, for each k of `strengths`: its verdict's `distance`. `rank` is 1 where anything is
    proven, else k + 1; `margin` is one half less the lower bound of the probability that the proof rests on, so that
    0 or more means abstained.
    """

    certifier: Certifier
    strengths: Sequence[TopK]

    threat_model = CERTIFIED
    attacks: tuple[Attack, ...] = ()

    @property
    def label(self) -> str:
        return self.certifier.name

    def identity(self, evaluator: Evaluator, count: int) -> dict[str, Any]:
        return {
            "threat_model": CERTIFIED,
            "certifier": repr(self.certifier),
            "top": self.strengths[count - 1].k,
            "seed": evaluator.context.seed,
        }

    def verdicts_at(self, evaluator: Evaluator, index: int) -> dict[str, Verdict]:
        what = f"certify {self.strengths[index].written}"
        return evaluator.complete(index + 1, what, partial(self._certify, evaluator, index))

    def craft(self, evaluator: Evaluator, index: int, indices: list[int]) -> None:
        raise InputError("a certificate is a proof: there is no example behind it")

    def _certify(self, evaluator: Evaluator, index: int, indices: list[int], _: list[Verdict]) -> list[Verdict]:
        task, context, k = evaluator.task, evaluator.context, self.strengths[index].k
        decides = f"{task.encoder.name} {task.encoder.weights_sha256} {preparation_of(task, context)}"
        keeping = Keeping(context.store.folder / DRAWS, decides, evaluator.key(index + 1))
        found = self.certifier(task, indices, (k,), context.seed, context.batch_size, keeping)
        return [
            Verdict(1 if radius > 0 else k + 1, 0.5 - p, radius, self.certifier.name, forward_passes=passes)
            for (radius,), (p,), passes in zip(*(part.tolist() for part in found), strict=True)
        ]


@dataclass(frozen=True)
class WithinCertificate:
    """Verdicts at every radius of `strengths`, in l2 or as a signal-to-noise ratio, from the radii of the evaluator
    `radii`: `rank` is the smallest k for which the certificate reaches beyond the radius, one more than the largest k
    where none does. No passes.
    """

    radii: Evaluator
    strengths: Sequence[Budget]

    threat_model = CERTIFIED
    attacks: tuple[Attack, ...] = ()

    @property
    def label(self) -> str:
        return self.radii.protocol.label

    def identity(self, evaluator: Evaluator, count: int) -> dict[str, Any]:
        budget, ks = self.strengths[count - 1], range(len(self.radii.strengths))
        return {
            "threat_model": CERTIFIED,
            "certified": [self.radii.key(index + 1) for index in ks],
            "radius": f"{budget.norm} {budget.radius!r}",
        }

    def verdicts_at(self, evaluator: Evaluator, index: int) -> dict[str, Verdict]:
        of_k = [(top.k, self.radii.verdicts_at(number)) for number, top in enumerate(self.radii.strengths)]
        budget, last = self.strengths[index], max(k for k, _ in of_k) + 1

        def evaluate(indices: list[int], _: list[Verdict]) -> list[Verdict]:
            ids, lengths = evaluator.ids(indices), _lengths(evaluator.task, indices, budget)
            verdicts = []
            for sample, length in zip(ids, lengths, strict=True):
                rank = min((k for k, at in of_k if at[sample].distance > budget.radius * length), default=last)
                verdicts.append(replace(of_k[0][1][sample], rank=rank, forward_passes=0))
            return verdicts

        return evaluator.complete(index + 1, f"{CERTIFIED} {budget.written}", evaluate)

    def craft(self, evaluator: Evaluator, index: int, indices: list[int]) -> None:
        raise InputError("a certificate is a proof: there is no example behind it")


def _lengths(task: Task, indices: Sequence[int], budget: Budget) -> list[float]:
    """What a radius counts in: lengths of the sample itself for a signal-to-noise ratio, else units of the space."""
    return euclidean(task.load(indices)).tolist() if budget.norm == "snr" else [1.0] * len(indices)


def certified(
    task: Task,
    certifier: Certifier,
    radii: Budget | Sequence[Budget],
    context: RunContext | None = None,
    *,
    attack: Attack | None = None,
) -> Result:
    """Certified accuracy of the smoothed encoder at every radius: rows "certified_top1", ... (one per metric of the
    task) whose threat model is "certified", their attack the certifier, norm and eps those of the radius ("l2" in units
    of the space, "snr" in decibels of each sound); eps 0 is the share that is certified at all. Clean rows are those of
    the encoder itself, without noise.

    Nothing that is added within the radius changes the answer of the smoothed encoder on a certified sample; each
    certificate holds with the certifier's confidence. Abstention counts as failure. Intervals are Wilson's at 95 %,
    over samples. The backbone of a calibrated encoder is certified too. Radii of every sample are in `verdicts.csv`
    (column `spent`, in l2). Embeddings under noise are kept in the run folder: other prompts, another gallery or other
    radii cost no pass, and a killed run goes on.

    `attack` searches a few certified samples for an example within their own radius (check C19; None: it is skipped):
    one for encoders that answer differently each time, such as `attacks.EOT()`. Raises InputError for radii that are
    neither l2 nor snr, or do not fit the space.
    """
    context = context or RunContext()
    budgets = _checked([radii] if isinstance(radii, Budget) else list(radii), task)
    with recorded_result(task, context) as result:
        for radius, within in certified_evaluators(task, certifier, budgets, context):
            result.rows += clean_rows(radius)
            for index in range(len(budgets)):
                result.rows += _rows_at(within, index)
            result.checks.append(certificates_hold(radius, attack, result.record))
        for norm in dict.fromkeys(budget.norm for budget in budgets):
            of_norm = [budget for budget in budgets if budget.norm == norm]
            record = threat_model_record(task, (), of_norm, (CERTIFIED,))
            goal = f"{task.name} among {len(task.centers)}: the truth provably stays in the top"
            ks = ", ".join(str(k) for _, k in task.metrics)
            result.threat_models.append(replace(record, goal=f"{goal} {ks}", attack=repr(certifier)))
    return result


def certified_evaluators(
    task: Task, certifier: Certifier, budgets: Sequence[Budget], context: RunContext
) -> list[tuple[Evaluator, Evaluator]]:
    """The evaluators of `certified` in pairs, one that certifies and one that reads radii off; of a calibrated encoder
    its backbone's first.
    """
    pairs = []
    for each in backbone_first(task):
        radii = Evaluator(each, CertifiedRadius(certifier, [TopK(k) for _, k in task.metrics]), context)
        pairs.append((radii, Evaluator(each, WithinCertificate(radii, budgets), context)))
    return pairs


C19 = ("C19", "no attack breaks a certificate")
ATTACKED = 8  # certified samples that it tries
INSIDE = 0.999  # of the radius: a certificate holds below it


def certificates_hold(
    evaluator: Evaluator, attack: Attack | None, record: dict[str, Any] | None = None, most: int = ATTACKED
) -> Check:
    """Check C19 on the radii of a `CertifiedRadius` evaluator: no attack within its own radius breaks a certified
    sample, `most` of them, evenly spaced over the radii. The smoothed encoder decides, on draws of its own; a sample
    counts as broken where it provably answers otherwise. The passes are added to the `record`.
    """
    task, protocol, context = evaluator.task, evaluator.protocol, evaluator.context
    assert isinstance(protocol, CertifiedRadius)
    scope = scope_of(task.modality, task.space.name, task.name, calibration_of(task.encoder), CERTIFIED, protocol.label)
    if attack is None:
        return Check(*C19, "skipped", "no attack was given", scope)
    proven = [
        (verdict.distance, index, top.k)
        for number, top in reversed(list(enumerate(protocol.strengths)))
        for index, verdict in enumerate(evaluator.verdicts_at(number).values())
        if verdict.distance > 0
    ]
    hardest = {index: (radius, k) for radius, index, k in proven}  # the smallest k that is proven of a sample
    ordered = sorted(hardest, key=lambda index: (hardest[index], index))
    chosen = (
        ordered
        if len(ordered) <= most
        else [ordered[number * (len(ordered) - 1) // (most - 1)] for number in range(most)]
    )
    if not chosen:
        return Check(*C19, "pass", "no sample is certified, so that there is nothing to break", scope)
    context.progress("attack certificates", 0, len(chosen))
    broken, gradients, forwards = [], 0, 0
    with frozen(task.encoder):
        for done, index in enumerate(chosen):
            radius, k = hardest[index]
            sample, x, within = evaluator.ids([index])[0], task.load([index]), L2(INSIDE * radius)
            embed = protocol.certifier.attacked(task.embed, context.seed, sample)
            rng = PerSample.of(context.seed, [sample], f"{attack.name} certified top{k}")
            attacked = attack(embed, x, task.goal([index], k), task.space, within, rng)
            enforce(attacked.x, x, task.space, within)
            refuted, passes = protocol.certifier.refuted(task, index, attacked.x, k, context.seed, context.batch_size)
            broken += [sample] if refuted else []
            gradients += int(attacked.gradient_passes.sum())
            forwards += int(attacked.forward_passes.sum()) + passes
            context.progress("attack certificates", done + 1, len(chosen))
    if record is not None:
        for kind, count in (("gradient", gradients), ("forward", forwards)):
            record[f"check_{kind}_passes"] = record.get(f"check_{kind}_passes", 0) + count
    detail = f"{len(broken)} of {len(chosen)} certified samples broken within their own radius by {attack.name}"
    names = f": {', '.join(broken)}" if broken else ""
    return Check(*C19, "fail" if broken else "pass", detail + names, scope)


def _checked(budgets: list[Budget], task: Task) -> tuple[Budget, ...]:
    """In rising order, norm by norm, radius 0 of l2 first."""
    for budget in budgets:
        budget.check_plausible(task.space)
        if budget.norm not in ("l2", "snr"):
            raise InputError(f"radius {budget}: noise certifies Euclidean lengths; expected norm l2 or snr")
    ordered = sorted({L2("0"), *budgets}, key=lambda budget: (budget.norm, budget.radius))
    return tuple(ordered)


def _rows_at(evaluator: Evaluator, index: int) -> list[Row]:
    """One row per metric. Of a truth that is not certified no rank is known, so that there is no mean."""
    rows = rows_at(evaluator, index)
    return [replace(row, metric=f"{CERTIFIED}_{row.metric}") for row in rows if row.metric != "mean_rank"]
