"""docs/checks.md says what the code says."""

from dataclasses import replace

import false_alarms
import pytest

from ironbind.core.markdown_tables import between
from ironbind.core.results import Check
from ironbind.evaluate.checks import CHECKS
from ironbind.selftest.broken_encoders import ZOO
from ironbind.selftest.selftest import Trial


@pytest.mark.parametrize(
    ("part", "text"),
    [("checks", false_alarms.checks_table()), ("zoo", false_alarms.zoo_table())],
    ids=["checks", "zoo"],
)
def test_the_page_is_current(part, text):
    """Otherwise: .venv/bin/python benchmarks/false_alarms.py tables"""
    page = false_alarms.PAGE.read_text(encoding="utf-8")
    assert between(page, part, text) == page


def test_every_check_is_explained():
    text = false_alarms.checks_table()
    assert len(text.splitlines()) == 2 + len(CHECKS)
    for code, one in CHECKS.items():
        (line,) = (line for line in text.splitlines() if line.startswith(f"| {code} |"))
        assert one.name in line
        assert one.fails or one.warns
        assert one.source
        assert one.about in ("answers", "gradients", "attack", "number")
        assert len((one.find.__doc__ or "").split()) >= 8  # what it asks
    assert all(f"`{name}`" in false_alarms.zoo_table() for name in ZOO)


def test_measured_tables_were_written_and_found_no_fault():
    page = false_alarms.PAGE.read_text(encoding="utf-8")
    found = page.split("<!-- found: begin -->")[1].split("<!-- found: end -->")[0]
    assert all(f"`{name}`" in found for name in ZOO)
    assert "**no**" not in found
    sound = page.split("<!-- sound: begin -->")[1].split("<!-- sound: end -->")[0]
    assert sound.count("| bindattack standard |") == len(false_alarms.FULL)


def test_tables_tell_an_alarm_from_silence():
    failed, skipped = Check("C4", "", "fail", ""), Check("C20", "", "skipped", "")
    loud = false_alarms.Tally("default attacks", "image", [[failed, skipped], [failed]])
    assert loud.row() == ("image", "default attacks", 2, 2, "C4 (fail) in 2")
    assert false_alarms.Tally("a", "b", [[Check("C4", "", "pass", "")]]).row()[-1] == "none"
    trial = Trial("image", "pixels", "noisy", ("C4",), {"C4": "fail", "C7": "warn"}, True, "90 %")
    found = false_alarms.found_table([trial, replace(trial, modality="video", rang={}, passed=False)])
    assert "| `noisy` | C4 | **C4** C7 | –: **not as it must** |" in found
    assert found.endswith("1 of 2 trials came out as they must.")
