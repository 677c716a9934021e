"""Requirements against the numbers of a run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

from ironbind.core.results import UNCHECKED, UNRECORDED, Row
from ironbind.core.tables.intervals import wilson_ends
from ironbind.gate.requirement import Requirement

RANKS = {"top1": 1, "top5": 5, "R@1": 1, "R@5": 5, "R@10": 10}
SHARES = {**RANKS, **{f"certified_{metric}": rank for metric, rank in RANKS.items()}}
"""Metrics that are shares of samples, and the rank that counts as success."""
UNATTACKED = ("clean", "corrupted")
MOST_SAMPLES = 10**7


class Compare(str, Enum):
    """What is compared with a threshold: the end of the 95 % interval on the wrong side, or the measured number."""

    interval = "interval"
    value = "value"


@dataclass(frozen=True)
class Finding:
    """One number against one demand. `demand`: in words. `row`: the number, None where it was not measured.
    `compared`: the number that the threshold was compared with. `reason`: the measured facts, and where the demand is
    not met, why.
    """

    demand: str
    met: bool
    reason: str
    row: Row | None = None
    compared: float | None = None

    @property
    def place(self) -> str:
        """Whose number it is, in words; "" where there is none."""
        return place_of(self.row) if self.row else ""


def place_of(row: Row) -> str:
    """What a row is about, in words: "image/pixels 4/255 adaptive, tiny with hardened"."""
    attack = "clean" if row.threat_model == "clean" else f"{row.eps} {row.threat_model}"
    task = "" if (row.task, row.metric) == ("zero_shot", "top1") else f" {row.task} {row.metric}"
    calibration = "" if row.calibration == "none" else f" with {row.calibration}"
    norm = "" if row.norm in ("none", "linf", "severity") else f" {row.norm}"
    corruption = f" {row.attack}" if row.threat_model == "corrupted" else ""
    return f"{row.modality}/{row.space}{norm} {attack}{corruption}{task}, {row.encoder}{calibration}"


def findings(demanded: Requirement, rows: Sequence[Row], compare: Compare) -> list[Finding]:
    """One finding for every row that the requirement is about: all of them have to meet it. Where there is none, one
    that says what was measured instead. A replayed number is none that meets a requirement.
    """
    fitting = [row for row in rows if demanded.fits(row)]
    if demanded.threat_model == "replayed":
        reason = (
            "a replayed number says how an attacker fares who does not know of the calibration, and can never meet a "
            "requirement; require the adaptive one"
        )
        return [Finding(demanded.written, False, reason, row) for row in (*fitting,) or (None,)]
    if not fitting:
        return [Finding(demanded.written, False, _not_measured(demanded, rows))]
    return [_finding(demanded, row, compare) for row in fitting]


def _finding(demanded: Requirement, row: Row, compare: Compare) -> Finding:
    bound = row.ci_low if demanded.lower_bound else row.ci_high
    compared = row.value if compare is Compare.value else bound
    met, reason = demanded.holds(compared), measured(row)
    if row.threat_model not in UNATTACKED and row.checks in (UNCHECKED, UNRECORDED):
        return Finding(demanded.written, False, f"{reason}; no check was run on this number", row, compared)
    failed = [mark for mark in row.checks.split() if mark.endswith(":fail")]
    if failed:
        met, reason = False, f"{reason}; failed: {', '.join(mark.partition(':')[0] for mark in failed)}"
    elif not met and demanded.holds(row.value):
        reason = f"{reason}; may be chance{_samples_needed(demanded, row)}"
    return Finding(demanded.written, met, reason, row, compared)


def measured(row: Row) -> str:
    """The number with its interval: "75.0 (95 %: 61.2 to 85.1, n = 48)"."""
    digits = 1 if row.metric in (*SHARES, "resists") else 3
    value, low, high = (f"{number:.{digits}f}" for number in (row.value, row.ci_low, row.ci_high))
    return f"{value} (95 %: {low} to {high}, n = {row.n})"


def _samples_needed(demanded: Requirement, row: Row) -> str:
    """How many samples of the same share would show it, where the number is a share."""
    if row.metric not in SHARES:
        return ""

    def shown(n: int) -> bool:
        low, high = wilson_ends(row.value / 100, n)
        return demanded.holds(100 * (low if demanded.lower_bound else high))

    if not shown(MOST_SAMPLES):
        return ""
    few, many = row.n, MOST_SAMPLES
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if shown(middle) else (middle, many)
    return f": {many:,} samples of the same share would show it"


def _not_measured(demanded: Requirement, rows: Sequence[Row]) -> str:
    others = [row for row in rows if demanded.fits_but_threat_model(row)]
    if others:
        held = "; ".join(dict.fromkeys(f"{row.threat_model} {row.value:.1f}" for row in others))
        replayed = all(row.threat_model == "replayed" for row in others)
        remark = ", which meets no requirement of robustness" if replayed else ""
        return f"not measured: the run holds {held}{remark}"
    return f"not measured: of {demanded.modality} the run holds {_held(demanded, rows)}"


def _held(demanded: Requirement, rows: Sequence[Row]) -> str:
    ours = [row for row in rows if row.modality == demanded.modality]
    if not ours:
        return f"nothing, but {_few(row.modality for row in rows)}"
    columns = [
        ("space", demanded.space), ("eps", demanded.eps), ("threat_model", demanded.threat_model), *demanded.named,
    ]  # fmt: skip
    for column, value in columns:
        values = list(dict.fromkeys(getattr(row, column) for row in ours))
        if value is not None and value not in values:
            return f"{column} {_few(values)}"
        ours = [row for row in ours if value in (None, getattr(row, column))]
    return "other combinations"


def _few(names: Iterable[str], most: int = 8) -> str:
    names = list(dict.fromkeys(names))
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
