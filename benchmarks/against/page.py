"""Markdown tables, and the page they are written into, one pair of markers per comparison."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ironbind.types import InputError


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a row that ends early ends in blanks. Raises ValueError for one that is too wide."""
    lines = [f"| {' | '.join(header)} |", f"|{'---|' * len(header)}"]
    for row in rows:
        if len(row) > len(header):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(header)}: {row}")
        cells = [one.replace("|", "/") for one in row] + [""] * (len(header) - len(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def number(value: float, digits: int = 3) -> str:
    """`digits` significant digits without an exponent; "-" for what is not a number."""
    if not math.isfinite(value):
        return "-"
    if value == 0:
        return "0"
    places = max(digits - 1 - math.floor(math.log10(abs(value))), 0)
    return f"{value:.{places}f}"


def thousands(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def markers(part: str) -> tuple[str, str]:
    return f"<!-- peers {part}: begin -->", f"<!-- peers {part}: end -->"


def between(page: str, part: str, text: str) -> str:
    """The page with `text` between the markers of `part`. Raises InputError where the page has no such markers, in this order."""
    begin, end = markers(part)
    head, found, rest = page.partition(begin)
    _, closed, tail = rest.partition(end)
    if not found or not closed:
        raise InputError(f"the page has no markers {begin} ... {end} to write between")
    return f"{head}{begin}\n\n{text}\n\n{end}{tail}"


def write(path: Path, texts: Mapping[str, str]) -> None:
    """Puts each part's text between its markers."""
    page = path.read_text(encoding="utf-8")
    for part, text in texts.items():
        page = between(page, part, text)
    path.write_text(page, encoding="utf-8")
