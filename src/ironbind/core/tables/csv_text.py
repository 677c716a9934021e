"""CSV text that no spreadsheet takes for a formula: the one place where tables are written. Torch-free.

A cell of text that begins with `=`, `+`, `-`, `@`, a tab or a line end would be run by a spreadsheet (OWASP, "CSV
injection"); file names, classes and captions come from data that others made. Such a cell gets an apostrophe in front,
which spreadsheets take for "this is text". Numbers stay numbers.
"""

import re
from collections.abc import Iterable, Sequence

_FORMULA = re.compile(r"'*\s*?[\t\r\n=+\-@\uff1d\uff0b\uff0d\uff20]")  # the last four: full-width forms
_SPECIAL = re.compile(r'[,"\r\n]')
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|inf|nan)")


def csv_text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV text: lines end with a line feed, cells are `csv_cell`."""
    return "".join(",".join(_quoted(str(csv_cell(cell))) for cell in row) + "\n" for row in (head, *rows))


def _quoted(cell: str) -> str:
    """RFC 4180; Python's own writer leaves a carriage return bare when lines end with a line feed."""
    return '"{}"'.format(cell.replace('"', '""')) if _SPECIAL.search(cell) else cell


def csv_cell(cell: object) -> object:
    """A cell that starts no formula; numbers and harmless text as they are. `cell_text` is the inverse."""
    if not isinstance(cell, str) or _NUMBER.fullmatch(cell) or not _FORMULA.match(cell):
        return cell
    return f"'{cell}"


def cell_text(cell: str) -> str:
    """The text that `csv_cell` was given, of a cell of a table that `csv_text` wrote."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
