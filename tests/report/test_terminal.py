"""The lines at the end of a run: which radius they show, and what they say when a number is missing."""

import pytest

from ironbind.core.default_budgets import default_budgets, headline_index
from ironbind.core.results import Check, Result, Row
from ironbind.report.terminal import summary
from ironbind.types import Linf

WAVES = default_budgets("waveform")


def row(threat_model: str, eps: str, value: float, space: str = "pixels", calibration: str = "none") -> Row:
    attacked = ("none", "none") if threat_model == "clean" else ("pgd", "linf")
    return Row(
        "toy", calibration, "image", space, "zero_shot", "top1", *attacked, eps, threat_model, value, 0.0, 100.0, 40
    )


def said(folder, rows: list[Row]) -> str:
    Result("run", rows).write(folder)
    return summary(folder)


@pytest.mark.parametrize(
    ("space", "budgets", "shown"),
    [
        ("pixels", default_budgets("pixels"), "4/255"),
        ("waveform", WAVES, WAVES[2].written),
        ("pixels", (Linf("2/255"), Linf("4/255")), "4/255"),
        ("pixels", (Linf("4/255"), Linf("8/255"), Linf("16/255"), Linf("32/255")), "4/255"),
        ("pixels", (Linf("1/255"), Linf("2/255"), Linf("3/255"), Linf("16/255")), "16/255"),
        ("waveform", (Linf("1/255"), Linf("4/255"), Linf("8/255")), "8/255"),  # 4/255 means something else there
    ],
)
def test_the_summary_shows_the_gallerys_radius(space, budgets, shown, tmp_path):
    rows = [
        row("clean", "0", 90.0, space),
        *(row("whitebox", one.written, 10.0 + at, space) for at, one in enumerate(budgets)),
    ]
    at = headline_index(budgets, space)
    assert budgets[at].written == shown
    assert said(tmp_path, rows).split() == ["image", space, "90.0", "%", "->", f"{10.0 + at}", "%", "at", shown]


def test_both_numbers_of_a_calibration_or_a_dash(tmp_path):
    rows = [row("clean", "0", 90.0), row("whitebox", "4/255", 20.0), row("replayed", "4/255", 70.0, calibration="l2")]
    assert said(tmp_path, rows).endswith("l2:  70.0 % replayed,     -   adaptive")
    assert said(tmp_path, [*rows, row("adaptive", "4/255", 21.0, calibration="l2")]).endswith(
        "l2:  70.0 % replayed,  21.0 % adaptive"
    )


def test_without_an_attack(tmp_path):
    assert said(tmp_path, [row("clean", "0", 90.0)]).split() == ["image", "pixels", "90.0", "%", "->", "-", "at", "0"]


def corrupted(attack: str, eps: str, value: float, norm: str = "severity", calibration: str = "none") -> Row:
    return Row(
        "toy",
        calibration,
        "image",
        "pixels",
        "zero_shot",
        "top1",
        attack,
        norm,
        eps,
        "corrupted",
        value,
        0.0,
        100.0,
        40,
    )


def test_corruptions_have_a_line_of_their_own(tmp_path):
    rows = [
        row("clean", "0", 90.0), corrupted("blur", "1", 80.0), corrupted("blur", "5", 60.0),
        corrupted("noise", "1", 70.0), corrupted("noise", "5", 30.0),
        corrupted("random_noise", "4/255", 89.0, "linf"), corrupted("random_noise", "8/255", 88.0, "linf"),
        corrupted("blur", "1", 75.0, calibration="l2"),
    ]  # fmt: skip
    plain, calibrated = said(tmp_path, rows).splitlines()
    assert (
        plain == "   image pixels        90.0 % ->  60.0 % under 2 corruptions (worst 30.0 %: noise 5), "
        "88.0 % under noise at 8/255"
    )
    assert calibrated == "   image pixels        90.0 % ->  75.0 % under 1 corruption (worst 75.0 %: blur 1)  l2"
    attacked, worn_too = said(tmp_path, [*rows[:-1], row("whitebox", "4/255", 5.0)]).splitlines()
    assert attacked.split()[-3:] == ["%", "at", "4/255"]
    assert worn_too == plain


def test_transferred_numbers_say_so(tmp_path):
    rows = [row("clean", "0", 90.0), row("transfer", "4/255", 40.0), row("clean", "0", 85.0, calibration="l2")]
    rows.append(row("transfer", "4/255", 45.0, calibration="l2"))
    assert said(tmp_path, rows).split() == [
        "image", "pixels", "90.0", "%", "->", "40.0", "%", "at", "4/255", "transferred", "l2:", "45.0", "%",
    ]  # fmt: skip


def test_warnings_about_data_are_said_first_of_all(tmp_path):
    many = [Check("data", f"doubt {number}", "warn", "x" * 500, "image pixels") for number in range(7)]
    Result("run", [row("clean", "0", 90.0)], checks=[*many, Check("data", "turned", "pass", "", "image")]).write(
        tmp_path
    )
    lines = summary(tmp_path).splitlines()[1:]
    assert [line[:22] for line in lines[:5]] == [f"  image data: doubt {number}: "[:22] for number in range(5)]
    assert lines[5:] == ["  and 2 more about data in the report"]
    assert max(map(len, lines)) < 300


def question(threat_model: str, value: float, task: str, metric: str) -> Row:
    attack, eps = (("none", "none"), "0") if threat_model == "clean" else (("bindattack-standard", "linf"), "4/255")
    return Row("toy", "none", "image", "pixels", task, metric, *attack, eps, threat_model, value, 0.0, 100.0, 40)


def test_retrieval_and_hubs_are_told_too(tmp_path):
    """A line each while there are few, means where there are many; mean ranks never."""
    few = [
        question(model, value, "retrieval:image->text", metric)
        for metric, model, value in (
            ("R@1", "clean", 90.0), ("mean_rank", "clean", 1.2), ("R@5", "clean", 99.0), ("R@1", "whitebox", 20.0),
        )
    ]  # fmt: skip
    line = "image pixels 90.0 % -> 20.0 % at 4/255 retrieval:image->text R@1"
    assert said(tmp_path / "few", few).split() == line.split()
    many = [
        question(model, value + at, f"hub:{at}->image", "resists")
        for at in range(6)
        for model, value in (("clean", 94.0), ("whitebox", 40.0))
    ]
    assert said(tmp_path / "many", many) == "     hub resists, means of 6: 96.5 % clean, 42.5 % attacked"
    assert said(tmp_path / "both", [row("clean", "0", 90.0), row("whitebox", "4/255", 20.0), *few]).count("\n") == 1
