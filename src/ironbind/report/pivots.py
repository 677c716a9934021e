"""Every row of the run as tables to read: one per input and task, epsilons across, the replayed line always with the
adaptive one under it.
"""

from typing import NamedTuple

from ironbind.core.epsilon import ascending
from ironbind.core.results import Row
from ironbind.report.panels import UNCALIBRATED, Facts, Panel

_ORDER = ("clean", "whitebox", "replayed", "adaptive", "transfer")


class PivotLine(NamedTuple):
    """One line: a calibration under a threat model (and an attack, where several were run); cells by epsilon, None
    where not measured.
    """

    metric: str
    calibration: str
    threat_model: str
    attack: str
    cells: tuple[Row | None, ...]

    @property
    def missing(self) -> bool:
        """True for a line that only says that nothing was measured."""
        return not any(self.cells)


class Pivot(NamedTuple):
    """All rows of one panel and task. `eps[0]` is "0": the clean cells."""

    panel: Panel
    task: str
    eps: tuple[str, ...]
    lines: tuple[PivotLine, ...]

    def only(self, metric: str) -> "Pivot":
        """The lines of one metric."""
        return self._replace(lines=tuple(line for line in self.lines if line.metric == metric))

    @property
    def groups(self) -> list[tuple[str, list[PivotLine]]]:
        """The lines of each metric, in order."""
        return [
            (metric, [line for line in self.lines if line.metric == metric])
            for metric in dict.fromkeys(line.metric for line in self.lines)
        ]


def pivots(facts: Facts, retrieval: bool) -> list[Pivot]:
    """The pivots of the retrieval tasks, or of all others; together they hold every row."""
    all_pivots = []
    for panel in facts.panels:
        for task in facts.tasks(panel):
            if task.startswith("retrieval") == retrieval:
                all_pivots.append(_pivot(facts, panel, task))
    return all_pivots


def _pivot(facts: Facts, panel: Panel, task: str) -> Pivot:
    rows = [row for row in facts.of(panel) if row.task == task]
    attacked = tuple(ascending({row.eps for row in rows if row.threat_model != "clean"}))
    columns = ("0", *attacked)
    lines = []
    for metric in facts.metrics(panel, task):
        for calibration in dict.fromkeys(row.calibration for row in rows if row.metric == metric):
            of_calibration = [row for row in rows if row.metric == metric and row.calibration == calibration]
            lines += _lines(metric, calibration, of_calibration, columns)
    return Pivot(panel, task, columns, tuple(lines))


def _lines(metric: str, calibration: str, rows: list[Row], columns: tuple[str, ...]) -> list[PivotLine]:
    clean = [row for row in rows if row.threat_model == "clean"]
    present = sorted(
        {row.threat_model for row in rows if row.threat_model != "clean"},
        key=lambda model: _ORDER.index(model) if model in _ORDER else 9,
    )
    if "replayed" in present and "adaptive" not in present:
        present.append("adaptive")
    lines: list[PivotLine] = []
    for threat_model in present or ["clean"]:
        of_model = [row for row in rows if row.threat_model == threat_model]
        for attack in dict.fromkeys(row.attack for row in of_model) or ("",):
            by_eps = {row.eps: row for row in of_model if row.attack == attack and row.threat_model != "clean"}
            first = clean[0] if clean and not lines else None  # the clean value is on the first line of a group only
            lines.append(
                PivotLine(metric, calibration, threat_model, attack, (first, *(by_eps.get(eps) for eps in columns[1:])))
            )
    return lines


def calibration_label(calibration: str) -> str:
    """What the tables call a calibration."""
    return "uncalibrated" if calibration == UNCALIBRATED else calibration
