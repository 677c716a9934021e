"""Numbers of single attacks are called a quick look wherever they are shown; those of the ensemble are not."""

import pytest

from ironbind.core.results import Result, Row, quick_look
from ironbind.report.markdown import by_epsilon, headline_table
from ironbind.report.panels import Facts
from ironbind.report.pivots import pivots
from ironbind.report.terminal import summary

SINGLE = "pgd20-margin+pgd20-ce"
ENSEMBLE = "bindattack-standard"


def row(attack: str, threat_model: str = "whitebox") -> Row:
    clean = threat_model == "clean"
    return Row(
        "e", "none", "image", "pixels", "zero_shot", "top1", "none" if clean else attack, "none" if clean else "linf",
        "0" if clean else "4/255", threat_model, 50.0, 40.0, 60.0, 64,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("attack", "quick"),
    [
        (SINGLE, True), ("apgd100x5-ce", True), ("fgsm-margin", True), (ENSEMBLE, False),
        (f"{ENSEMBLE}+{SINGLE}", False), ("fmn100-margin+fmn100-dlr", False), ("universal", False), ("mine", False),
    ],
)  # fmt: skip
def test_what_is_a_quick_look(attack, quick):
    assert quick_look(row(attack)) == quick
    assert quick_look(row(attack, "adaptive"), None) == quick
    assert not quick_look(row(attack, "transfer"), row(attack, "clean"), None)


@pytest.mark.parametrize(("attack", "times"), [(SINGLE, True), (ENSEMBLE, False)])
def test_tables_say_so(attack, times, tmp_path):
    rows = [row(attack, "clean"), row(attack)]
    facts = Facts(rows)
    assert ("attacked (quick look)" in headline_table(facts)) == times
    assert (f"whitebox ({attack}, quick look)" in "".join(by_epsilon(facts, pivots(facts, retrieval=False)))) == times
    Result("run", rows).write(tmp_path)
    assert ("(quick look)" in summary(tmp_path)) == times
