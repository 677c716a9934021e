"""Many runs as the tables of a paper: encoders down, data sets across, clean and robust at each radius, replayed beside
adaptive.

One table per modality and question, with a row group per calibration. A cell that nobody ran says so, one that cannot
exist (an encoder without that tower) too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ironbind.core.epsilon import ascending
from ironbind.core.results import Row
from ironbind.report.panels import UNCALIBRATED, Facts, Panel
from ironbind.report.stored_runs import Run

PAPER_EPS = (("2/255", "4/255"), ("0.4/255", "0.8/255"))  # of [0, 1] spaces, and what is comparable in a waveform
QUESTIONS = {
    "zero_shot": ("Zero-shot accuracy, Top-1 (%)", "top1"),
    "retrieval:{}->text": ("Retrieval of text by the perturbed input, R@1 (%)", "R@1"),
    "retrieval:text->{}": ("Retrieval of the perturbed input by text, R@1 (%)", "R@1"),
}
"""Task of a row, with {} for the perturbed modality -> what a table about it is called, and its metric."""


@dataclass(frozen=True)
class Subject:
    """What a run is about. `sees`: the modalities that its encoder has towers for; None where the run does not say."""

    encoder: str
    data: str
    title: str
    sees: tuple[str, ...] | None = None


def subject_of(run: Run) -> Subject:
    """From the record of a cell of the grid, else the encoder's and the data set's own names."""
    record = run.result.record
    cell = record.get("cell")
    if isinstance(cell, dict):
        return Subject(str(cell["model_title"]), str(cell["dataset"]), str(cell["dataset_title"]), tuple(cell["sees"]))
    return Subject(run.encoder, str(record.get("data", "")), str(record.get("data") or run.result.name))


class Value(NamedTuple):
    """One number of the table, or the reason why there is none: "-" nobody ran it, "n/a" it cannot exist."""

    row: Row | None
    why: str = "-"

    @property
    def failed(self) -> bool:
        """Whether a check of this number failed."""
        return self.row is not None and ":fail" in self.row.checks


class Robust(NamedTuple):
    """Under attack at one radius. Uncalibrated encoders have `whitebox` alone."""

    replayed: Value
    adaptive: Value
    whitebox: Value


class Cell(NamedTuple):
    """An encoder under a calibration on a data set."""

    clean: Value
    robust: tuple[Robust, ...]


class Column(NamedTuple):
    """A data set, in the space and norm that its inputs were perturbed in."""

    data: str
    title: str
    space: str
    norm: str
    eps: tuple[str, ...]
    n: tuple[int, ...]


class Line(NamedTuple):
    """One encoder's cells."""

    encoder: str
    cells: tuple[Cell, ...]


class Group(NamedTuple):
    """The lines of one calibration."""

    calibration: str
    lines: tuple[Line, ...]


class Table(NamedTuple):
    """One question about one modality."""

    title: str
    modality: str
    columns: tuple[Column, ...]
    groups: tuple[Group, ...]

    @property
    def values(self) -> list[Value]:
        """Every number of the table."""
        cells = [cell for group in self.groups for line in group.lines for cell in line.cells]
        return [
            value
            for cell in cells
            for value in (cell.clean, *(part for robust in cell.robust for part in robust))
            if value.row is not None
        ]

    @property
    def half_width(self) -> float:
        """The widest reach of a 95 % interval from its value, in points."""
        rows = [value.row for value in self.values if value.row is not None]
        return max((max(row.value - row.ci_low, row.ci_high - row.value) for row in rows), default=0.0)


class _Taken(NamedTuple):
    subject: Subject
    facts: Facts


def grid_tables(runs: Sequence[Run]) -> list[Table]:
    """The tables that the runs fill, question by question and modality by modality; none where they hold nothing that
    such a table shows.
    """
    taken = [_Taken(subject_of(run), Facts(run.result.rows, run.result.calibrations)) for run in runs]
    tables = []
    modalities = dict.fromkeys(panel.modality for run in taken for panel in run.facts.panels)
    for task, (title, metric) in QUESTIONS.items():
        for modality in modalities:
            table = _table(taken, modality, task.format(modality), title, metric)
            if table is not None:
                tables.append(table)
    return tables


def _table(taken: Sequence[_Taken], modality: str, task: str, title: str, metric: str) -> Table | None:
    columns: dict[tuple[str, str, str], Column] = {}
    for subject, facts in taken:
        for panel in facts.panels:
            rows = [row for row in facts.of(panel) if row.task == task and row.metric == metric]
            if panel.modality != modality or not rows:
                continue
            key = (subject.data, panel.space, panel.norm)
            before = columns.get(key, Column(subject.data, subject.title, panel.space, panel.norm, (), ()))
            eps = {*before.eps, *(row.eps for row in rows if row.threat_model not in ("clean", "corrupted"))}
            n = tuple(sorted({*before.n, *(row.n for row in rows)}))
            columns[key] = before._replace(eps=tuple(ascending(eps)), n=n)
    if not columns:
        return None
    shown = tuple(column._replace(eps=_shown(column.eps)) for column in columns.values())
    of_table = [
        run
        for run in taken
        if any(panel.modality == modality and task in run.facts.tasks(panel) for panel in run.facts.panels)
    ]
    calibrations = dict.fromkeys(
        row.calibration for _, facts in of_table for row in facts.rows if (row.task, row.metric) == (task, metric)
    )
    ordered = sorted(calibrations, key=lambda name: name != UNCALIBRATED)
    encoders = list(dict.fromkeys(subject.encoder for subject, _ in taken))

    def line(encoder: str, calibration: str) -> Line:
        return Line(
            encoder, tuple(_cell(taken, encoder, calibration, column, modality, task, metric) for column in shown)
        )

    groups = [Group(name, tuple(line(encoder, name) for encoder in encoders)) for name in ordered]
    return Table(f"{title}: {modality}", modality, shown, tuple(groups))


def _shown(eps: tuple[str, ...]) -> tuple[str, ...]:
    """The paper's two radii where more were measured, else all."""
    for pair in PAPER_EPS:
        if len(eps) > 2 and set(pair) <= set(eps):
            return pair
    return eps


def _cell(
    taken: Sequence[_Taken], encoder: str, calibration: str, column: Column, modality: str, task: str, metric: str
) -> Cell:
    sees = next((subject.sees for subject, _ in taken if subject.encoder == encoder and subject.sees is not None), None)
    why = "n/a" if sees is not None and modality not in sees else "-"
    here = [facts for subject, facts in taken if (subject.encoder, subject.data) == (encoder, column.data)]

    def value(threat_model: str, eps: str = "") -> Value:
        for facts in here:
            panel = next(
                (
                    panel
                    for panel in facts.panels
                    if (panel.modality, panel.space, panel.norm) == (modality, column.space, column.norm)
                ),
                None,
            )
            row = _row(facts, panel, task, metric, threat_model, calibration, eps)
            if row is not None:
                return Value(row)
        return Value(None, why)

    robust = tuple(Robust(value("replayed", eps), value("adaptive", eps), value("whitebox", eps)) for eps in column.eps)
    return Cell(value("clean"), robust)


def _row(
    facts: Facts, panel: Panel | None, task: str, metric: str, threat_model: str, calibration: str, eps: str
) -> Row | None:
    return None if panel is None else facts.cell(panel, task, metric, threat_model, calibration, eps)
