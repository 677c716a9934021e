"""The page's drawings as SVG files of their own: several in a grid, each with its title, in the colours of the page's
style sheet.
"""

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from markupsafe import Markup

from ironbind.report.charts.svg import element, number

GAP, TITLE = 16, 24  # pixels between two drawings, and above each
_SECTIONS = ("marks, shared by every drawing", "curves")


class Titled(NamedTuple):
    """A drawing of `charts.svg.drawing` and what is written above it; `dark`: on the dark ground that point clouds are
    drawn for.
    """

    title: str
    drawing: Markup
    dark: bool = False


def svg_file(drawings: Sequence[Titled], columns: int, label: str) -> str:
    """The drawings in rows of `columns`, all in cells as large as the largest, as the text of an SVG file. `label`: its
    text alternative.
    """
    sizes = [_size(titled.drawing) for titled in drawings]
    cell = max(size[0] for size in sizes) + GAP, max(size[1] for size in sizes) + TITLE + GAP
    rows = -(-len(drawings) // columns)
    total = min(columns, len(drawings)) * cell[0] + GAP, rows * cell[1] + GAP
    cells = []
    for index, (titled, (w, h)) in enumerate(zip(drawings, sizes, strict=True)):
        x, y = GAP + index % columns * cell[0], GAP + index // columns * cell[1]
        cells.append(element("text", titled.title, x=x, y=y + TITLE - 8, class_="title"))
        if titled.dark:
            cells.append(element("rect", x=x, y=y + TITLE, width=w, height=h, fill="var(--stage)"))
        place = f'<svg x="{number(x)}" y="{number(y + TITLE)}" width="{number(w)}" height="{number(h)}"'
        cells.append(Markup(place + str(titled.drawing).removeprefix("<svg")))
    pattern = element(
        "pattern", element("rect", width=2, height=6, class_="hatch"), id="hatch", width=6, height=6,
        patternUnits="userSpaceOnUse", patternTransform="rotate(45)",
    )  # fmt: skip
    background = element("rect", width="100%", height="100%", fill="var(--page)")
    width, height = number(total[0]), number(total[1])
    return element(
        "svg", element("style", Markup(_style())), element("defs", pattern), background, *cells, role="img",
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", width=width, height=height,
        aria_label=label,
    )  # fmt: skip


def _size(drawing: Markup) -> tuple[float, float]:
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', drawing)[0]
    return float(width), float(height)


@cache
def _style() -> str:
    """Of the page's style sheet: its colours, light and dark, and what it says of marks and curves."""
    sheet = files("ironbind.report").joinpath("templates", "style.css").read_text(encoding="utf-8")
    colours = sheet[: sheet.index("*, *::before")]
    sections = [re.split(r"/\* [^*]+ \*/", sheet.split(f"/* {name} */")[1])[0] for name in _SECTIONS]
    return f"{colours}{''.join(sections)}.title {{ font: 600 14px var(--sans); fill: var(--ink); }}\n"
