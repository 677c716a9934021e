"""`ironbind data`, `ironbind ls recipes`, `ironbind report` over many runs: what they print and how they exit."""

import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from ironbind.cli import app
from ironbind.core.results import Result, Row
from ironbind.data.loader_options import loader_options
from ironbind.encoders.unibind.center_files import load_centers
from ironbind.recipes.any_layout import data
from ironbind.recipes.request import AuditRequest
from ironbind.types import InputError
from layouts.tiny_archives import parquet, rows
from layouts.tiny_pictures import picture
from layouts.tiny_sounds import EXAMPLES as SOUNDS
from layouts.tiny_sounds import text


def ironbind(*arguments: object):
    return CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=False)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    for label, name in enumerate(("cat", "guinea_pig")):
        for number in range(3):
            picture(tmp_path / "pets" / name / f"{number}.png", "png", 10 * label + number)
    return tmp_path / "pets"


def test_a_healthy_folder(pets, tmp_path):
    done = ironbind("data", "check", pets, "--sheet", tmp_path / "sheet.png")
    assert done.exit_code == 0
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    assert "classes: 2, 3 samples each" in done.stdout
    assert "no problems" in done.stdout
    assert done.stdout.splitlines()[-1] == f"to audit it: ironbind audit folder --data {pets} --modality image"


def test_problems_are_named_and_exit_with_1(pets, tmp_path):
    (pets / "cat" / "1.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    done = ironbind("data", "check", pets, "--sheet", tmp_path / "sheet.png")
    assert done.exit_code == 1
    assert f"problem: {pets / 'cat' / '1.png'}: cannot be read" in done.stdout
    assert "problems: 1" in done.stdout


def test_a_known_set_is_pointed_at_its_cell(tmp_path):
    SOUNDS["esc50"](tmp_path / "e s c")
    done = ironbind("data", "check", tmp_path / "e s c", "--sheet", tmp_path / "sheet.png")
    assert f"ironbind audit paper/esc50/tiny --data '{tmp_path / 'e s c'}' --heads none" in done.stdout
    done = ironbind("data", "check", tmp_path / "e s c", "--data-option", "fold=2", "--sheet", tmp_path / "sheet.png")
    assert "note: fold 2 alone" in done.stdout
    assert "--layout esc50 --data-option fold=2" in done.stdout


def test_what_check_advises_can_be_run(pets, tmp_path):
    parquet(tmp_path / "hub" / "test.parquet", rows(4))
    said = ironbind("data", "check", tmp_path / "hub", "--sheet", tmp_path / "sheet.png").stdout.splitlines()[-1]
    assert said == f"to audit it: ironbind audit data --data {tmp_path / 'hub'} --layout hf_datasets"
    request = AuditRequest(data=str(tmp_path / "hub"), layout="hf_datasets")
    (job,) = data(request, retrieval=True)
    assert (job.data.layout, job.modality, len(job.extra_tasks)) == ("hf_datasets", "image", 1)
    (plain,) = data(request)
    assert plain == replace(job, extra_tasks=(), data=replace(job.data, whole_gallery=False))


def test_options_of_loaders():
    given = ["columns.image=photo", "columns.caption=a+b", "split=test", "delimiter=;"]
    assert loader_options("csv", given) == {
        "columns": {"image": "photo", "caption": ("a", "b")},
        "split": "test",
        "delimiter": ";",
    }
    assert loader_options("esc50", ["fold=2+3"]) == {"fold": (2, 3)}
    assert loader_options("caltech101", ["background=true"]) == {"background": True}
    with pytest.raises(
        InputError, match="--data-option flod=2: the layout 'esc50' takes split=..., fold=..., class_list=..."
    ):
        loader_options("esc50", ["flod=2"])
    with pytest.raises(InputError, match="--data-option fold"):
        loader_options("esc50", ["fold"])


def test_data_with_captions_only_is_audited_by_retrieval(tmp_path):
    for name in "ab":
        picture(tmp_path / f"{name}.png", "png", ord(name))
    text(tmp_path / "list.csv", "image,caption\na.png,one\nb.png,two\n")
    (job,) = data(AuditRequest(data=str(tmp_path), limit=1))
    assert (job.attacks, job.gallery_items, job.data.attacked) == ((), 0, None)
    (extra,) = job.extra_tasks
    assert (extra.kind, extra.checked, extra.attacks != ()) == ("retrieval", True, True)
    for wrong, message in (
        ({"data": None}, "--data PATH is missing"),
        ({"data": str(tmp_path), "modalities": ("audio",)}, "no column is known to name audio files"),
        ({"data": str(tmp_path / "gone")}, "no such file or folder"),
        ({"data": str(tmp_path), "layout": "csvv"}, "did you mean 'csv'"),
    ):
        with pytest.raises(InputError, match=message):
            data(AuditRequest(**wrong))


def test_centers_are_rewritten_once(tmp_path):
    (tmp_path / "c.pkl").write_bytes(pickle.dumps({"dog": torch.ones(50, 1024), "cat": torch.ones(50, 1024)}))
    done = ironbind("data", "centers", tmp_path / "c.pkl", "--out", tmp_path / "c.safetensors")
    assert done.exit_code == 0
    assert done.stdout.strip() == f"2 classes, 100 rows of 1024: {tmp_path / 'c.safetensors'}"
    assert load_centers(tmp_path / "c.safetensors").names == ("dog", "cat")


def test_the_grid_is_listed(monkeypatch):
    monkeypatch.delenv("IRONBIND_DATA", raising=False)
    monkeypatch.delenv("IRONBIND_WEIGHTS", raising=False)
    said = ironbind("ls", "recipes").stdout
    assert said.startswith("recipes: world, folder, data, ")
    assert "paper/" not in said.splitlines()[0]
    assert any(line.split()[:3] == ["esc50", "audio", "zero-shot"] and "-weights" in line for line in said.splitlines())
    assert "n/a: LanguageBind has no tower for points" in said
    assert "paper's grid" not in ironbind("ls", "attacks").stdout


def test_a_report_over_a_glob_leaves_out_what_is_no_run(tmp_path):
    for name in ("a", "b"):
        row = Row(
            name, "none", "image", "pixels", "zero_shot", "top1", "none", "none", "0", "clean", 50.0, 40.0, 60.0, 100
        )
        Result(name, [row], record={"data": f"set {name}"}).write(tmp_path / name)
    (tmp_path / "combined").mkdir()
    done = ironbind("report", tmp_path / "a", tmp_path / "b", tmp_path / "combined", "--out", tmp_path / "combined")
    assert done.exit_code == 0
    assert f"left out: {tmp_path / 'combined'} holds no result.json" in done.output
    assert "grid.html" in done.output
    assert (tmp_path / "combined" / "grid.md").exists()
    with pytest.raises(InputError, match="result.json does not exist"):
        ironbind("report", tmp_path / "a", tmp_path / "gone")
