"""Accuracy of each input clean, attacked, and with a calibration: replayed (seemed to survive) and adaptive (survived).

Positions are percentages of the track, so that the drawing stretches with the page while marks and type keep their
size.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

from markupsafe import Markup

from ironbind.core.results import Row
from ironbind.report.charts.svg import element, mark
from ironbind.report.number_format import cell, interval, points
from ironbind.report.panels import After, Facts, Line, gain


class Track(NamedTuple):
    """One calibration's line of a dumbbell row."""

    calibration: str  # "" without one
    drawing: Markup
    replayed_gain: str
    adaptive_gain: str  # "not measured" when replay was measured and this was not


class Dumbbell(NamedTuple):
    """One row: an input at an epsilon."""

    label: str
    eps: str
    tracks: tuple[Track, ...]


def dumbbells(facts: Facts, lines: Sequence[Line]) -> list[Dumbbell]:
    """A row per line that was attacked, under each other on one 0-100 axis."""
    rows = []
    for line in lines:
        after: Sequence[After | None] = line.after or (None,)
        tracks = tuple(
            Track(
                calibrated.calibration if calibrated else "",
                _track(line, calibrated),
                points(gain(calibrated.replayed, line.attacked)) if calibrated else "",
                (points(gain(calibrated.adaptive, line.attacked)) or ("not measured" if calibrated.replayed else ""))
                if calibrated
                else "",
            )
            for calibrated in after
        )
        rows.append(Dumbbell(facts.label(line.panel), line.eps, tracks))
    return rows


def averages(lines: Sequence[Line]) -> dict[str, float]:
    """The mean over lines of each cell that every line has: keys "clean", "whitebox", and (calibration, protocol)
    joined by a slash.
    """
    means: dict[str, float] = {}
    columns: dict[str, list[Row | None]] = {
        "clean": [line.clean for line in lines],
        "whitebox": [line.attacked for line in lines],
    }
    for name in dict.fromkeys(after.calibration for line in lines for after in line.after):
        matching = [next((after for after in line.after if after.calibration == name), None) for line in lines]
        for protocol in ("clean", "replayed", "adaptive"):
            columns[f"{name}/{protocol}"] = [getattr(after, protocol) if after else None for after in matching]
    for key, cells in columns.items():
        values = [row.value for row in cells if row is not None]
        if values and len(values) == len(cells):
            means[key] = fmean(values)
    return means


def _track(line: Line, after: After | None) -> Markup:
    attacked = line.attacked
    replayed, adaptive = (after.replayed, after.adaptive) if after else (None, None)
    parts = [element("line", x1=f"{x}%", x2=f"{x}%", y1="0%", y2="100%", class_="grid") for x in (0, 25, 50, 75, 100)]
    parts.append(element("line", x1="0%", x2="100%", y1="50%", y2="50%", class_="track"))
    if line.clean and attacked:
        parts.append(_bar(attacked, line.clean, "lost"))
    if replayed and attacked:
        parts.append(_bar(attacked, replayed, "seemed"))
    if adaptive and attacked:
        parts.append(_bar(attacked, adaptive, "survived"))
    role_of_attack = attacked.threat_model if attacked else "whitebox"
    cells = (("clean", line.clean), (role_of_attack, attacked), ("replayed", replayed), ("adaptive", adaptive))
    parts += [_whisker(row, role) for role, row in cells if row]
    parts += [_marker(row, role) for role, row in cells if row]
    words = [f"{role} {cell(row)} %" for role, row in cells if row]
    if replayed and not adaptive:
        words.append("adaptive: not measured")
    where = f"{line.panel.modality} ({line.panel.space}) at {line.eps or 'no attack'}"
    label = f"{where}, {after.calibration if after else 'uncalibrated'}: {', '.join(words)}"
    return element("svg", *parts, class_="dumbbell-track", role="img", aria_label=label)


def _bar(start: Row, end: Row, class_: str) -> Markup:
    return element("line", x1=f"{start.value:.2f}%", x2=f"{end.value:.2f}%", y1="50%", y2="50%", class_=class_)


def _whisker(row: Row, role: str) -> Markup:
    return element(
        "line", x1=f"{row.ci_low:.2f}%", x2=f"{row.ci_high:.2f}%", y1="50%", y2="50%", class_=f"whisker {role}"
    )


def _marker(row: Row, role: str) -> Markup:
    title = f"{role}: {cell(row)} % [{interval(row)}], n = {row.n}"
    return element("svg", mark(role, title), x=f"{row.value:.2f}%", y="50%", overflow="visible")
