"""The table of controls: the docs hold it as it is, its codes and checks exist."""

import re
from pathlib import Path

from ironbind.core.markdown_tables import between
from ironbind.core.results import THREAT_MODELS
from ironbind.evaluate.checks import CHECKS
from ironbind.evidence.controls import AISVS, ATLAS, controls_markdown

PAGE = Path(__file__).parents[2] / "docs" / "evidence.md"


def test_the_page_holds_the_tables():
    page = PAGE.read_text(encoding="utf-8")
    assert between(page, "controls", controls_markdown()) == page


def test_what_they_name_exists():
    text = controls_markdown()
    assert set(re.findall(r"\bC\d+[a-z]?\b", text)) - {"C11"} <= set(CHECKS)
    rows = set(re.findall(r"rows? ((?:`\w+`(?:, | and | beside )?)+)", text))
    named = {name for group in rows for name in re.findall(r"`(\w+)`", group)}
    assert named
    assert named <= set(THREAT_MODELS)


def test_what_is_not_covered_is_said():
    assert sum("not covered" in line for line in (*(line[2] for line in AISVS), *(line[2] for line in ATLAS))) >= 8
    assert all(re.fullmatch(r"AML\.T\d{4}(\.\d{3})?", line[0]) for line in ATLAS)
