"""Kill -9 in the middle: the table of the second attempt is that of an uninterrupted run, and nothing stored is
attacked again.
"""

import multiprocessing
import signal
import sqlite3
import time
from pathlib import Path

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.results import Result
from ironbind.evaluate.preparation import PROBED
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.types import InputError, Linf
from toys import Conv, Counting, ToyData, audit, white_box

LADDER = (Linf("1/255"), Linf("3/255"))
ATTACK = PGD(steps=3)
N = 24

# a fork has torch at hand already, a process of its own loads it for seconds; autograd on an accelerator forbids forks
PROCESSES = multiprocessing.get_context("spawn" if torch.accelerator.is_available() else "fork")


class Recorder(Counting):
    """Writes the first coordinate of every embedded row to a file, and takes its time."""

    def __init__(self, path: str, delay: float = 0.0) -> None:
        super().__init__(Conv())
        self.path, self.delay = path, delay

    def embed(self, modality, x, space=None):
        with open(self.path, "a") as out:
            out.write(f"{len(x)}\n")
        time.sleep(self.delay)
        return super().embed(modality, x, space)


def run(out: str, encoder) -> Result:
    bent = IdentityLinear(encoder.dim)
    with torch.no_grad():
        bent.linear.weight[0, 1] += 0.3
    task = zero_shot(Calibrated(encoder, {"image": bent}, "bent", "linear"), ToyData(N), "image")
    return audit(task, ATTACK, LADDER, out=out, batch_size=4, checks=False)


def start(folder: Path, out: str, delay: float) -> multiprocessing.process.BaseProcess:
    """`run` in a process of its own."""
    passes = str(folder / f"{out}.passes")
    process = PROCESSES.Process(target=run, args=(str(folder / out), Recorder(passes, delay)), daemon=True)
    process.start()
    return process


def stored(folder: Path) -> dict[tuple[str, str], tuple]:
    """Everything in a verdict store, by audit key and sample."""
    connection = sqlite3.connect(folder / "verdicts.sqlite")
    found = {(row[0], row[1]): row[2:] for row in connection.execute("SELECT * FROM verdict")}
    connection.close()
    return found


def rows_embedded(path: Path) -> int:
    return sum(int(line) for line in path.read_text().splitlines())


@pytest.mark.bits
def test_kill_and_restart(tmp_path):
    whole = run(str(tmp_path / "whole"), Recorder(str(tmp_path / "whole.passes")))
    first = start(tmp_path, "cut", delay=0.02)
    database = tmp_path / "cut" / "verdicts.sqlite"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and first.is_alive():
        if database.exists():
            try:
                if len(stored(tmp_path / "cut")) >= 2 * N + 5:  # clean, the first radius, and a few of the second
                    break
            except sqlite3.OperationalError:
                pass  # the tables are not there yet
        time.sleep(0.01)
    first.kill()
    first.join()
    assert first.exitcode == -signal.SIGKILL
    left = stored(tmp_path / "cut")
    complete = stored(tmp_path / "whole")
    assert 2 * N <= len(left) < len(complete)

    (tmp_path / "cut.passes").unlink()
    again = run(str(tmp_path / "cut"), Recorder(str(tmp_path / "cut.passes")))
    assert again.rows == whole.rows
    assert (tmp_path / "cut" / "table.csv").read_text() == (tmp_path / "whole" / "table.csv").read_text()
    after = stored(tmp_path / "cut")
    assert after == complete  # the same verdicts, the same counted passes
    assert all(after[key] == verdict for key, verdict in left.items())
    # what the second attempt embedded is what was missing: rank, margin, spent, won_by, gradient_passes, forward_passes
    missing = sum(row[4] + row[5] for key, row in complete.items() if key not in left)
    calls = len((tmp_path / "cut.passes").read_text().splitlines())
    assert missing <= rows_embedded(tmp_path / "cut.passes") <= missing + 3 * calls + 2 * 2 * PROBED

    (tmp_path / "cut.passes").unlink()
    assert run(str(tmp_path / "cut"), Recorder(str(tmp_path / "cut.passes"))).rows == whole.rows
    # nothing left to do: only the probe of how samples are prepared and embedded, of the backbone and of the whole
    assert rows_embedded(tmp_path / "cut.passes") <= 2 * 2 * PROBED


def test_fresh_forgets(tmp_path):
    encoder = Counting(Conv())
    task = zero_shot(encoder, ToyData(8), "image")
    first = audit(task, ATTACK, LADDER, out=tmp_path, checks=False)
    spent = len(encoder.rows)
    assert audit(task, ATTACK, LADDER, out=tmp_path, checks=False).rows == first.rows
    assert len(encoder.rows) == spent + 1  # the probe of how samples are embedded
    assert audit(task, ATTACK, LADDER, out=tmp_path, fresh=True, checks=False).rows == first.rows
    assert len(encoder.rows) == 2 * spent + 1


@pytest.mark.bits
def test_two_processes_may_share_a_store(tmp_path):
    whole = run(str(tmp_path / "whole"), Conv())
    both = [start(tmp_path, "shared", delay=0.002) for _ in range(2)]
    for process in both:
        process.join(timeout=240)
        assert process.exitcode == 0
    assert stored(tmp_path / "shared") == stored(tmp_path / "whole")
    assert Result.read(tmp_path / "shared").rows == whole.rows


@pytest.mark.bits
def test_lost_examples_are_crafted_again_bit_for_bit(tmp_path):
    task = zero_shot(Conv(), ToyData(N), "image")

    def examination(store):
        return white_box(task, (ATTACK,), LADDER, store, "whitebox", keep_examples=True, batch_size=5)

    store = VerdictStore(tmp_path)
    verdicts, x = examination(store).verdicts_at(1), examination(store).examples(1, range(N))
    store.close()
    for path in tmp_path.glob("examples.sqlite*"):
        path.unlink()
    store = VerdictStore(tmp_path)
    assert examination(store).examples(1, [7, 3]).equal(x[[7, 3]])
    assert examination(store).examples(1, range(N)).equal(x)
    assert examination(store).verdicts_at(1) == verdicts


def test_what_decides_a_verdict_is_in_its_key():
    data, other = ToyData(8), ToyData(8, seed=1)
    store = VerdictStore()

    def key(rungs=1, task=None, attacks=(ATTACK,), ladder=LADDER, model="whitebox", **more):
        return white_box(task or zero_shot(Conv(), data, "image"), attacks, ladder, store, model, **more).key(rungs)

    same = key()
    assert key() == key(batch_size=1) == key(ladder=(Linf(1 / 255), Linf("5/255"))) == same
    different = [
        key(2),
        key(task=zero_shot(Conv(), other, "image")),
        key(task=zero_shot(Conv(), data, "thermal")),
        key(attacks=(PGD(steps=4),)),
        key(task=zero_shot(Conv(), data, "image", templates=["{} #7"])),
        key(ladder=(Linf("2/255"),)),
        key(model="adaptive"),
        key(seed=1),
        key(keep_examples=True),
        key(attacks=(ATTACK, ATTACK)),
        key(0),
        key(attacks=(PGD(steps=3, stop_when_reached=False),)),
        key(task=zero_shot(Conv(), data, "audio")),
        key(task=zero_shot(Conv(), data, "audio", space="waveform")),
    ]
    assert len({same, *different}) == 1 + len(different)
    assert key(0) == key(0, model="adaptive", seed=3, attacks=(PGD(),), keep_examples=True)  # clean is clean


def test_a_store_that_is_none(tmp_path):
    (tmp_path / "verdicts.sqlite").write_bytes(b"this is no database, " * 100)
    with pytest.raises(InputError, match="verdicts.sqlite cannot be used as a verdict store") as caught:
        VerdictStore(tmp_path)
    assert "\n" not in str(caught.value)
    VerdictStore(tmp_path, fresh=True).close()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out .*file.*expected a folder"):
        VerdictStore(tmp_path / "file")
