"""A run folder through the gate: every requirement, every paired difference, every check."""

from dataclasses import dataclass
from pathlib import Path

from ironbind.core.errors import InputError
from ironbind.core.results import Check, Result, Row
from ironbind.gate.findings import SHARES, Finding, findings
from ironbind.gate.paired_drop import drops
from ironbind.gate.requirement import HEADLINES
from ironbind.gate.settings import GateSettings


@dataclass(frozen=True)
class GateReport:
    """What the gate found. `required`: one finding per requirement and number; `compared`: one per number that was
    paired with the baseline's; `failed`: checks of the run that failed.
    """

    folder: Path
    result: Result
    settings: GateSettings
    required: tuple[Finding, ...]
    compared: tuple[Finding, ...]
    failed: tuple[Check, ...]

    @property
    def met(self) -> bool:
        """Whether the run passes: everything is met and no check failed."""
        return not self.failed and all(finding.met for finding in (*self.required, *self.compared))

    @property
    def verdict(self) -> str:
        """One line: "gate: not met (1 of 2 requirements, 1 failed check)"."""
        if self.met:
            counts = [_count(len(self.required), "requirement"), _count(len(self.compared), "comparison")]
            return f"gate: met ({', '.join(count for count in counts if count)}, no failed check)"
        groups = ((self.required, "requirement"), (self.compared, "comparison"))
        missed = [
            f"{sum(not finding.met for finding in found)} of {_count(len(found), noun)}"
            for found, noun in groups
            if not all(finding.met for finding in found)
        ]
        failed = [_count(len(self.failed), "failed check")] if self.failed else []
        return f"gate: not met ({', '.join([*missed, *failed])})"


def gate(folder: Path, settings: GateSettings) -> GateReport:
    """The run in `folder` against the settings. Raises InputError for a folder without a result, and as `drops` does
    for a baseline that cannot be compared.
    """
    folder = Path(folder)
    result = Result.read(folder)
    if not result.rows:
        raise InputError(f"{folder / 'result.json'} holds no rows; expected at least one")
    required = [
        finding for demanded in settings.requirements for finding in findings(demanded, result.rows, settings.compare)
    ]
    compared: list[Finding] = []
    if settings.baseline is not None and settings.max_drop is not None:
        rows = _compared_rows(result, required)
        compared = drops(folder, result, settings.baseline, rows, settings.max_drop, settings.compare)
    failed = dict.fromkeys(check for check in result.checks if check.status == "fail")
    return GateReport(folder, result, settings, tuple(required), tuple(compared), tuple(failed))


def _compared_rows(result: Result, required: list[Finding]) -> list[Row]:
    """The required numbers and the clean ones of the same inputs and encoders; without requirements, every task's first
    metric. Replayed ones never: they are no robustness to lose.
    """
    rows = [row for row in result.rows if row.threat_model != "replayed" and row.metric in SHARES]
    chosen = [finding.row for finding in required if finding.row is not None]
    if not chosen:
        return [row for row in rows if row.metric == HEADLINES.get(row.task.partition(":")[0])]
    clean = {_input(row) for row in chosen}
    return [row for row in rows if row in chosen or (row.threat_model == "clean" and _input(row) in clean)]


def _input(row: Row) -> tuple[str, ...]:
    return row.encoder, row.calibration, row.modality, row.space, row.task, row.metric


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}" if number else ""
