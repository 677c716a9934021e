"""Processes are forked on Linux alone; without them everything is done here, with the same outcome."""

import sys

from ironbind.calibration import training_batches
from ironbind.calibration.training_batches import order, stream
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.numerics.processes import can_fork
from toys import Conv, ToyData


def test_macos_and_windows_do_not_fork(monkeypatch):
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["fork", "spawn", "forkserver"])
    monkeypatch.setattr(sys, "platform", "linux")
    assert can_fork()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not can_fork()
    monkeypatch.setattr("multiprocessing.get_all_start_methods", lambda: ["spawn"])
    monkeypatch.setattr(sys, "platform", "win32")
    assert not can_fork()


def test_training_batches_without_a_fork_are_decoded_here(monkeypatch):
    data = ToyData(12)
    places = [place.rows for place in order(range(12), 1, None, 4, "seed")]
    monkeypatch.setattr(training_batches, "can_fork", lambda: False)
    read = list(stream([zero_shot(Conv(), data, "image")], places, workers=2))
    assert [batch.rows for batch in read] == places
    assert data.decoded == 12  # by this process
