"""Markdown tables, written in one place for reports, model cards and docs."""

import re
from collections.abc import Iterable, Sequence

_BARE_BAR = re.compile(r"(?<!\\)\|")


def markdown_table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A GitHub table, without a line end behind it. A bar within a cell is escaped unless it is already; the rest may be Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_BARE_BAR.sub(r"\|", str(cell)) for cell in line) + " |" for line in lines)
