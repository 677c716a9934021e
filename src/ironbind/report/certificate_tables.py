"""Certified accuracy, radius by radius, beside what an attack leaves of the encoder without smoothing. A certificate is
no attack: these rows have a table and charts of their own.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from markupsafe import Markup

from ironbind.core.epsilon import Epsilon, ascending
from ironbind.core.results import METRICS, Row
from ironbind.report.charts.curves import HEIGHT, WIDTH, axes, positions, x_of, y_of
from ironbind.report.charts.svg import drawing, element, mark, path
from ironbind.report.corruption_tables import Input, calibration_name, label
from ironbind.report.number_format import cell, interval, norm_name

CERTIFIED = "certified"
EMPIRICAL = ("whitebox", "adaptive")
SHOWN = "0.5"
"""The radius of a sentence, where it was measured; else the middle one."""


class CertificateLine(NamedTuple):
    """One line: a metric of one encoder by radius, None where it was not measured. `threat_model`: "certified", or that
    of the attack on the encoder without smoothing.
    """

    calibration: str
    threat_model: str
    metric: str
    attack: str
    cells: tuple[Row | None, ...]


class CertificateTable(NamedTuple):
    """All certified rows of one input and norm, radii in rising order, and the empirical ones at the same radii."""

    input: Input
    norm: str
    radii: tuple[str, ...]
    clean: dict[str, Row]  # by calibration, of the first metric
    lines: tuple[CertificateLine, ...]

    def name(self, encoders: Sequence[str]) -> str:
        """ "image (pixels), L2"."""
        return f"{label(self.input, encoders)}, {norm_name(self.norm)}"

    @property
    def first(self) -> list[CertificateLine]:
        """The certified lines of the first metric, by calibration."""
        certified = [line for line in self.lines if line.threat_model == CERTIFIED]
        return [line for line in certified if line.metric == certified[0].metric]


def certificate_tables(rows: Iterable[Row]) -> list[CertificateTable]:
    """Every certified row in a table; those of an input in l2 before those in decibels."""
    every = list(rows)
    groups: dict[tuple[Input, str], list[Row]] = {}
    for row in every:
        if row.threat_model == CERTIFIED:
            groups.setdefault((_input(row), row.norm), []).append(row)
    return [_table(where, norm, of_group, every) for (where, norm), of_group in groups.items()]


def _table(where: Input, norm: str, rows: Sequence[Row], every: Sequence[Row]) -> CertificateTable:
    radii = tuple(ascending({row.eps for row in rows}))
    beside = [row for row in every if _input(row) == where]
    plain = rows[0].metric.removeprefix(f"{CERTIFIED}_")
    attacked = [row for row in beside if (row.norm, row.metric) == (norm, plain) and row.threat_model in EMPIRICAL]
    clean = {row.calibration: row for row in beside if row.threat_model == "clean" and row.metric == plain}
    lines = []
    for calibration in dict.fromkeys(row.calibration for row in rows):
        own = [row for row in [*rows, *attacked] if row.calibration == calibration]
        kinds = dict.fromkeys((row.threat_model, row.metric, row.attack) for row in own)
        for kind in sorted(kinds, key=lambda kind: (kind[0] == CERTIFIED, kind[0], _place(kind[1]))):
            by_radius = {row.eps: row for row in own if (row.threat_model, row.metric, row.attack) == kind}
            cells = tuple(by_radius.get(radius) for radius in radii)
            if any(cells):
                lines.append(CertificateLine(calibration, *kind, cells))
    return CertificateTable(where, norm, radii, clean, tuple(lines))


def _input(row: Row) -> Input:
    return Input(row.encoder, row.modality, row.space, row.task)


def _place(metric: str) -> int:
    return list(METRICS).index(metric) if metric in METRICS else len(METRICS)


def proven(table: CertificateTable) -> list[Row]:
    """What a sentence says of a table: the certified share of each calibration at one radius."""
    nonzero = [radius for radius in table.radii if Epsilon.from_table(radius).value > 0]
    if not nonzero:
        return []
    radius = SHOWN if SHOWN in nonzero else nonzero[len(nonzero) // 2]
    return [row for line in table.first for row in line.cells if row and row.eps == radius]


def certificate_charts(certified: Sequence[CertificateTable], encoders: Sequence[str]) -> list[tuple[str, Markup]]:
    """Accuracy against radius, one small chart per table: proven for each calibration, and what the attack leaves."""
    return [(table.name(encoders), _chart(table, table.name(encoders))) for table in certified]


def _chart(table: CertificateTable, name: str) -> Markup:
    place = positions(tuple(radius for radius in table.radii if radius != "0"))
    last = max(place.values())
    parts, words = axes(place, last, "radius"), []
    metric = table.first[0].metric
    shown = [line for line in table.lines if line.metric in (metric, metric.removeprefix(f"{CERTIFIED}_"))]
    for line in shown:
        later = line.calibration != table.lines[0].calibration
        role = line.threat_model + (" calibrated" if later and line.threat_model == CERTIFIED else "")
        row_cells = [row for row in line.cells if row]
        clean = table.clean.get(line.calibration) if line.threat_model != CERTIFIED else None
        spots = [(x_of(0.0, last), clean)] * (clean is not None) + [
            (x_of(place[row.eps], last), row) for row in row_cells
        ]
        points = [(x, y_of(row.value)) for x, row in spots if row]
        parts.append(element("path", d=path(points), class_=f"curve {role}"))
        who = f"{calibration_name(line.calibration)}, {line.threat_model}"
        for x, row in spots:
            assert row is not None
            title = f"{who} at {row.eps}: {cell(row)} % [{interval(row)}], n = {row.n}"
            parts.append(
                element("g", mark(role, title), transform=f"translate({x:.2f} {y_of(row.value):.2f}) scale(.7)")
            )
        words.append(f"{who}: " + ", ".join(f"{row.eps}: {cell(row)}" for row in row_cells))
    described = f"{name}, accuracy in percent against radius: {'; '.join(words)}"
    return drawing(WIDTH, HEIGHT, *parts, label=described, class_="curve-panel")
