"""Accuracy under corruptions and random noise. Nobody attacked: these rows are no adversarial curves, they have tables
and charts of their own.
"""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

from markupsafe import Markup

from ironbind.core.epsilon import ascending
from ironbind.core.results import METRICS, Row
from ironbind.report.charts.curves import HEIGHT, WIDTH, axes, x_of, y_of
from ironbind.report.charts.svg import drawing, element, mark, path
from ironbind.report.number_format import cell, interval
from ironbind.report.panels import SMALLER_IS_BETTER

CORRUPTED = "corrupted"
SEVERITY = "severity"


class Input(NamedTuple):
    """What is corrupted, under which question."""

    encoder: str
    modality: str
    space: str
    task: str


class CorruptionLine(NamedTuple):
    """One corruption at every strength that any of its table was measured at, None where it was not."""

    calibration: str
    name: str
    cells: tuple[Row | None, ...]

    @property
    def mean(self) -> float | None:
        """Over the strengths that were measured."""
        values = [row.value for row in self.cells if row]
        return fmean(values) if values else None


class Table(NamedTuple):
    """All rows of one input, metric and kind of strength: `norm` is "severity", or the norm of the noise's budgets."""

    input: Input
    metric: str
    norm: str
    strengths: tuple[str, ...]
    clean: dict[str, Row]  # by calibration
    lines: tuple[CorruptionLine, ...]

    @property
    def calibrations(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(line.calibration for line in self.lines))

    def of(self, calibration: str) -> list[CorruptionLine]:
        return [line for line in self.lines if line.calibration == calibration]

    def mean(self, calibration: str, strength: str | None = None) -> float | None:
        """Mean corruption accuracy: over corruptions and severities, or at one of them (Hendrycks and Dietterich 2019,
        not in units of AlexNet's).
        """
        rows = [row for line in self.of(calibration) for row in line.cells if row and strength in (None, row.eps)]
        return fmean(row.value for row in rows) if rows else None

    def lowest(self, calibration: str) -> Row | None:
        """The worst number of a calibration."""
        worst: Callable[..., Row] = max if self.metric in SMALLER_IS_BETTER else min
        rows = [row for line in self.of(calibration) for row in line.cells if row]
        return worst(rows, key=lambda row: row.value) if rows else None


class Summary(NamedTuple):
    """One line of the overview: an input under one calibration, by its first metric."""

    label: str
    calibration: str
    clean: Row | None
    table: Table | None  # by severity
    noise: tuple[Row, ...]  # by budget, in rising order

    @property
    def mean(self) -> float | None:
        return self.table.mean(self.calibration) if self.table else None

    @property
    def corruptions(self) -> int:
        """How many corruptions the mean is over."""
        return len(self.table.of(self.calibration)) if self.table else 0

    @property
    def lowest(self) -> Row | None:
        return self.table.lowest(self.calibration) if self.table else None


def written(mean: float | None, metric: str) -> str:
    """A mean with the digits of its metric."""
    return "–" if mean is None else f"{mean:.2f}" if metric in SMALLER_IS_BETTER else f"{mean:.1f}"


def tables(rows: Iterable[Row]) -> list[Table]:
    """Every corrupted row in a table, severities before noise, metrics in the order of METRICS."""
    every = list(rows)
    groups_of_rows: dict[tuple[Input, str, str], list[Row]] = {}
    for row in every:
        if row.threat_model == CORRUPTED:
            groups_of_rows.setdefault((_input(row), row.norm, row.metric), []).append(row)
    clean = {(_input(row), row.metric, row.calibration): row for row in every if row.threat_model == "clean"}
    order = list(dict.fromkeys(where for where, _, _ in groups_of_rows))
    ranked = sorted(groups_of_rows, key=lambda key: (order.index(key[0]), key[1] != SEVERITY, key[1], _place(key[2])))
    return [_table(where, metric, norm, groups_of_rows[where, norm, metric], clean) for where, norm, metric in ranked]


def _table(
    where: Input, metric: str, norm: str, rows: Sequence[Row], clean: dict[tuple[Input, str, str], Row]
) -> Table:
    strengths = tuple(ascending({row.eps for row in rows}))
    lines = []
    for calibration, name in dict.fromkeys((row.calibration, row.attack) for row in rows):
        by_strength = {row.eps: row for row in rows if (row.calibration, row.attack) == (calibration, name)}
        lines.append(CorruptionLine(calibration, name, tuple(by_strength.get(strength) for strength in strengths)))
    own = {
        line.calibration: clean[where, metric, line.calibration]
        for line in lines
        if (where, metric, line.calibration) in clean
    }
    return Table(where, metric, norm, strengths, own, tuple(lines))


def _input(row: Row) -> Input:
    return Input(row.encoder, row.modality, row.space, row.task)


def _place(metric: str) -> int:
    return list(METRICS).index(metric) if metric in METRICS else len(METRICS)


def label(where: Input, encoders: Sequence[str]) -> str:
    """ "audio (logmel)", with encoder and question where they need saying."""
    before = f"{where.encoder}: " if len(encoders) > 1 else ""
    after = "" if where.task == "zero_shot" else f", {where.task}"
    return f"{before}{where.modality} ({where.space}{after})"


def groups(corrupted: Sequence[Table], encoders: Sequence[str]) -> list[tuple[str, list[Table]]]:
    """The tables of each input under its label, in order."""
    return [
        (label(where, encoders), [table for table in corrupted if table.input == where])
        for where in dict.fromkeys(table.input for table in corrupted)
    ]


def summaries(corrupted: Sequence[Table], encoders: Sequence[str]) -> list[Summary]:
    """One line per input and calibration, by the first metric of its tables."""
    lines = []
    for where in dict.fromkeys(table.input for table in corrupted):
        of_input = [table for table in corrupted if table.input == where]
        of_input = [table for table in of_input if table.metric == of_input[0].metric]
        severe = next((table for table in of_input if table.norm == SEVERITY), None)
        for calibration in dict.fromkeys(name for table in of_input for name in table.calibrations):
            clean = next((table.clean[calibration] for table in of_input if calibration in table.clean), None)
            noise = [
                row
                for table in of_input
                if table.norm != SEVERITY
                for line in table.of(calibration)
                for row in line.cells
                if row
            ]
            own = severe if severe and calibration in severe.calibrations else None
            lines.append(Summary(label(where, encoders), calibration, clean, own, tuple(noise)))
    return lines


# ----------------------------------------------------------------------------------------------------------- drawing


def charts(corrupted: Sequence[Table], encoders: Sequence[str]) -> list[tuple[str, Markup]]:
    """Accuracy against severity, one small chart per input: the mean of each calibration, and every corruption of the
    uncalibrated encoder, faint.
    """
    return [
        (label(table.input, encoders), _chart(table, label(table.input, encoders))) for table in _charted(corrupted)
    ]


def _charted(corrupted: Sequence[Table]) -> list[Table]:
    severe = [table for table in corrupted if table.norm == SEVERITY and table.metric not in SMALLER_IS_BETTER]
    first: dict[Input, Table] = {}
    for table in severe:
        first.setdefault(table.input, table)
    return list(first.values())


def _chart(table: Table, name: str) -> Markup:
    place = {"0": 0.0, **{strength: float(step + 1) for step, strength in enumerate(table.strengths)}}
    last = max(place.values())
    parts = axes(place, last, "severity")
    words = []
    for position, calibration in enumerate(table.calibrations):
        clean = table.clean.get(calibration)
        start = [(x_of(0.0, last), clean.value)] if clean else []
        if position == 0:
            for line in table.of(calibration):
                spots = start + [(x_of(place[row.eps], last), row.value) for row in line.cells if row]
                parts.append(
                    element(
                        "path",
                        element("title", f"{line.name}: {_listed(line)}"),
                        d=_through(spots),
                        class_="curve faint",
                    )
                )
        means = [(strength, table.mean(calibration, strength)) for strength in table.strengths]
        spots = start + [(x_of(place[strength], last), value) for strength, value in means if value is not None]
        role = "corrupted" if position == 0 else "corrupted calibrated"
        parts.append(element("path", d=_through(spots), class_=f"curve {role}"))
        count = len(table.of(calibration))
        titles = ([f"{calibration_name(calibration)}, clean: {cell(clean)} % [{interval(clean)}]"] if clean else []) + [
            f"{calibration_name(calibration)}, mean of {count} corruptions at severity {strength}: {value:.1f} %"
            for strength, value in means
            if value is not None
        ]
        for (x, value), title in zip(spots, titles, strict=True):
            parts.append(element("g", mark(role, title), transform=f"translate({x:.2f} {y_of(value):.2f}) scale(.78)"))
        shown = ", ".join(f"{strength}: {value:.1f}" for strength, value in means if value is not None)
        words.append(f"{calibration_name(calibration)}, clean {cell(clean)}, {shown}")
    described = f"{name}, {table.metric} in percent against severity, mean over corruptions: {'; '.join(words)}"
    return drawing(WIDTH, HEIGHT, *parts, label=described, class_="curve-panel")


def _through(spots: Sequence[tuple[float, float]]) -> str:
    return path((x, y_of(value)) for x, value in spots)


def _listed(line: CorruptionLine) -> str:
    return ", ".join(f"{row.eps}: {cell(row)} %" for row in line.cells if row)


def calibration_name(calibration: str) -> str:
    return "uncalibrated" if calibration == "none" else calibration
