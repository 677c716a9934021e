"""Tables are Markdown, and go between their own marks of a page."""

import pytest

from ironbind.core.markdown_tables import between, inside, markdown_table, put
from ironbind.types import InputError

PAGE = "before\n<!-- a: begin -->\nold a\n<!-- a: end -->\nkeep\n<!-- b: begin -->\nold b\n<!-- b: end -->\nafter\n"


def test_bars_in_cells_are_escaped_once():
    assert markdown_table(("a", "b"), [(1, r"x|y\|z")]).splitlines() == [
        "| a | b |",
        "| --- | --- |",
        r"| 1 | x\|y\|z |",
    ]


def test_a_part_is_written_between_its_own_marks_alone(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    put(page, "a", "new")
    once = page.read_text()
    assert once == PAGE.replace("\nold a\n", "\n\nnew\n\n")
    assert between(once, "a", "new") == once
    assert inside(once, "a") == "new"


@pytest.mark.parametrize(
    "page", ["no marks", PAGE + PAGE, "<!-- a: end --> <!-- a: begin -->"], ids=["none", "twice", "turned round"]
)
def test_a_page_without_one_pair_of_marks_is_one_line(page):
    with pytest.raises(InputError, match="expected one pair of marks <!-- a: begin --> ... <!-- a: end -->"):
        between(page, "a", "new")
    with pytest.raises(InputError, match="expected one pair of marks <!-- a: begin --> ... <!-- a: end -->"):
        inside(page, "a")
