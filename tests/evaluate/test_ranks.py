"""Several ranks under torchrun give the table of one process, byte for byte; one that ends is told in a line, and
nothing that was stored is computed again.
"""

import os
import re
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest
from test_order_and_batches import EVALUATIONS, zero_shot_audit

import own_process
import ranks_worker
from ironbind.evaluate.store.journal import Journal, Ownership, entries, journals
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore
from ironbind.types import InputError
from toys import ToyData

pytestmark = pytest.mark.bits
WORKER = Path(ranks_worker.__file__)
SAMPLES = ranks_worker.SAMPLES
TABLES = ("table.csv", "verdicts.csv")


class Launch(NamedTuple):
    """A launch that has ended."""

    failed: bool
    stdout: str
    stderr: str


def launch(count: int, out: Path, names=("zero_shot_audit",), fault: str = "") -> Launch:
    """The evaluations `names` by so many ranks, each with one thread, started as torchrun starts them."""
    said = out / "said"
    codes = own_process.ranks(count, ranks_worker.run, out, ",".join(names), fault, said=said)
    return Launch(any(codes), *(own_process.text(said, stream) for stream in ("out", "err")))


def torchrun(count: int, out: Path, names=("zero_shot_audit",), fault: str = "") -> Launch:
    """The same by torchrun itself, which loads torch once for every rank and once for itself."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    command = [*launcher, str(WORKER), str(out), ",".join(names), *([fault] if fault else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280)
    return Launch(done.returncode != 0, done.stdout, done.stderr)


def own_lines(run: Launch) -> list[str]:
    return [line for line in run.stderr.splitlines() if line.startswith("ironbind:")]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What one process writes."""
    out = tmp_path_factory.mktemp("alone")
    for name, run in EVALUATIONS.items():
        run(ToyData(SAMPLES), out=out / name)
    return out


def test_any_number_of_ranks_gives_the_table_of_one_process(alone, tmp_path):
    run = launch(3, tmp_path, list(EVALUATIONS))
    assert not run.failed, run.stderr
    for name in EVALUATIONS:
        for table in TABLES:
            assert (tmp_path / name / table).read_bytes() == (alone / name / table).read_bytes(), (name, table)
        assert not journals(tmp_path / name)
    assert run.stdout.count("is done") == 1, "the first rank speaks for all"


@pytest.mark.parametrize(("by", "fault", "line", "ranks_again"), [
    (launch, "1:2:kill", "a rank of this run has ended", 3), (torchrun, "0:3:kill", "a rank of this run has ended", 1),
    (launch, "1:3:full", "cannot be written|No space left", 2),
])  # fmt: skip
def test_a_rank_that_ends_ends_the_run_with_one_line_and_a_restart_goes_on(
    alone, tmp_path, by, fault, line, ranks_again
):
    """The launcher itself where its own store outlives the first rank."""
    run = by(2, tmp_path, fault=fault)
    assert run.failed
    assert len(own_lines(run)) == 1, run.stderr
    assert re.search(line, own_lines(run)[0])
    folder = tmp_path / "zero_shot_audit"
    written = stored_samples(folder)
    if ranks_again == 1:
        zero_shot_audit(ToyData(SAMPLES), out=folder)
    else:
        again = launch(ranks_again, tmp_path)
        assert not again.failed, again.stderr
    for table in TABLES:
        assert (folder / table).read_bytes() == (alone / "zero_shot_audit" / table).read_bytes()
    assert written
    assert not journals(folder)


@pytest.mark.parametrize(("moment", "line"), [
    ("on its way out", "a rank of this run has ended"), ("when it tells", "No space left"),
])  # fmt: skip
def test_a_rank_that_the_launcher_ends_while_it_ends_says_one_line(tmp_path, moment, line):
    said = tmp_path / "said"
    codes = own_process.ranks(2, ranks_worker.end_while_ending, moment, said=said)
    assert codes == [2, 2]
    lines = own_process.text(said).splitlines()
    assert len(lines) == 1, lines
    assert line in lines[0]


def stored_samples(folder: Path) -> Counter:
    """How often each verdict lies in a journal of a run that was ended."""
    found = Counter()
    for path in journals(folder):
        for entry in entries(path):
            if entry["kind"] == "verdicts":
                found.update((entry["key"], sample) for sample, *_ in entry["rows"])
    assert not found or max(found.values()) == 1, "a sample was attacked twice"
    return found


def test_a_store_takes_in_journals_and_a_line_that_was_cut_is_no_line(tmp_path):
    journal = Journal(tmp_path, "run", 1)
    for sample in ("a", "b"):
        rows = [[sample, 2, 0.5, 0.1, "pgd", 7, 8]]
        journal.add({"kind": "verdicts", "key": "key", "description": {}, "rows": rows})
    journal.close()
    content = journal.lines.read_bytes()
    journal.lines.write_bytes(content[:-9])
    store = VerdictStore(tmp_path)
    assert store.verdicts("key") == {"a": Verdict(2, 0.5, 0.1, "pgd", 7, 8)}
    assert not journals(tmp_path)
    store.close()


def test_two_runs_in_one_folder_are_refused(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        sign = Ownership(tmp_path, "other")
        sign.path.write_text(f'{{"host": "{socket.gethostname()}", "pid": {process.pid}}}')
        with pytest.raises(InputError, match=f"in use by another run .process {process.pid} on "):
            VerdictStore(tmp_path)
    finally:
        process.kill()
        process.wait()
    VerdictStore(tmp_path).close()  # that run has ended
    assert not sign.path.exists()
