"""Accuracy without an adversary (check C23): under corruptions, and under random noise within the budgets of an
attack.

The caller chooses the corruptions, as it chooses the attacks of `audit`: `modalities.corruptions.corruptions_for` has a
table of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import fmean

from ironbind.core.results import THREAT_MODELS, Check, Result, Row, ThreatModelRecord
from ironbind.evaluate.evaluator import Evaluator, backbone_first
from ironbind.evaluate.protocols.corruption import Corruption, RandomNoise, UnderCorruption, input_shape
from ironbind.evaluate.provenance import threat_model_record
from ironbind.evaluate.rows import clean_rows, rows_at
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.run_record import recorded_result
from ironbind.types import Budget, InputError, Task, calibration_of

# percentage points: where noise within a budget costs more, the budget is too large; where corruptions cost a
# calibration more, the calibration is at fault
COSTLY = 5.0


def audit_corrupted(
    task: Task,
    corruptions: Sequence[Corruption],
    budget: Budget | Sequence[Budget] = (),
    context: RunContext | None = None,
) -> Result:
    """How much of a task survives corruptions: rows for clean data, for every one of `corruptions`, and for random
    noise within every `budget`.

    The threat model is "corrupted", the attack the corruption's name, norm and eps its strength ("severity",
    "3"). There is no adversary, so that nothing is replayed and nothing adaptive: a calibrated encoder is evaluated as
    it is, and so is its backbone. A number is the share under one draw of each corruption, not the worst of several;
    verdicts do not carry over to the next strength. Raises InputError for nothing to evaluate, for corruptions that do
    not suit the task, and for budgets of another space.
    """
    context = context or RunContext()
    budgets = [budget] if isinstance(budget, Budget) else list(budget)
    for within in budgets:
        within.check_plausible(task.space)
    strengths = strengths_of(corruptions, budgets)
    if not strengths:
        raise InputError(
            f"nothing to examine {task.modality} in {task.space.name} under: no corruption suits it, and no "
            "budget was given"
        )
    with recorded_result(task, context) as result:
        for evaluator in corruption_evaluators(task, strengths, context):
            result.rows += clean_rows(evaluator)
            for index, strength in enumerate(strengths):
                result.rows += rows_at(evaluator, index, strength.name)
            calibration = calibration_of(evaluator.task.encoder)
            scope = f"{task.modality} {task.space.name} {task.name}, {calibration}, corrupted"
            result.checks.append(replace(_check(result.rows, calibration), scope=scope))
        result.threat_models += _threat_models(task, strengths)
    return result


def strengths_of(corruptions: Sequence[Corruption], budgets: Sequence[Budget]) -> tuple[Corruption, ...]:
    """The corruptions, then random noise within every budget."""
    return (*corruptions, *(RandomNoise(within) for within in budgets))


def corruption_evaluators(task: Task, strengths: Sequence[Corruption], context: RunContext) -> list[Evaluator]:
    """The evaluators of `audit_corrupted`: of a calibrated encoder its backbone's first."""
    return [Evaluator(each, UnderCorruption(strengths), context) for each in backbone_first(task)]


def _check(rows: Sequence[Row], calibration: str) -> Check:
    """C23: warns where random noise within a budget costs more than 5 points, so that an attack within it shows less
    than it seems to; and where a calibration costs more than 5 points of the mean under corruptions."""
    metric = rows[0].metric

    def values(name: str, condition: Callable[[Row], bool]) -> dict[str, float]:
        return {
            f"{row.attack} {row.eps}": row.value
            for row in rows
            if row.calibration == name and row.metric == metric and condition(row)
        }

    (clean,) = values(calibration, lambda row: row.threat_model == "clean").values()
    details, warn = [f"clean {clean:.1f} %"], False
    severe = values(calibration, lambda row: row.norm == "severity")
    if severe:
        lowest = min(severe, key=lambda name: severe[name])
        names = {name.partition(" ")[0] for name in severe}
        details.append(
            f"mean over {len(names)} corruptions at every severity {fmean(severe.values()):.1f} %, lowest "
            f"{severe[lowest]:.1f} % ({lowest})"
        )
        before = values("none", lambda row: row.norm == "severity")
        lost = fmean(before.values()) - fmean(severe.values())
        if calibration != "none":
            details.append(
                f"{abs(lost):.1f} points {'less' if lost > 0 else 'more'} than without calibration (limit "
                f"{COSTLY:g} less)"
            )
        warn |= lost > COSTLY
    noisy = values(calibration, lambda row: row.threat_model == "corrupted" and row.norm != "severity")
    if noisy:
        lowest = min(noisy, key=lambda name: noisy[name])
        details.append(
            f"random noise within a budget costs up to {max(0.0, clean - noisy[lowest]):.1f} points "
            f"({lowest}; limit {COSTLY:g})"
        )
        warn |= clean - noisy[lowest] > COSTLY
    return Check("C23", "corruptions and noise", "warn" if warn else "pass", "; ".join(details))


def _threat_models(task: Task, strengths: Sequence[Corruption]) -> list[ThreatModelRecord]:
    """One record for all severities, each with what it means, and one for the noise."""
    records = []
    noise = [strength for strength in strengths if isinstance(strength, RandomNoise)]
    if noise:
        record = threat_model_record(task, (), [draw.budget for draw in noise], ("corrupted",))
        records.append(
            replace(
                record,
                goal=f"none: {task.name} under random noise",
                attack="RandomNoise, uniform in the ball of each budget",
            )
        )
    severities: dict[str, list[Corruption]] = {}
    for strength in strengths:
        if not isinstance(strength, RandomNoise):
            severities.setdefault(strength.written, []).append(strength)
    if severities:
        names = dict.fromkeys(strength.name for strength in strengths if not isinstance(strength, RandomNoise))
        records.append(
            ThreatModelRecord(
                modality=task.modality,
                space=task.space.name,
                unit=task.space.unit,
                bounds=(task.space.low, task.space.high),
                norm="severity",
                eps=tuple(severities),
                radii=tuple(float(position + 1) for position in range(len(severities))),
                meaning=tuple(
                    "; ".join(strength.describe(input_shape(task)) for strength in severity)
                    for severity in severities.values()
                ),
                goal=f"none: {task.name} under corruptions",
                attack=", ".join(names),
                knowledge=f"corrupted: {THREAT_MODELS['corrupted']}",
                input_shape=input_shape(task),
            )
        )
    return records
