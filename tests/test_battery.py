"""The battery itself: it makes damaged files again from their number, and sees hangs, crashes, bursts of memory and
wrong refusals.
"""

import os
import signal
import time

import numpy as np
import pytest

import battery
from battery import batter, mutation
from ironbind.types import InputError


@pytest.fixture
def path(tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    return tmp_path / "a.bin"


def unless_whole(path, act):
    """A reader that does `act` once the file is damaged."""

    def read():
        if path.read_bytes() != bytes(range(256)):
            act()

    return read


def test_mutations_are_many_and_each_can_be_made_again():
    data = bytes(range(256)) * 4
    made = [mutation(data, 3, number) for number in range(400)]
    assert made == [mutation(data, 3, number) for number in range(400)]
    assert len(set(made)) > 380
    assert mutation(data, 4, 0) != made[0]
    lengths = np.array([len(one) for one in made])
    assert (lengths < len(data)).mean() > 0.3
    assert (lengths > len(data)).mean() > 0.1
    assert mutation(b"", 0, 0) == b""


def test_whole_and_refused_files_are_counted_and_the_file_is_put_back(path):
    def refuse():
        raise InputError(f"{path}: is damaged; expected it whole")

    told = batter(unless_whole(path, refuse), path, 30, 0)
    assert told.wrong == []
    assert told.outcomes.total() == 30
    assert told.outcomes["refused"] > 20
    assert path.read_bytes() == bytes(range(256))


@pytest.mark.parametrize(("message", "error", "words"), [
    ("something is wrong", InputError, "not one line about the file"), ("{path}: is damaged", KeyError, "KeyError"),
])  # fmt: skip
def test_other_refusals_are_told(path, message, error, words):
    def refuse():
        raise error(message.format(path=path))

    told = batter(unless_whole(path, refuse), path, 3, 0)
    assert told.wrong
    assert words in told.wrong[0]


def test_a_crash_and_a_hang_are_told(path, monkeypatch):
    told = batter(unless_whole(path, lambda: os.kill(os.getpid(), signal.SIGSEGV)), path, 3, 0)
    assert told.wrong == ["mutation 0 of a.bin (seed 0): dies of signal 11"]
    monkeypatch.setattr(battery, "PATIENCE", 1)
    told = batter(unless_whole(path, lambda: time.sleep(60)), path, 3, 7)
    assert told.wrong == ["mutation 0 of a.bin (seed 7): hangs for 1 s"]
    assert path.read_bytes() == bytes(range(256))


def test_a_burst_of_memory_is_told(path):
    told = batter(unless_whole(path, lambda: np.ones(2**24)), path, 3, 0)
    if not told.measured:
        pytest.skip("this system does not tell a process its peak of memory (/proc/self/clear_refs, VmHWM)")
    assert len(told.wrong) == 1
    assert "takes 128 MiB" in told.wrong[0]
    assert batter(lambda: np.ones(2**24), path, 3, 0).wrong == [], "a healthy file that takes as much is no reproach"
