"""Markdown tables, written in one place for reports, model cards and docs, and put into pages between marks, so that
no number is typed by hand.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from ironbind.core.errors import InputError

_BARE_BAR = re.compile(r"(?<!\\)\|")


def markdown_table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A GitHub table, without a line end behind it. A bar within a cell is escaped unless it is already; the rest may
    be Markdown.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_BARE_BAR.sub(r"\|", str(cell)) for cell in line) + " |" for line in lines)


def between(page: str, part: str, text: str) -> str:
    """The page with `text` between `<!-- part: begin -->` and `<!-- part: end -->`. Raises InputError unless it has
    both, once each, in order.
    """
    before, _, after = _around(page, part)
    return f"{before}\n\n{text}\n\n{after}"


def inside(page: str, part: str) -> str:
    """What `between` has put on the page. Raises InputError as it does."""
    return _around(page, part)[1].strip()


def _around(page: str, part: str) -> tuple[str, str, str]:
    """The page up to the first mark, with it; what is between; the second mark and all behind it."""
    begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1 or page.index(begin) > page.index(end):
        raise InputError(f"expected one pair of marks {begin} ... {end} on the page to write between")
    first, last = page.index(begin) + len(begin), page.index(end)
    return page[:first], page[first:last], page[last:]


def put(page: Path, part: str, text: str) -> None:
    """Writes `text` into the file, between the marks of the part. Raises InputError as `between` does."""
    page.write_text(between(page.read_text(encoding="utf-8"), part, text), encoding="utf-8")
