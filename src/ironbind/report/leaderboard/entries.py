"""The entries of a leaderboard: one encoder with one calibration, one input, one budget."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ironbind.core.epsilon import Epsilon
from ironbind.core.results import UNCHECKED, UNRECORDED, CalibrationRecord, Row
from ironbind.report.panels import UNCALIBRATED, Facts, Panel
from ironbind.report.stored_runs import Run, facts_of

RULES = (
    "No check failed that touches the number under attack (docs/checks.md).",
    "The checks were run.",
    "A calibrated encoder was attacked adaptively, through everything that runs. A replayed number admits nothing.",
    "No check of the data failed.",
)
"""Who is admitted: ours, after RobustBench, which admits by AutoAttack's flags."""
METRICS = {"zero_shot": "top1", "retrieval": "R@1"}


@dataclass(frozen=True)
class Entry:
    """One line. Shares in percent with their 95 % interval; `attacked`: under the white-box attack, of a calibrated
    encoder the adaptive one; `replayed`: None where there is no calibration. `trainable`: parameters that the
    calibration trained, of several stages the most; `cpu_seconds`: what all stages cost; None where it is not known.
    `checks`: that did not pass. `reasons`: why it is not admitted, () where it is.
    """

    run: str
    data: str
    encoder: str
    calibration: str
    modality: str
    space: str
    task: str
    metric: str
    norm: str
    eps: str
    attack: str
    threat_model: str
    n: int
    clean: float | None
    attacked: float | None
    attacked_low: float | None
    attacked_high: float | None
    replayed: float | None
    trainable: int | None
    trainable_percent: float | None
    cpu_seconds: float | None
    checks: str
    reasons: tuple[str, ...]

    @property
    def place(self) -> tuple[str, ...]:
        """What tells an entry from others."""
        return (
            self.data, self.encoder, self.calibration, self.modality, self.space, self.task, self.norm, self.eps,
            self.attack,
        )  # fmt: skip

    @property
    def numbers(self) -> tuple[float | None, ...]:
        """What was measured."""
        return self.n, self.clean, self.attacked, self.replayed


def entries_of(run: Run) -> list[Entry]:
    """The entries of a run: every encoder and calibration, input, task and budget that was attacked."""
    facts = facts_of([run])
    found = []
    for panel in facts.panels:
        for task in facts.tasks(panel):
            metric = METRICS.get(task.partition(":")[0])
            for calibration in (UNCALIBRATED, *facts.calibrations(panel)):
                for eps in facts.epsilons(panel) if metric else ():
                    entry = _entry(run, facts, panel, (task, metric or ""), calibration, eps)
                    found += [entry] if entry else []
    return found


def _entry(run: Run, facts: Facts, panel: Panel, question: tuple[str, str], calibration: str, eps: str) -> Entry | None:
    threat_model = facts.attack(panel) if calibration == UNCALIBRATED else "adaptive"
    clean = facts.cell(panel, *question, "clean", calibration)
    attacked = facts.cell(panel, *question, threat_model, calibration, eps)
    if attacked is None and calibration != UNCALIBRATED:
        attacked = facts.cell(panel, *question, "transfer", calibration, eps)
    replayed = facts.cell(panel, *question, "replayed", calibration, eps)
    row = attacked or replayed
    if row is None:
        return None
    stages = _stages(run, panel, calibration)
    most = max(stages, key=lambda stage: stage.trainable, default=None)
    return Entry(
        run=run.result.name,
        data=run.data,
        encoder=panel.encoder,
        calibration=calibration,
        modality=panel.modality,
        space=panel.space,
        task=question[0],
        metric=question[1],
        norm=panel.norm,
        eps=eps,
        attack=row.attack,
        threat_model=row.threat_model,
        n=row.n,
        clean=clean.value if clean else None,
        attacked=attacked.value if attacked else None,
        attacked_low=attacked.ci_low if attacked else None,
        attacked_high=attacked.ci_high if attacked else None,
        replayed=replayed.value if replayed else None,
        trainable=most.trainable if most else None,
        trainable_percent=100 * most.trainable / most.encoder_parameters if most else None,
        cpu_seconds=round(math.fsum(stage.cpu_seconds for stage in stages), 1) if stages else None,
        checks=row.checks,
        reasons=tuple(_reasons(run, panel, attacked)),
    )


def _stages(run: Run, panel: Panel, calibration: str) -> list[CalibrationRecord]:
    """All of the training of this input's calibration: one that went on has several records."""
    return [
        record
        for record in run.result.calibrations
        if (record.name, record.modality) == (calibration, panel.modality) and record.encoder_parameters
    ]


def _reasons(run: Run, panel: Panel, attacked: Row | None) -> list[str]:
    """Why an entry is not admitted, by the RULES."""
    if attacked is None:
        return ["replayed only: not attacked adaptively"]
    reasons = [f"{mark.partition(':')[0]} failed" for mark in attacked.checks.split() if mark.endswith(":fail")]
    if attacked.checks in (UNCHECKED, UNRECORDED):
        reasons.append("no checks were run")
    reasons += [
        f"check of the data failed: {check.name}"
        for check in run.result.checks
        if check.code == "data" and check.status == "fail" and check.scope.partition(" ")[0] in ("", panel.modality)
    ]
    return reasons


def ranked(entries: Sequence[Entry]) -> list[Entry]:
    """By modality and budget as they came, the most robust first; ties by clean accuracy, then by name."""
    groups = list(dict.fromkeys((entry.modality, entry.space, entry.task, entry.norm) for entry in entries))
    return sorted(
        entries,
        key=lambda entry: (
            groups.index((entry.modality, entry.space, entry.task, entry.norm)),
            Epsilon.from_table(entry.eps).value,
            -(entry.attacked if entry.attacked is not None else -1),
            -(entry.clean or 0),
            entry.place,
        ),
    )


def leaderboard_json(entries: Sequence[Entry]) -> str:
    """`rules`, `entries` (admitted, ranked) and `not_admitted`."""
    order = ranked(entries)
    board = {
        "rules": RULES,
        "entries": [asdict(entry) for entry in order if not entry.reasons],
        "not_admitted": [asdict(entry) for entry in order if entry.reasons],
    }
    return json.dumps(board, indent=1) + "\n"
