"""Who is admitted to a leaderboard, in which order, and what the page and the JSON file say."""

import json
from dataclasses import replace

import pytest

from ironbind.core.errors import InputError
from ironbind.core.results import UNCHECKED, CalibrationRecord, Check, Result, Row
from ironbind.report.leaderboard import write_leaderboard

CLEAN = {"attack": "none", "norm": "none", "eps": "0", "threat_model": "clean"}
RECORD = CalibrationRecord(
    "hardened", "image", "pixels", "none", "objective", "pgd", "4/255", 200, 1000, 64, 1, 30.0, 20.0, 1.0, 0.5
)


def row(value: float, **columns) -> Row:
    defaults = {
        "encoder": "tiny", "calibration": "none", "modality": "image", "space": "pixels", "task": "zero_shot",
        "metric": "top1", "attack": "pgd20", "norm": "linf", "eps": "4/255", "threat_model": "whitebox",
    }  # fmt: skip
    return Row(**{**defaults, **columns}, value=value, ci_low=value - 5, ci_high=value + 5, n=48)


ROWS = [
    row(90, **CLEAN),
    row(3),
    row(88, calibration="hardened", **CLEAN),
    row(80, calibration="hardened", threat_model="replayed"),
    row(50, calibration="hardened", threat_model="adaptive"),
]


def write(folder, rows=ROWS, checks=(), stages=(RECORD,), **record):
    result = Result(folder.name, list(rows), calibrations=list(stages), checks=list(checks))
    result.record = {"data": "world", **record}
    result.write(folder)
    return folder


def board(tmp_path, *runs):
    page = write_leaderboard(runs, tmp_path / "board")
    return json.loads((tmp_path / "board" / "leaderboard.json").read_text()), page.read_text()


def test_entries(tmp_path):
    found, page = board(tmp_path, write(tmp_path / "run"))
    hardened, plain = found["entries"]
    assert found["not_admitted"] == []
    assert (hardened["calibration"], hardened["attacked"], hardened["threat_model"]) == ("hardened", 50, "adaptive")
    assert (hardened["clean"], hardened["replayed"], hardened["n"]) == (88, 80, 48)
    assert (hardened["trainable"], hardened["trainable_percent"], hardened["cpu_seconds"]) == (200, 20, 50)
    assert (plain["calibration"], plain["attacked"], plain["replayed"], plain["trainable"]) == ("none", 3, None, None)
    assert page.index("50.0") < page.index(">3.0<")
    for link in ("http:", "https:", '<link rel="stylesheet', "src="):
        assert link not in page


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"checks": "C13:warn C16:fail"}, "C16 failed"),
        ({"checks": UNCHECKED}, "no checks were run"),
        ({"threat_model": "replayed", "eps": "8/255"}, "replayed only: not attacked adaptively"),
    ],
)
def test_entries_apart(tmp_path, changed, reason):
    rows = [*ROWS[:4], replace(ROWS[4], **changed)]
    if "threat_model" in changed:
        rows = [ROWS[0], ROWS[1], ROWS[2], ROWS[3]]
    found, page = board(tmp_path, write(tmp_path / "run", rows))
    assert [entry["calibration"] for entry in found["entries"]] == ["none"]
    (apart,) = found["not_admitted"]
    assert apart["reasons"] == [reason]
    assert reason in page[page.index('id="apart"') :]
    assert reason not in page[: page.index('id="apart"')]


def test_a_training_of_several_stages_costs_all_of_them_and_trains_the_most(tmp_path):
    """The first stage alone would have promised 20 % of the parameters for 50 CPU seconds."""
    stages = [RECORD, replace(RECORD, trainable=1030, craft_seconds=400.0), replace(RECORD, trainable=40)]
    other = replace(RECORD, modality="audio", trainable=5000)
    found, page = board(tmp_path, write(tmp_path / "run", stages=[*stages, other]))
    (hardened,) = (one for one in found["entries"] if one["calibration"] == "hardened")
    assert (hardened["trainable"], hardened["trainable_percent"], hardened["cpu_seconds"]) == (1030, 103, 520)
    assert ">103 %<" in page


def test_a_warning_admits(tmp_path):
    rows = [*ROWS[:4], replace(ROWS[4], checks="C13:warn")]
    found, page = board(tmp_path, write(tmp_path / "run", rows))
    assert len(found["entries"]) == 2
    assert "C13:warn" in page


def test_a_failed_check_of_the_data(tmp_path):
    failed = Check("data", "labels are mixed up", "fail", "half of them", "image")
    found, _ = board(tmp_path, write(tmp_path / "run", checks=[failed]))
    assert found["entries"] == []
    assert {reason for entry in found["not_admitted"] for reason in entry["reasons"]} == {
        "check of the data failed: labels are mixed up"
    }


def test_several_runs_are_ranked_together(tmp_path):
    other = [replace(each, encoder="other", value=each.value - 10) for each in ROWS]
    found, page = board(tmp_path, write(tmp_path / "one"), write(tmp_path / "two", other))
    ranks = [(entry["encoder"], entry["attacked"]) for entry in found["entries"]]
    assert ranks == [("tiny", 50), ("other", 40), ("tiny", 3), ("other", -7)]
    assert "2 runs · 2 encoders" in page


def test_two_runs_may_hold_the_same_uncalibrated_numbers(tmp_path):
    own = [replace(row, calibration="mine") if row.calibration != "none" else row for row in ROWS]
    found, _ = board(tmp_path, write(tmp_path / "one"), write(tmp_path / "two", own))
    places = [(entry["encoder"], entry["calibration"]) for entry in found["entries"]]
    assert len(places) == len(set(places)) == 3


def test_what_is_refused(tmp_path):
    run = write(tmp_path / "run")
    for runs, out, said in (
        ([run, run], "board", "expected runs that do not overlap"),
        ([tmp_path / "nowhere"], "board", "does not exist"),
        ([run], "run", "holds a run"),
    ):
        with pytest.raises(InputError, match=said):
            write_leaderboard(runs, tmp_path / out)
    with pytest.raises(InputError, match="no zero-shot or retrieval number"):
        write_leaderboard([write(tmp_path / "clean", [ROWS[0]])], tmp_path / "board")


def test_names_are_no_markup(tmp_path):
    rows = [replace(each, encoder="<script>alert(1)</script>") for each in ROWS]
    _, page = board(tmp_path, write(tmp_path / "run", rows))
    assert "<script>alert" not in page
