"""Progress for other programs: JSON lines on stderr, event files for TensorBoard."""

import builtins
import json
from types import SimpleNamespace

import pytest

from ironbind.__main__ import main
from ironbind.cli_events import EventFiles, JsonLines
from ironbind.numerics import scalars
from ironbind.types import InputError

TRAIN = ("calibrate", "hardened", "--modality", "image", "--steps", "2", "--samples", "64")


def run(monkeypatch, *arguments) -> int:
    monkeypatch.setattr("sys.argv", ["ironbind", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_progress_as_json_lines(tmp_path, monkeypatch, capsys):
    quick = ("--modality", "image", "--limit", "4", "--steps", "1", "--eps", "4/255")
    assert run(monkeypatch, "audit", "world", *quick, "--progress", "json", "--out", tmp_path / "run") == 0
    out, err = capsys.readouterr()
    events = [json.loads(line) for line in err.splitlines()]
    assert {event["event"] for event in events} <= {"progress", "found", "jobs"}
    events = [event for event in events if event["event"] == "progress"]
    assert {"job", "step", "done", "total", "seconds"} < set(events[0])
    assert {event["step"] for event in events} >= {"clean", "whitebox 4/255", "done"}
    assert all(0 <= event["done"] <= event["total"] for event in events)
    assert "report:" in out


def test_numbers_of_a_training_are_reported_as_they_are_measured(tmp_path, monkeypatch, capsys):
    assert run(monkeypatch, *TRAIN, "--out", tmp_path / "heads", "--progress", "json") == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    losses = [event for event in events if event.get("name") == "image/loss"]
    assert [event["step"] for event in losses] == [1, 2]
    about = json.loads((tmp_path / "heads" / "calibration.json").read_text())
    (record,) = about["records"]
    assert [event["value"] for event in losses] == pytest.approx([record["first_loss"], record["last_loss"]])
    clean = [event["value"] for event in events if event.get("name") == "image/validation_clean"]
    assert [round(value, 2) for value in clean] == [point[1] for point in record["curve"]]


class Writer:
    """TensorBoard's writer as far as it is used."""

    def __init__(self, folder):
        self.folder, self.scalars, self.closed = folder, [], False

    def add_scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def close(self):
        self.closed = True


def test_event_files(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    try:
        files = EventFiles(tmp_path / "events", JsonLines())
    except InputError:
        monkeypatch.setattr(EventFiles, "__init__", _without_the_package)
        files = EventFiles(tmp_path / "events", JsonLines())
    files._make = Writer
    with files:
        files(SimpleNamespace(job="image", what="whitebox 4/255", done=1, total=4))
        files(SimpleNamespace(job="image", what="whitebox 4/255", done=4, total=4))
        scalars.record("image/loss", 0.5, 7)
        writer = files._writer
    scalars.record("image/loss", 0.4, 8)  # nobody listens any more
    assert writer.scalars == [
        ("done/image/whitebox_4/255", 25.0, 0),
        ("done/image/whitebox_4/255", 100.0, 1),
        ("image/loss", 0.5, 7),
    ]
    assert writer.closed
    assert (tmp_path / "events").is_dir()


def _without_the_package(self, folder, listener):
    self._folder, self._listener, self._count = folder, listener, {}


def test_real_event_files(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    assert run(monkeypatch, *TRAIN, "--out", tmp_path / "heads", "--tensorboard", tmp_path / "events") == 0
    read = EventAccumulator(str(tmp_path / "events"))
    read.Reload()
    assert [event.step for event in read.Scalars("image/loss")] == [1, 2]


def test_a_missing_package_is_one_line(tmp_path, monkeypatch, capsys):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("torch.utils.tensorboard"):
            raise ImportError("No module named 'tensorboard'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    assert run(monkeypatch, *TRAIN, "--out", tmp_path / "heads", "--tensorboard", tmp_path / "events") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"ironbind: --tensorboard {tmp_path / 'events'}: needs the package tensorboard (No module")
    assert line.endswith("expected it installed: pip install 'ironbind[tensorboard]'")
    assert not (tmp_path / "heads").exists()
