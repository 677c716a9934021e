"""Tables of the comparisons, and how their numbers are written."""

import math
from collections.abc import Iterable, Sequence

from ironbind.core.markdown_tables import markdown_table


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a row that ends early ends in blanks. Raises ValueError for one that is too wide."""
    filled = []
    for row in rows:
        if len(row) > len(header):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(header)}: {row}")
        filled.append([*row, *[""] * (len(header) - len(row))])
    return markdown_table(header, filled)


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
