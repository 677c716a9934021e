"""Tables that a spreadsheet opens: no cell is a formula, numbers are numbers, and nothing is lost."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ironbind.core.tables.csv_text import cell_text, csv_cell, csv_text

FORMULAS = [
    "=1+1",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    " =1",
    "=",
    "-",
    "＝1",
    "-5dB",
]
NUMBERS = ["-0.25", "+1", "-1e-05", "-inf", "nan", "3", ".5", "-.5"]


def starts_a_formula(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return cell.lstrip(" ")[:1] in tuple("=+-@\t\r\n＝＋－＠")
    return False


@pytest.mark.parametrize("cell", FORMULAS)
def test_formulas_become_text(cell):
    assert starts_a_formula(cell)
    assert csv_cell(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", [*NUMBERS, -1.5, 0, "pgd20", "4/255", "a=b", "it's", "'quoted'", "", "'"])
def test_numbers_and_plain_text_stay(cell):
    assert csv_cell(cell) == cell


@given(st.lists(st.text(alphabet="'=+-@ \t\r\nab1.;,\"＝", max_size=6), min_size=2, max_size=2))
def test_any_table_is_harmless_and_reads_back(cells):
    (_, written) = csv.reader(io.StringIO(csv_text(("first", "second"), [cells]), newline=""))
    assert not any(map(starts_a_formula, written))
    assert [cell_text(cell) for cell in written] == cells
