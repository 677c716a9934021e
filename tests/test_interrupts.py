"""Ctrl-C at any moment, in every mode: one line that says how to go on, exit code 130, nothing lost."""

import csv
import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

import own_process
from command_line import ironbind
from ironbind.console_text import STOPPED
from own_process import exit_code, running, text

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
AUDIT = ("audit", "world", "--limit", "12", "--attack", "pgd", "--steps", "4", "--eps", "2/255", "--batch-size", "4")

AT_IMPORT = """
import os, signal, sys

class Interrupter:
    def find_spec(self, name, *_):
        if name == {name!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupter())
sys.argv = ["ironbind", *sys.argv[1:]]
from ironbind.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["ironbind.cli", "typer", "torch"])
def test_while_modules_are_loaded(tmp_path, module):
    command = [sys.executable, "-c", AT_IMPORT.format(name=module), *AUDIT, "--modality", "image"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=ENVIRONMENT, cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    assert done.stderr.strip() == STOPPED


def import_again(module: str) -> None:
    """An audit that is interrupted when it loads a module, where torch is loaded already."""
    sys.modules.pop(module, None)
    sys.argv = ["ironbind", *AUDIT, "--modality", "image"]
    exec(AT_IMPORT.format(name=module), {})


def test_while_modules_are_loaded_behind_torch(tmp_path):
    with running(import_again, "ironbind.runs.run_jobs", said=tmp_path / "said") as process:
        assert exit_code(process) == 130, text(tmp_path / "said")
    assert text(tmp_path / "said").strip() == STOPPED


def verdicts(folder: Path) -> set[tuple]:
    if not (folder / "verdicts.sqlite").exists():
        return set()
    connection = sqlite3.connect(folder / "verdicts.sqlite")
    try:
        return set(connection.execute("SELECT * FROM verdict"))
    except sqlite3.OperationalError:
        return set()  # the table is not there yet
    finally:
        connection.close()


def table(folder: Path) -> list[dict[str, str]]:
    """The numbers of a run, without what the checks say (of another number of steps, some are carried out twice)."""
    with (folder / "table.csv").open(encoding="utf-8", newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "checks"} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("whole")
    done = ironbind(*AUDIT, "--modality", "thermal,event", "--out", folder)
    assert done.returncode == 0, done.stderr
    return table(folder)


@pytest.mark.parametrize(
    "mode",
    [
        pytest.param(("--modality", "thermal"), id="one process"),
        pytest.param(("--modality", "thermal", "--workers", "2"), id="decoding processes"),
        pytest.param(("--modality", "thermal,event", "--workers", "2"), id="worker processes"),
    ],
)
def test_while_it_attacks(tmp_path, mode, uninterrupted):
    """The interrupt goes to the whole process group, as a terminal sends it."""
    command = [*AUDIT, *mode, "--out", str(tmp_path / "run")]
    with running(own_process.ironbind, *longer(command), said=tmp_path / "said") as process:
        while process.is_alive() and len(verdicts(tmp_path / "run")) < 12:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        code = exit_code(process)
    lines = text(tmp_path / "said").splitlines()
    assert code == 130, lines
    assert lines[-1] == STOPPED
    assert not [line for line in lines if "Traceback" in line or "Error" in line or "KeyboardInterrupt" in line]
    assert not os.path.exists(tmp_path / "run" / "table.csv")

    stored = verdicts(tmp_path / "run")
    assert len(stored) >= 12
    done = ironbind(*AUDIT, *mode[:2], "--out", tmp_path / "run")  # how many processes there are decides nothing
    assert done.returncode == 0, done.stderr
    assert stored <= verdicts(tmp_path / "run")
    resumed = table(tmp_path / "run")
    assert resumed == [row for row in uninterrupted if row["modality"] in mode[1]]


def longer(command: list[str]) -> list[str]:
    """There is time to interrupt; clean verdicts are those of the short run."""
    return ["200" if before == "--steps" else word for before, word in zip(["", *command], command, strict=False)]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
def test_a_worker_that_is_ended_from_outside(tmp_path):
    """As a machine does that runs out of memory: one line, and what was stored stays."""
    command = [*AUDIT, "--modality", "thermal,event", "--workers", "2", "--out", str(tmp_path / "run")]
    with running(own_process.ironbind_with_forked_workers, *longer(command), said=tmp_path / "said") as process:
        while process.is_alive() and len(verdicts(tmp_path / "run")) < 12:
            time.sleep(0.05)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [pid for pid in children if "resource_tracker" not in Path(f"/proc/{pid}/cmdline").read_text()]
        assert len(workers) == 2
        os.kill(int(workers[0]), signal.SIGKILL)
        code = exit_code(process)
    lines = text(tmp_path / "said").splitlines()
    assert code == 2, lines
    assert lines[-1].startswith("ironbind: --workers 2: a worker process was ended from outside")
    assert not [line for line in lines if "Traceback" in line]
    assert len(verdicts(tmp_path / "run")) >= 12
