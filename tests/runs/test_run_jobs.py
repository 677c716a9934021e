"""A run folder: what is written when, and what is left when a disk is full or a page fails."""

from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ironbind.attacks import PGD
from ironbind.core.errors import WriteError
from ironbind.core.results import Result, table_csv, write_atomically
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore
from ironbind.report import write_report
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.job import CheckSpec, Job
from ironbind.runs.run_jobs import run_jobs
from ironbind.types import InputError, Linf
from toys import Conv, ToyData

resource = pytest.importorskip("resource", reason="sizes of files cannot be limited here")
JOB = Job("image", attacks=(PGD(steps=2),), budgets={"pixels": (Linf("2/255"), Linf("4/255"))}, batch_size=4)
UNCHECKED = replace(JOB, checks=CheckSpec("not asked here", None))


@pytest.fixture(autouse=True)
def _toys(monkeypatch):
    encoder = Conv()
    monkeypatch.setattr(encoder_spec, "_loaded", lambda name, options: encoder)
    monkeypatch.setattr(data_spec, "load_dataset", lambda name, path=None, **options: ToyData(12))


@contextmanager
def full_disk(size: int):
    """No file may become longer than `size` bytes: what a process sees of a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name.endswith(".tmp")]


def test_a_disk_that_is_full_costs_no_more_than_the_time(tmp_path):
    """The same command again and again while the disk grows: one line each time, and in the end the same numbers."""
    whole = run_jobs([JOB], tmp_path / "whole").parent
    longest = max(path.stat().st_size for path in whole.iterdir())
    lines, size = [], 20_000
    while size < longest:
        with full_disk(size), pytest.raises(InputError) as caught:
            run_jobs([JOB], tmp_path / "run")
        lines.append(str(caught.value))
        assert "run" in lines[-1]
        assert not half_written(tmp_path / "run")
        for name in ("result.json", "table.csv", "verdicts.csv"):
            assert not (tmp_path / "run" / name).exists() or (whole / name).stat().st_size <= size
        size = size * 4 // 3
    assert all("\n" not in line for line in lines)
    assert any("verdicts.sqlite cannot be written" in line for line in lines)
    assert any("free some space and run the same command" in line for line in lines)
    run_jobs([JOB], tmp_path / "run")
    assert Result.read(tmp_path / "run").rows == Result.read(whole).rows
    for name in ("table.csv", "verdicts.csv", "gallery.npz"):
        assert (tmp_path / "run" / name).read_bytes() == (whole / name).read_bytes()


def test_a_transaction_is_stored_whole_or_not_at_all(tmp_path):
    store = VerdictStore(tmp_path)
    store.add("key", {}, {"a": Verdict(1, -0.5)})
    with full_disk(20_000), pytest.raises(WriteError, match=r"verdicts\.sqlite cannot be written .*; free some space"):
        store.add("key", {}, {f"sample {number}": Verdict(2, 0.5) for number in range(10_000)})
    store.close()
    store = VerdictStore(tmp_path)
    assert store.verdicts("key") == {"a": Verdict(1, -0.5)}
    store.add("key", {}, {"b": Verdict(3, 0.5)})
    assert store.verdicts("key") == {"a": Verdict(1, -0.5), "b": Verdict(3, 0.5)}


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    write_atomically(tmp_path / "table.csv", "old")
    with full_disk(100), pytest.raises(WriteError, match=r"table\.csv cannot be written .*; free some space"):
        write_atomically(tmp_path / "table.csv", "new" * 100)
    assert (tmp_path / "table.csv").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["table.csv"]
    write_atomically(tmp_path / "table.csv", "a name that is no text: \udcff")
    assert (tmp_path / "table.csv").read_bytes() == rb"a name that is no text: \udcff"


def test_a_report_that_fails_loses_nothing(tmp_path):
    (tmp_path / "run" / "report.html").mkdir(parents=True)  # a folder in its place
    with pytest.raises(InputError, match=r"are written, but the report failed .*: ironbind report .*run$"):
        run_jobs([UNCHECKED], tmp_path / "run")
    result = Result.read(tmp_path / "run")
    assert (tmp_path / "run" / "table.csv").read_text() == table_csv(result.rows)
    assert (tmp_path / "run" / "verdicts.csv").read_text().count("\n") > 12
    (tmp_path / "run" / "report.html").rmdir()
    page = write_report(tmp_path / "run")
    whole = run_jobs([UNCHECKED], tmp_path / "whole")
    assert result.rows == Result.read(tmp_path / "whole").rows
    assert page.read_text(encoding="utf-8").count("<img") == whole.read_text(encoding="utf-8").count("<img") > 0


def test_pictures_of_an_earlier_run_never_stand_beside_new_numbers(tmp_path, monkeypatch):
    run_jobs([UNCHECKED], tmp_path / "run")

    def fails(*_, **__):
        raise MemoryError("no room for pictures")

    monkeypatch.setattr("numpy.savez_compressed", fails)
    with pytest.raises(InputError, match="MemoryError: no room for pictures"):
        run_jobs([UNCHECKED], tmp_path / "run")
    assert not (tmp_path / "run" / "gallery.npz").exists()
    assert write_report(tmp_path / "run").is_file()
