"""The gate as continuous integration calls it: exit codes, texts, files."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from written_runs import CLEAN, share, write_run

from ironbind.__main__ import main
from ironbind.core.results import UNCHECKED, Check
from ironbind.gate.paired_drop import Change, change_of

RIGHT = {"clean": 46, "adaptive": 36, "replayed": 44}
ROWS = [
    share(RIGHT["clean"], 48, **CLEAN),
    share(RIGHT["adaptive"], 48),
    share(RIGHT["replayed"], 48, threat_model="replayed"),
]


@pytest.fixture
def gate(tmp_path, monkeypatch, capsys):
    """Runs `ironbind gate` in an empty folder: its exit code and what it printed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["ironbind", "gate", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        return end.value.code or 0, printed.out + printed.err

    return run


@pytest.fixture
def run(tmp_path):
    return write_run(tmp_path / "run", ROWS)


def test_met(gate, run):
    code, printed = gate(run, "--require", "image 4/255 adaptive >= 60", "--require", "image clean >= 85")
    assert code == 0
    assert printed.splitlines()[-1] == "gate: met (2 requirements, no failed check)"
    assert "75.0 (95 %: 61.2 to 85.1, n = 48)" in printed


def test_missed_by_chance(gate, run):
    """The number is above the threshold, the lower end of its interval is not; as measured it would be met."""
    code, printed = gate(run, "--require", "image 4/255 adaptive >= 70")
    assert code == 1
    assert "may be chance: 323 samples of the same share would show it" in printed
    assert gate(run, "--require", "image 4/255 adaptive >= 70", "--compare", "value")[0] == 0
    code, printed = gate(run, "--require", "image 4/255 adaptive >= 80")
    assert code == 1
    assert "chance" not in printed


@pytest.mark.parametrize(("threshold", "code"), [(86, 0), (85, 1), (75, 1)])
def test_upper_bounds(gate, run, threshold, code):
    assert gate(run, "--require", f"image 4/255 adaptive <= {threshold}")[0] == code


def test_a_failed_check_fails(gate, tmp_path):
    """Whatever it is about; where it touches the number, that is said too."""
    failed = Check("C16", "an unbounded attack succeeds", "fail", "12 % stand", "image pixels zero_shot")
    warned = Check("C13", "optimisation has finished", "warn", "too short")
    run = write_run(tmp_path / "run", ROWS, [failed, warned])
    code, printed = gate(run, "--require", "image 4/255 adaptive >= 60")
    assert code == 1
    assert "FAIL  check C16 an unbounded attack succeeds (image pixels zero_shot): 12 % stand" in printed
    assert printed.splitlines()[-1] == "gate: not met (1 failed check)"
    touched = write_run(tmp_path / "touched", [replace(ROWS[1], checks="C13:warn C16:fail")], [failed])
    assert "failed: C16" in gate(touched, "--require", "image 4/255 adaptive >= 60")[1]
    only_warned = write_run(tmp_path / "warned", [replace(ROWS[1], checks="C13:warn")], [warned])
    assert gate(only_warned, "--require", "image 4/255 adaptive >= 60")[0] == 0


@pytest.mark.parametrize("wanted", ["adaptive", "replayed"])
@pytest.mark.parametrize("threshold", [">= 0", "> -1", "<= 100"])
def test_replayed_numbers_meet_nothing(gate, tmp_path, wanted, threshold):
    run = write_run(tmp_path / "replayed", [ROWS[0], ROWS[2]])
    code, printed = gate(run, "--require", f"image 4/255 {wanted} {threshold}")
    assert code == 1
    assert ("can never meet a requirement" if wanted == "replayed" else "meets no requirement") in printed


def test_unchecked_numbers_meet_nothing(gate, tmp_path):
    run = write_run(tmp_path / "unchecked", [replace(row, checks=UNCHECKED) for row in ROWS])
    code, printed = gate(run, "--require", "image 4/255 adaptive >= 60")
    assert code == 1
    assert "no check was run on this number" in printed
    assert gate(run, "--require", "image clean >= 85")[0] == 0


def test_what_was_not_measured(gate, run):
    for text, said in (
        ("image 8/255 adaptive >= 1", "eps 0, 4/255"),
        ("image/latent 4/255 adaptive >= 1", "space pixels"),
        ("image 4/255 transfer >= 1", "the run holds adaptive 75.0; replayed 91.7"),
        ("thermal 4/255 adaptive >= 1", "nothing, but image"),
    ):
        code, printed = gate(run, "--require", text)
        assert code == 1
        assert f"not measured: {'' if 'transfer' in text else 'of '}" in printed
        assert said in printed


def test_every_row_has_to_meet_it(gate, tmp_path):
    run = write_run(tmp_path / "two", [*ROWS, share(3, 48, calibration="fare")])
    assert gate(run, "--require", "image 4/255 adaptive >= 60")[0] == 1
    assert gate(run, "--require", "image 4/255 adaptive calibration=hardened >= 60")[0] == 0


# ------------------------------------------------------------------------------------------------------------ baseline


def test_the_same_run_has_lost_nothing(gate, run):
    code, printed = gate(run, "--baseline", run, "--max-drop", "0")
    assert code == 0
    assert printed.splitlines()[-1] == "gate: met (2 comparisons, no failed check)"  # clean and adaptive, not replayed


def test_a_loss_against_a_baseline(gate, tmp_path):
    """Ten samples lost, one won of 500: 1.8 points, at most 2.2."""
    earlier = write_run(tmp_path / "earlier", [share(400, 500)])
    now = write_run(tmp_path / "now", [share(391, 500)], ranks={0: [2] * 10 + [1] * 391 + [2] * 99})
    options = (now, "--baseline", earlier, "--max-drop")
    code, printed = gate(*options, "2")
    assert code == 1
    assert "+1.8 points lost (95 %: +0.4 to +2.2): 10 samples lost, 1 won of 500, McNemar p = 0.012" in printed
    assert "too few samples to show that no more is lost" in printed
    assert gate(*options, "2.2")[0] == 0
    assert gate(*options, "2", "--compare", "value")[0] == 0
    assert gate(*options, "1", "--compare", "value")[0] == 1


def test_required_numbers_and_their_clean_ones_are_compared(gate, tmp_path):
    others = [share(20, 48, eps="8/255"), share(10, 48, calibration="none", threat_model="whitebox")]
    run = write_run(tmp_path / "run", [*ROWS, *others])
    *lines, _ = gate(run, "--require", "image 4/255 adaptive >= 60", "--baseline", run, "--max-drop", 1)[1].splitlines()
    assert len(lines) == 3
    assert "[image/pixels clean, tiny with hardened]" in lines[1] + lines[2]


def test_changes_by_hand():
    before, after = {"a": 1, "b": 1, "c": 7, "d": 2}, {"a": 1, "b": 2, "c": 1, "d": 3}
    assert change_of(before, after, 1) == Change(1, 1, 4)
    assert change_of(before, after, 5) == Change(0, 1, 4)
    assert Change(0, 0, 9).drop == (0, 0, 0)
    value, low, high = Change(3, 1, 8).drop
    assert value == 25
    assert low < 0 < high <= 50


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere", "--require", "image clean >= 1"], "result.json does not exist"),
        (["run"], "nothing is required"),
        (["run", "--require", "image"], "cannot be read"),
        (["run", "--baseline", "run"], "--max-drop POINTS is missing"),
        (["run", "--max-drop", "1"], "--baseline RUN is missing"),
        (["run", "--baseline", "run", "--max-drop", "-1"], "-1"),
        (["run", "--baseline", "nowhere", "--max-drop", "1"], "result.json does not exist"),
        (["run", "--baseline", "other_data", "--max-drop", "1"], "is about other data"),
        (["run", "--baseline", "other_rows", "--max-drop", "1"], "holds none of the numbers"),
        (["run", "--baseline", "fewer", "--max-drop", "1"], "shares 40 of 48 samples"),
        (["run", "--baseline", "no_verdicts", "--max-drop", "1"], "verdicts.csv does not exist"),
        (["run", "--baseline", "no_table", "--max-drop", "1"], "is no table of verdicts"),
        (["run", "--require", "image clean >= 1", "--compare", "luck"], "expected interval or value"),
        (["run", "--require", "image clean >= 1", "--json", "run"], "run"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(gate, run, tmp_path, arguments, said):
    other = write_run(tmp_path / "other_data", ROWS)
    text = (other / "result.json").read_text().replace('"data_fingerprint": "same"', '"data_fingerprint": "other"')
    (other / "result.json").write_text(text)
    write_run(tmp_path / "other_rows", [replace(row, encoder="other") for row in ROWS])
    write_run(tmp_path / "fewer", [replace(row, n=40) for row in ROWS])
    (write_run(tmp_path / "no_verdicts", ROWS) / "verdicts.csv").unlink()
    (write_run(tmp_path / "no_table", ROWS) / "verdicts.csv").write_text("sample,rank\na,1\n")
    code, printed = gate(*arguments)
    assert code == 2
    assert said in printed
    assert len(printed.splitlines()) == 1


# --------------------------------------------------------------------------------------------------------------- files


def test_settings_of_a_project(gate, run, tmp_path):
    project = tmp_path / "pyproject.toml"
    project.write_text('[tool.ironbind.gate]\nrequire = ["image 4/255 adaptive >= 70"]\ncompare = "value"\n')
    assert gate(run)[0] == 0
    assert gate(run, "--compare", "interval")[0] == 1
    assert gate(run, "--require", "image 4/255 adaptive >= 80")[0] == 1  # instead of the project's
    project.write_text('[tool.ironbind.gate]\nbaseline = "run"\nmax-drop = 0\n')
    assert gate(run)[0] == 0
    for wrong, said in (
        ('requires = "x"', "has the key 'requires'"),
        ('require = "x"', "expected a list"),
        ("require = [1]", "expected a list"),
        ("baseline = 1", "expected the folder"),
        ('max-drop = "2"', "no number of points"),
        ("max-drop = true", "no number of points"),
        ('compare = "luck"', "expected interval or value"),
        ("require = [", "is no TOML"),
    ):
        project.write_text(f"[tool.ironbind.gate]\n{wrong}\n")
        code, printed = gate(run)
        assert (code, len(printed.splitlines())) == (2, 1)
        assert said in printed
        assert "pyproject.toml" in printed


def test_files(gate, tmp_path):
    """All three say what the exit code says, and hold names that are markup elsewhere."""
    evil = "<b>|`*\x01"
    failed = Check("C4", "the encoder is deterministic", "fail", f"differs {evil}", "image pixels")
    rows = [replace(row, encoder=evil) for row in ROWS]
    run = write_run(tmp_path / "run", rows, [failed])
    require = ("--require", "image 4/255 adaptive >= 70", "--require", "image clean >= 50")
    files = ("--json", "out/gate.json", "--junit", "out/gate.xml", "--markdown", "out/gate.md")
    code, printed = gate(run, *require, *files)
    assert code == 1
    report = json.loads((tmp_path / "out/gate.json").read_text())
    assert report["met"] is False
    assert report["verdict"] == printed.splitlines()[-1]
    assert [(each["require"], each["met"]) for each in report["requirements"]] == [
        ("image 4/255 adaptive >= 70", False), ("image clean >= 50", True),
    ]  # fmt: skip
    assert report["requirements"][0]["compared"] == pytest.approx(61.2, abs=0.1)
    assert report["requirements"][0]["row"]["encoder"] == evil
    assert [check["code"] for check in report["failed_checks"]] == ["C4"]

    suites = ElementTree.parse(tmp_path / "out/gate.xml").getroot()
    (suite,) = suites
    assert (suites.tag, suite.tag, suite.get("tests"), suite.get("failures")) == ("testsuites", "testsuite", "3", "2")
    assert [case.find("failure") is not None for case in suite] == [True, False, True]
    assert "<b>|`*" in suite[0].get("name")

    comment = (tmp_path / "out/gate.md").read_text()
    assert comment.startswith("### ❌ ironbind gate: not met (1 of 2 requirements, 1 failed check)\n")
    assert "<b>" not in comment
    assert comment.count("\n| ✅ |") == comment.count("\n| ❌ |") == 1


def test_a_comment_stays_short(gate, tmp_path):
    rows = [share(40, 48, eps=f"{number}/255") for number in range(1, 200)]
    run = write_run(tmp_path / "run", rows)
    gate(run, *(f"--require=image {row.eps} adaptive >= 99" for row in rows), "--markdown", "gate.md")
    comment = (tmp_path / "gate.md").read_text()
    assert len(comment) < 8000
    assert "And 179 more in the JSON report." in comment
