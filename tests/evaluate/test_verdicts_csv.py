"""`verdicts.csv`: what stands behind every number, sample by sample."""

import csv
import io

import pytest

from ironbind.attacks import PGD
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.results import Result, Row, table_csv
from ironbind.core.tables.csv_text import cell_text
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore
from ironbind.evaluate.store.verdicts_csv import COLUMNS, PLACE, label_of, verdicts_csv
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.report.paper_grid.writers import grid_csv
from ironbind.report.stored_runs import Run
from ironbind.types import Linf
from toys import Conv, ToyData, audit

LADDER = [Linf("2/255"), Linf("8/255")]


def read(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def audited(folder, encoder=None, **options):
    result = audit(
        zero_shot(encoder or Conv(), ToyData(12), "image"), PGD(steps=4), LADDER, out=folder, checks=False, **options
    )
    return result, read((folder / "verdicts.csv").read_text())


def place(row: Row) -> dict[str, str]:
    return dict(zip(PLACE, label_of(row), strict=True))


def lines_of(lines, row):
    wanted = place(row)
    return [line for line in lines if all(line[column] == value for column, value in wanted.items())]


@pytest.mark.parametrize(
    "encoder",
    [Conv(), Calibrated(Conv(), {"image": IdentityLinear(16)}, "identity", "linear")],
    ids=["bare", "calibrated"],
)
def test_the_table_can_be_recomputed_from_it(encoder, tmp_path):
    result, lines = audited(tmp_path, encoder)
    assert tuple(lines[0]) == COLUMNS
    top1 = [
        *result.select(metric="top1"),
        *result.select(metric="R@1"),
    ]  # the latter of an old index, where there is one
    assert len(lines) == 12 * len(top1)
    for row in top1:
        mine = lines_of(lines, row)
        assert len({line["sample"] for line in mine}) == row.n == 12
        assert 100 * sum(line["correct"] == "1" for line in mine) / row.n == pytest.approx(row.value)
        assert all((line["correct"] == "1") == (int(line["rank"]) == 1) == (float(line["margin"]) < 0) for line in mine)
    for row in result.select(metric="top5"):
        assert 100 * sum(int(line["rank"]) <= 5 for line in lines_of(lines, row)) / row.n == pytest.approx(row.value)


def test_a_verdict_names_the_attack_that_won_and_what_it_spent(tmp_path):
    result, lines = audited(tmp_path)
    fallen = [line for line in lines_of(lines, result.select(metric="top1", eps="8/255")[0]) if line["correct"] == "0"]
    assert fallen
    for line in fallen:
        assert line["won_by"] in ("pgd4-margin 2/255", "pgd4-margin 8/255", "clean")
        assert float(line["spent"]) <= 8 / 255 + 1e-6
    clean = lines_of(lines, result.select(metric="top1", eps="0")[0])
    assert {line["won_by"] for line in clean} == {"clean"}
    assert sum(int(line["gradient_passes"]) for line in lines) == result.record["gradient_passes"]


def test_tasks_of_one_folder_stay_apart_and_a_second_run_changes_no_byte(tmp_path):
    store = VerdictStore(tmp_path)
    data, rows = ToyData(8), []
    for task in (zero_shot(Conv(), data, "image"), retrieval(Conv(), data, "image", to="text")):
        rows += audit(task, PGD(steps=2), LADDER, store=store, checks=False).rows
    text = verdicts_csv(store, rows)
    assert {line["task"] for line in read(text)} == {"zero_shot", "retrieval:image->text"}
    before = (tmp_path / "verdicts.sqlite").read_bytes()
    again = []
    for task in (zero_shot(Conv(), data, "image"), retrieval(Conv(), data, "image", to="text")):
        again += audit(task, PGD(steps=2), LADDER, store=store, checks=False).rows
    assert verdicts_csv(store, again) == text
    assert (tmp_path / "verdicts.sqlite").read_bytes() == before
    store.close()


def test_it_speaks_of_the_latest_run_only(tmp_path):
    audited(tmp_path)
    first = (tmp_path / "verdicts.csv").read_text()
    result, lines = audited(tmp_path, seed=1)
    assert len(lines) == 12 * len(result.select(metric="top1"))
    assert (tmp_path / "verdicts.csv").read_text() != first
    audited(tmp_path)
    assert (tmp_path / "verdicts.csv").read_text() == first  # nothing was attacked again


def test_hostile_names_start_no_formula(tmp_path):
    """A sample, an encoder and an attack that a spreadsheet would run."""
    evil = "=cmd|' /C calc'!A0"
    row = Row(evil, "@SUM(A1)", "image", "pixels", "zero_shot", "top1", "+1+1", "linf", "-5dB", "whitebox", 0, 0, 0, 1)
    store = VerdictStore(tmp_path)
    store.add("key", {}, {evil: Verdict(2, -0.25)})
    store.label("key", label_of(row))
    for text in (verdicts_csv(store, [row]), table_csv([row]), grid_csv([Run(Result("", [row]))], "")):
        (line,) = read(text)
        assert not [cell for cell in line.values() if cell[:1] in tuple("=+@\t\r") or cell[:2] == "-5"]
        assert {cell_text(line[name]) for name in ("encoder", "calibration", "attack")} == {evil, "@SUM(A1)", "+1+1"}
    assert read(verdicts_csv(store, [row]))[0]["margin"] == "-0.25"
    store.close()
