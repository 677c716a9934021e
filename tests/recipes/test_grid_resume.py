"""Cells of the grid on real files, one of them killed with SIGKILL and run again: the assembled tables are those of
runs that nobody disturbed.
"""

import signal
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

import own_process
from ironbind.core.results import Result
from ironbind.recipes import AUDITS
from ironbind.recipes.request import AuditRequest
from ironbind.report import combine
from ironbind.runs.job import CheckSpec
from ironbind.runs.run_jobs import run_jobs
from layouts.tiny_clouds import EXAMPLES as CLOUDS
from layouts.tiny_sounds import sound, table
from own_process import exit_code, running, text

CLASSES = (("dog", 0), ("chirping_birds", 14), ("glass_breaking", 39))
REQUEST = AuditRequest(steps=5, batch_size=2)
# of the cell's calibrations one, and of its checks those without the black-box search
FUNCTION = """
from dataclasses import replace
from ironbind import CheckSpec, recipes
def esc50_l2(request):
    jobs = recipes.AUDITS["paper/esc50/tiny"](request, calibrations=("l2",))
    return [replace(job, checks=CheckSpec(black_box=None)) for job in jobs]
"""
ENOUGH = 14  # verdicts after which the killer strikes; the whole run has 48


@pytest.fixture
def disk(tmp_path, monkeypatch):
    rows = []
    for name, target in CLASSES:
        for fold in (1, 2, 3):
            for take in range(2):
                file = f"{fold}-{take}-A-{target}.wav"
                sound(
                    tmp_path / "data" / "esc50" / "audio" / file,
                    100 * target + 10 * fold + take,
                    rate=22050,
                    samples=22050,
                )
                rows.append([file, fold, target, name, False, 1, "A"])
    header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    table(tmp_path / "data" / "esc50" / "meta" / "esc50.csv", [header, *rows])
    CLOUDS["modelnet40"](tmp_path / "data" / "modelnet40")
    monkeypatch.setenv("IRONBIND_DATA", str(tmp_path / "data"))
    return tmp_path


def verdicts(out: Path) -> int:
    try:
        connection = sqlite3.connect(f"file:{out / 'verdicts.sqlite'}?mode=ro", uri=True)
        (count,) = connection.execute("SELECT COUNT(*) FROM verdict").fetchone()
        connection.close()
    except sqlite3.OperationalError:  # not there yet
        return 0
    return int(count)


def killed(function: Path, out: Path) -> None:
    """The cell as a process of its own, killed in the middle."""
    command = ("audit", f"{function}:esc50_l2", "--steps", "5", "--batch-size", "2", "--out", out)
    said = out.with_name("said")
    with running(own_process.ironbind, *command, said=said) as process:
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.is_alive() and verdicts(out) < ENOUGH:
            time.sleep(0.005)
        process.kill()
        assert exit_code(process) == -signal.SIGKILL, text(said)


@pytest.mark.bits
def test_a_killed_cell_goes_on_and_its_table_is_the_same(disk):
    (disk / "cells.py").write_text(FUNCTION)
    points = AUDITS["paper/modelnet40/tiny"](AuditRequest(steps=2), calibrations=())
    quick = [replace(job, checks=CheckSpec("not asked here", None), gallery_items=0) for job in points]
    run_jobs(quick, disk / "points")
    cell = AUDITS["paper/esc50/tiny"](REQUEST, calibrations=("l2",))
    cell = [replace(job, checks=CheckSpec(black_box=None)) for job in cell]
    run_jobs(cell, disk / "whole")
    killed(disk / "cells.py", disk / "cut")
    left = verdicts(disk / "cut")
    assert ENOUGH <= left < verdicts(disk / "whole")
    assert not (disk / "cut" / "result.json").exists()
    run_jobs(cell, disk / "cut")
    assert verdicts(disk / "cut") == verdicts(disk / "whole")
    assert (disk / "cut" / "table.csv").read_bytes() == (disk / "whole" / "table.csv").read_bytes()
    assert Result.read(disk / "cut").rows == Result.read(disk / "whole").rows
    combine([disk / "whole", disk / "points"], disk / "tables-whole")
    combine([disk / "cut", disk / "points"], disk / "tables-cut")
    for name in ("grid.tex", "grid.csv"):
        assert (disk / "tables-cut" / name).read_bytes() == (disk / "tables-whole" / name).read_bytes()
    one, other = (
        (disk / folder / "grid.md").read_text().split("## Runs")[0] for folder in ("tables-cut", "tables-whole")
    )
    assert one == other
    assert "ESC-50: 4/255" in one
    assert "ModelNet40: 4/255" in one
    rows = {(row.calibration, row.threat_model, row.eps) for row in Result.read(disk / "cut").rows}
    assert {("l2", model, eps) for model in ("replayed", "adaptive") for eps in ("2/255", "4/255")} <= rows
