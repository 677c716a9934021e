"""A run into a folder that was used before: what stays, what is replaced, and that it is said."""

import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace

import pytest

from ironbind.attacks import PGD
from ironbind.core.results import Result
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.job import CheckSpec, Job
from ironbind.runs.run_jobs import run_jobs
from ironbind.runs.used_folder import digest, used_folder
from ironbind.types import InputError, Linf
from toys import Conv, ToyData

JOB = Job(
    "image",
    attacks=(PGD(steps=2),),
    budgets={"pixels": (Linf("2/255"),)},
    gallery_items=0,
    checks=CheckSpec("a test"),
)
OTHER_RADIUS = replace(JOB, budgets={"pixels": (Linf("8/255"),)})
OTHER_DATA = replace(JOB, data=DataSpec("folder", "elsewhere"))


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    encoder = Conv()
    monkeypatch.setattr(encoder_spec, "_loaded", lambda name, options: encoder)
    monkeypatch.setattr(data_spec, "load_dataset", lambda name, path=None, **_: ToyData(8, seed=int(name == "folder")))


def said(capsys) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("ironbind: ")]


def test_a_new_folder_needs_no_word(tmp_path, capsys):
    run_jobs([JOB], tmp_path / "run")
    assert said(capsys) == []
    record = Result.read(tmp_path / "run").record
    assert record["jobs_sha256"] == digest([JOB])
    assert not {"replaced", "verdicts_stored_before"} & set(record)


def test_the_same_audit_goes_on(tmp_path, capsys):
    run_jobs([JOB], tmp_path / "run")
    first = (tmp_path / "run" / "table.csv").read_bytes()
    run_jobs([replace(JOB, batch_size=3)], tmp_path / "run")
    (line,) = said(capsys)
    assert line.endswith(
        "run: the same audit as before; 16 stored verdicts stay, and those that apply are not computed again"
    )
    assert (tmp_path / "run" / "table.csv").read_bytes() == first
    record = Result.read(tmp_path / "run").record
    assert record["verdicts_stored_before"] == 16
    assert "replaced" not in record


@pytest.mark.parametrize("other", [OTHER_RADIUS, OTHER_DATA], ids=["other radii", "other data"])
def test_another_audit_says_what_it_replaces(tmp_path, capsys, other):
    run_jobs([JOB], tmp_path / "run")
    run_jobs([other], tmp_path / "alone")
    run_jobs([other], tmp_path / "run")
    (line,) = said(capsys)
    assert "run holds another audit (5 rows of 20" in line
    assert "image at 2/255); this run replaces table, report and gallery when it ends; 16 stored verdicts stay" in line
    again, alone = Result.read(tmp_path / "run"), Result.read(tmp_path / "alone")
    assert again.rows == alone.rows  # nothing of the first run is left in the table
    assert "image at 2/255" in again.record["replaced"]
    for passes in ("gradient_passes", "forward_passes"):
        assert again.record[passes] <= alone.record[passes]  # clean verdicts may have been there already
        assert again.record[passes] > 0 or passes == "forward_passes"
    # and the first one's verdicts are still there
    run_jobs([JOB], tmp_path / "run")
    assert Result.read(tmp_path / "run").record["verdicts_stored_before"] == (24 if other == OTHER_RADIUS else 32)


def test_a_run_that_cannot_start_says_nothing_of_it(tmp_path, capsys):
    """A mistake is one line; nothing is replaced then."""
    run_jobs([JOB], tmp_path)
    before = (tmp_path / "result.json").read_bytes()
    capsys.readouterr()
    with pytest.raises(InputError, match="no-such-folder"):
        run_jobs([replace(OTHER_RADIUS, encoder=EncoderSpec(heads=str(tmp_path / "no-such-folder")))], tmp_path)
    assert said(capsys) == []
    assert (tmp_path / "result.json").read_bytes() == before


def test_a_run_that_was_stopped_before_its_first_result(tmp_path):
    VerdictStore(tmp_path).close()
    used = used_folder(tmp_path, [JOB], 7)
    assert used.lines == (f"{tmp_path}: 7 stored verdicts stay, and those that apply are not computed again",)


def test_results_of_an_earlier_version_and_damaged_ones(tmp_path):
    run_jobs([JOB], tmp_path)
    path = tmp_path / "result.json"
    raw = json.loads(path.read_text())
    del raw["record"]["jobs_sha256"]
    path.write_text(json.dumps(raw))
    (line,) = used_folder(tmp_path, [JOB], 0).lines
    assert "holds an audit of an earlier version or of Python code (5 rows" in line
    path.write_text("{")
    (line,) = used_folder(tmp_path, [JOB], 0).lines
    assert "holds a result that cannot be read" in line


def test_the_digest_is_that_of_every_process(tmp_path):
    """Sets and addresses of functions must not enter it."""
    code = (
        "from ironbind.runs.job import Job; from ironbind.runs.used_folder import digest\n"
        "print(digest([Job('image', about={'made by': print, 'by': lambda x: x})]))"
    )
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    here = io.StringIO()
    with redirect_stdout(here):
        exec(code, {"__name__": "__main__"})
    assert here.getvalue() == there != ""
    assert digest([JOB]) != digest([OTHER_RADIUS])
    assert digest([JOB]) != digest([JOB, OTHER_DATA])
