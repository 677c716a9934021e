"""docs/datasets.md names every layout, and every option it has beyond the common ones."""

import re
from pathlib import Path

import pytest

from ironbind.data import DATASETS

PAGE = (Path(__file__).parents[2] / "docs" / "datasets.md").read_text(encoding="utf-8")
ROWS = {found[1]: line for line in PAGE.splitlines() if (found := re.match(r"\| `(\w+)` \|", line))}
COMMON = {"classes", "limit", "seed", "skip_unreadable"}


def test_the_page_lists_the_table():
    assert set(ROWS) == set(DATASETS)


@pytest.mark.parametrize("name", [one for one in DATASETS if one != "world"])
def test_every_option_is_on_the_page(name):
    options = set(DATASETS[name].own_options)
    told = set(re.findall(r"`(\w+)`", ROWS[name]))
    if name in ("esc50", "urbansound8k"):
        options -= {"split"}  # which they only have to say that there is none
    assert options <= told, f"docs/datasets.md lacks {sorted(options - told)} of {name}"


def test_the_common_options_are_those_of_every_layout():
    for name in DATASETS:
        if name != "world":
            assert set(DATASETS[name].options) >= COMMON, name


def test_there_is_room_for_measurements():
    assert PAGE.index("<!-- loaders: begin -->") < PAGE.index("<!-- loaders: end -->")
