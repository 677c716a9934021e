"""Accuracy against epsilon: small multiples, one per attacked input and calibration, with the Wilson bands that the
rows carry.
"""

from math import isfinite, log2
from typing import NamedTuple

from markupsafe import Markup

from ironbind.core.epsilon import Epsilon
from ironbind.core.results import Row
from ironbind.report.charts.svg import drawing, element, mark, path
from ironbind.report.number_format import cell, interval
from ironbind.report.panels import UNCALIBRATED, Facts, Panel

WIDTH, HEIGHT = 300, 214
LEFT, RIGHT, TOP, BOTTOM = 34, 12, 12, 36
LETTER, APART = 6.2, 5.0  # pixels of a tick's letter, and between two ticks
FINE = 8  # more epsilons than this get smaller marks


class Curve(NamedTuple):
    """One panel: its name, the drawing, and what else the reader must know ("adaptive: not measured")."""

    label: str
    drawing: Markup
    note: str


class Curves(NamedTuple):
    """The panels of one calibration ("" when there is none)."""

    calibration: str
    panels: list[Curve]


def curves(facts: Facts, chance: dict[str, float]) -> list[Curves]:
    """One set of panels per calibration, zero-shot top-1 in each. `chance`: modality -> percent that guessing gets."""
    names = list(dict.fromkeys(row.calibration for row in facts.rows if row.calibration != UNCALIBRATED))
    panels = [panel for panel in facts.panels if "zero_shot" in facts.tasks(panel) and facts.epsilons(panel)]
    sets = []
    for name in names or [""]:
        drawn = [
            _curve(facts, panel, name, chance.get(panel.modality))
            for panel in panels
            if not name or name in facts.calibrations(panel)
        ]
        if drawn:
            sets.append(Curves(name, drawn))
    return sets


def positions(epsilons: tuple[str, ...]) -> dict[str, float]:
    """The place of each epsilon on the axis, 0 first: doubling is one step, so 0, 1, 2, 4, 8/255 are evenly spaced."""
    smallest = min(
        (Epsilon.from_table(eps).value for eps in epsilons if 0 < Epsilon.from_table(eps).value < float("inf")),
        default=1.0,
    )
    steps = {
        eps: 1 + log2(Epsilon.from_table(eps).value / smallest)
        if 0 < Epsilon.from_table(eps).value < float("inf")
        else float(index + 1)
        for index, eps in enumerate(epsilons)
    }
    return {"0": 0.0, **steps}


def x_of(step: float, last: float) -> float:
    """Pixels from the left for a step of `positions`, the last of which is `last`."""
    return LEFT + step / max(last, 1.0) * (WIDTH - LEFT - RIGHT)


def y_of(percent: float) -> float:
    """Pixels from the top for a value in percent."""
    return TOP + (1 - percent / 100) * (HEIGHT - TOP - BOTTOM)


def _curve(facts: Facts, panel: Panel, calibration: str, chance: float | None) -> Curve:
    epsilons = facts.epsilons(panel)
    place = positions(epsilons)
    last = max(place.values())
    metric = "top1" if "top1" in facts.metrics(panel, "zero_shot") else facts.metrics(panel, "zero_shot")[0]

    def series(threat_model: str, name: str) -> list[tuple[float, Row]]:
        cells = [("0", facts.cell(panel, "zero_shot", metric, "clean", name))]
        cells += [(eps, facts.cell(panel, "zero_shot", metric, threat_model, name, eps)) for eps in epsilons]
        return [(x_of(place[eps], last), row) for eps, row in cells if row]

    attack = facts.attack(panel)
    lines = {attack: series(attack, UNCALIBRATED)}
    if calibration:
        lines |= {protocol: series(protocol, calibration) for protocol in ("replayed", "adaptive")}
        lines = {role: line for role, line in lines.items() if role == attack or len(line) > 1 or role == "adaptive"}
    measured = {role for role, line in lines.items() if any(row.threat_model != "clean" for _, row in line)}

    parts = [*axes(place, last), *_chance(chance), _gap(lines)]
    parts += [_band(line, role) for role, line in lines.items() if role in measured]
    parts += [
        element("path", d=path((x, y_of(row.value)) for x, row in line), class_=f"curve {role}")
        for role, line in lines.items()
        if role in measured
    ]
    parts += [
        _point(x, row, role, 0.78 if len(epsilons) <= FINE else 0.5)
        for role, line in lines.items()
        if role in measured
        for x, row in line
    ]
    medians = {attack: UNCALIBRATED, "adaptive": calibration} if calibration else {attack: UNCALIBRATED}
    parts += [part for role, name in medians.items() for part in _median(facts, panel, role, name, place)]
    label = facts.label(panel)
    missing = bool(calibration) and "replayed" in measured and "adaptive" not in measured
    described = f"{label}, {calibration or 'uncalibrated'}, top-1 accuracy in percent against epsilon: " + "; ".join(
        f"{role} " + ", ".join(f"{'0' if row.threat_model == 'clean' else row.eps}: {cell(row)}" for _, row in line)
        for role, line in lines.items()
        if role in measured
    )
    return Curve(
        label,
        drawing(WIDTH, HEIGHT, *parts, label=described, class_="curve-panel"),
        "adaptive: not measured" if missing else "",
    )


def axes(place: dict[str, float], last: float, strength: str = "ε") -> list[Markup]:
    """Percent upwards, strengths as `place` has them to the right; a denominator that all share is said once, beside
    the axis.
    """
    parts = []
    for percent in (0, 25, 50, 75, 100):
        y = y_of(percent)
        parts.append(element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid" if percent else "axis"))
        parts.append(element("text", str(percent), x=LEFT - 7, y=y + 3.5, text_anchor="end", class_="tick"))
    base = HEIGHT - BOTTOM
    shared = {Epsilon.from_table(eps).unit for eps in place if eps != "0"}
    unit = shared.pop() if len(shared) == 1 else ""
    texts = {eps: eps.removesuffix(unit) for eps in place}
    shown = _readable(texts, place, last)
    for eps, step in place.items():
        x = x_of(step, last)
        parts.append(element("line", x1=x, x2=x, y1=base, y2=base + 4, class_="axis"))
        if eps in shown:
            parts.append(element("text", texts[eps], x=x, y=base + 16, text_anchor="middle", class_="tick"))
    name = f"{strength} × {unit[1:]}" if unit.startswith("/") else f"{strength} in {unit}" if unit else strength
    parts.append(element("text", name, x=WIDTH - RIGHT, y=base + 31, text_anchor="end", class_="tick unit"))
    return parts


def _readable(texts: dict[str, str], place: dict[str, float], last: float) -> list[str]:
    """Which epsilons are written under the axis: all of them where they fit, else those that halve the largest, as far
    as they fit.
    """

    def fitting(candidates: list[str]) -> list[str]:
        shown: list[str] = []
        for eps in sorted(candidates, key=lambda other: (other != "0", -place[other])):
            x, wide = x_of(place[eps], last), len(texts[eps])
            if all(
                abs(x_of(place[other], last) - x) >= LETTER * (len(texts[other]) + wide) / 2 + APART for other in shown
            ):
                shown.append(eps)
        return shown

    everything = fitting(list(place))
    halves = [eps for eps in place if eps == "0" or abs((last - place[eps]) - round(last - place[eps])) < 0.05]
    return everything if len(everything) == len(place) else fitting(halves)


def _median(facts: Facts, panel: Panel, role: str, calibration: str, place: dict[str, float]) -> list[Markup]:
    """The median distance of the nearest examples, where it was searched: from the level of 50 % down to the axis."""
    wanted = ("zero_shot", "median_norm", role, calibration)
    rows = [row for row in facts.of(panel) if (row.task, row.metric, row.threat_model, row.calibration) == wanted]
    smallest = min((Epsilon.from_table(eps).value for eps in place if Epsilon.from_table(eps).value > 0), default=0.0)
    parts = []
    for row in rows[:1]:
        at = Epsilon.from_table(f"{row.value}{Epsilon.from_table(row.eps).unit}").value
        if isfinite(at) and at > smallest > 0:
            x = x_of(1 + log2(at / smallest), max(place.values()))
            parts.append(element("line", x1=x, x2=x, y1=y_of(50), y2=y_of(0), class_=f"median {role}"))
            parts.append(
                element("text", f"median {cell(row)}", x=x + 4, y=y_of(50) - 3, class_=f"tick median-label {role}")
            )
    return parts


def _chance(chance: float | None) -> list[Markup]:
    if chance is None:
        return []
    y = y_of(chance)
    line = element("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="chance")
    return [line, element("text", f"chance {chance:.3g} %", x=LEFT + 4, y=y - 3, class_="tick chance-label")]


def _gap(lines: dict[str, list[tuple[float, Row]]]) -> Markup:
    """The area between replayed and adaptive: what only seemed to survive."""
    upper, lower = dict(lines.get("replayed", [])), dict(lines.get("adaptive", []))
    shared = [x for x in upper if x in lower]
    if len(shared) < 2:
        return Markup("")
    outline = [(x, y_of(upper[x].value)) for x in shared] + [(x, y_of(lower[x].value)) for x in reversed(shared)]
    return element("path", d=path(outline, close=True), class_="gap")


def _band(line: list[tuple[float, Row]], role: str) -> Markup:
    outline = [(x, y_of(row.ci_high)) for x, row in line] + [(x, y_of(row.ci_low)) for x, row in reversed(line)]
    return element("path", d=path(outline, close=True), class_=f"band {role}")


def _point(x: float, row: Row, role: str, scale: float) -> Markup:
    where = "clean" if row.threat_model == "clean" else f"{role} at {row.eps}"
    title = f"{where}: {cell(row)} % [{interval(row)}], n = {row.n}"
    return element("g", mark(role, title), transform=f"translate({x:.2f} {y_of(row.value):.2f}) scale({scale:g})")
