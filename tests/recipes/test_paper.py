"""The paper's grid: which cells there are, what each of them runs, and one line for everything that is missing."""

import os
import re
from pathlib import Path

import pytest

from ironbind.data import DATASETS, load_dataset
from ironbind.data.names.prompts import PROMPTS
from ironbind.encoders import ENCODERS
from ironbind.encoders.towers import towers
from ironbind.modalities import MODALITIES
from ironbind.recipes import AUDITS, CALIBRATIONS
from ironbind.recipes.paper import grid as module
from ironbind.recipes.paper.grid import CELLS, COLUMNS, MODELS, Cell, overview
from ironbind.recipes.request import AuditRequest
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.job import CenterSpec, TrainingSpec
from ironbind.runs.run_job import run_job
from ironbind.types import InputError
from layouts.tiny_events import EXAMPLES as EVENTS
from layouts.tiny_sounds import EXAMPLES as SOUNDS

DOCS = (Path(__file__).parents[2] / "docs" / "paper.md").read_text(encoding="utf-8")

NO_HEADS = EncoderSpec(heads="none")


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """IRONBIND_DATA with a few tiny sets, in folders named as people name them; IRONBIND_WEIGHTS, empty."""
    for layout, folder in (("esc50", "ESC-50"), ("clotho", "clotho"), ("ncaltech101", "N-Caltech101")):
        (SOUNDS | EVENTS)[layout](tmp_path / "data" / folder)
    (tmp_path / "weights").mkdir()
    monkeypatch.setenv("IRONBIND_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("IRONBIND_WEIGHTS", str(tmp_path / "weights"))
    return tmp_path


def refused(recipe: str, *, calibrations=None, **request) -> str:
    with pytest.raises(InputError) as caught:
        AUDITS[recipe](AuditRequest(**request), calibrations=calibrations)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_cell_is_a_recipe():
    assert (
        set(CELLS)
        == {name for name in AUDITS if name.startswith("paper/")}
        == {f"paper/{c}/{m}" for c in COLUMNS for m in MODELS}
    )
    with pytest.raises(InputError, match="did you mean 'paper/esc50/imagebind'"):
        AUDITS["paper/esc50/imagebnd"]
    with pytest.raises(InputError, match="did you mean"):
        AUDITS["paper/esc50"]


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_name_what_exists(name):
    column = COLUMNS[name]
    assert column.layout in DATASETS
    assert column.modality in MODALITIES
    assert column.prompts in ("", *PROMPTS)
    assert set(column.asks) <= {"zero_shot", "retrieval"}
    assert (
        not column.prompts or "zero_shot" not in column.asks or PROMPTS[column.prompts].templates_for(column.modality)
    )
    if column.train_from:
        assert column.train_from in COLUMNS
    elif column.train is not None:
        assert column.train != column.options  # what is reported is never trained on
    assert f"`{name}`" in DOCS


@pytest.mark.parametrize("name", MODELS)
def test_models_name_what_exists(name):
    model = MODELS[name]
    seen = towers(model.encoder)[model.encoder]
    assert tuple(seen) == model.sees
    for modality in {column.modality for column in COLUMNS.values()}:
        encoder, _ = model.for_modality(modality)
        assert encoder in ENCODERS
        assert (modality in seen) == (modality not in model.absent)
        if modality in seen:
            assert modality in towers(encoder)[encoder]


def test_which_cells_cannot_be():
    impossible = {(cell.column.modality, cell.model.name) for cell in CELLS.values() if cell.impossible}
    assert impossible == {("point", "imagebind"), ("point", "languagebind"), ("event", "imagebind")}
    assert refused("paper/modelnet40/languagebind").startswith(
        "paper/modelnet40/languagebind cannot be: LanguageBind has no tower for points"
    )


def test_what_this_machine_lacks(disk):
    def state(recipe):
        return CELLS[recipe].missing

    assert state("paper/esc50/tiny") == ()
    assert state("paper/esc50/imagebind") == ("weights",)
    assert state("paper/urbansound8k/imagebind") == ("data", "weights")
    assert state("paper/esc50/unibind") == ("weights", "centers")
    (disk / "weights" / "imagebind_huge.pth").write_bytes(b"")
    (disk / "weights" / "LanguageBind_Audio_FT").mkdir()
    (disk / "weights" / "centre_embs").mkdir()
    (disk / "weights" / "centre_embs" / "audio_esc_center_embeddings.pkl").write_bytes(b"")
    assert state("paper/esc50/imagebind") == state("paper/esc50/languagebind") == ()
    assert state("paper/ncaltech101/languagebind") == ("weights",)
    assert state("paper/esc50/unibind") == ("weights",)
    lines = {line.split()[0]: line for line in overview().splitlines() if line}
    assert re.fullmatch(r"esc50\s+audio\s+zero-shot\s+ready\s+ready\s+-weights\s+ready", lines["esc50"])
    assert re.fullmatch(
        r"modelnet40\s+point\s+zero-shot\s+n/a\s+n/a\s+-data -weights -centers\s+-data", lines["modelnet40"]
    )
    assert "n/a: ImageBind has no event input" in overview()
    assert f"IRONBIND_DATA={disk / 'data'}" in overview()


def test_one_line_for_what_is_missing(disk, monkeypatch):
    assert "UrbanSound8K is not there; expected it in IRONBIND_DATA/urbansound8k, or --data DIR" in refused(
        "paper/urbansound8k/tiny"
    )
    assert (
        "ImageBind's weights are not there; expected IRONBIND_WEIGHTS/imagebind_huge.pth, or --weights FILE"
        in refused("paper/esc50/imagebind")
    )
    assert "the recipe 'paper/esc50/tiny' is about audio" in refused("paper/esc50/tiny", modalities=("image",))
    assert "the recipe 'paper/esc50/tiny' is about tiny" in refused("paper/esc50/tiny", encoder=EncoderSpec("unibind"))
    assert "--layout csv: recipe 'paper/esc50/tiny' has no use for it" in refused("paper/esc50/tiny", layout="csv")
    assert "no such folder" in refused("paper/esc50/tiny", data=str(disk / "nowhere"))
    said = refused("paper/msrvtt-retrieval/tiny", data=str(disk))
    assert "has no MSRVTT_JSFUSION_test.csv" in said
    os.rename(disk / "data" / "ESC-50", disk / "esc")
    said = refused("paper/clotho/tiny", calibrations=("l2",))
    assert "trains heads on ESC-50, which is not there; expected IRONBIND_DATA/esc50" in said
    assert "--heads none" in said
    monkeypatch.delenv("IRONBIND_DATA")
    assert AUDITS["paper/esc50/tiny"](AuditRequest(NO_HEADS, data=str(disk / "esc")))


def test_what_a_cell_runs(disk):
    (job,) = AUDITS["paper/esc50/tiny"](AuditRequest(limit=2))
    assert (job.encoder.name, job.encoder.heads, job.modality) == ("tiny", None, "audio")
    assert job.centers == CenterSpec("languagebind")
    assert (job.data.layout, job.data.options, job.data.limit, job.data.whole_gallery) == (
        "esc50",
        {"fold": 1},
        2,
        False,
    )
    trained_by = [recipe.name for recipe in job.training.recipes]
    assert trained_by == [name for name in module.CALIBRATIONS if name in CALIBRATIONS]
    assert {"center_ce", "l2", "infonce"} <= set(trained_by)
    assert [budget.written for budget in job.budgets["logmel"]] == ["2/255", "4/255"]
    reported, trained = set(job.data.load().ids), set(job.training.data.load().ids)
    assert len(reported) == 2
    assert len(trained) == 6
    assert not reported & trained
    (wave,) = AUDITS["paper/esc50/tiny"](AuditRequest(NO_HEADS, space="waveform"))
    assert [one.written for one in wave.budgets["waveform"]] == ["0.4/255", "0.8/255"]
    assert (wave.training, wave.encoder.heads) == (TrainingSpec(), None)
    folds = DataSpec("esc50", str(disk / "data" / "ESC-50"), {"fold": (2, 3)}, limit=3)
    (mine,) = AUDITS["paper/esc50/tiny"](
        AuditRequest(eps=("1/255",), space="logmel"),
        centers=CenterSpec("names"), calibrations=("l2",), train=folds,
    )  # fmt: skip
    assert [budget.written for budget in mine.budgets["logmel"]] == ["1/255"]
    assert (mine.centers.prompts, mine.about["cell"]["prompts"]) == ("names", "names")
    assert [recipe.name for recipe in mine.training.recipes] == ["l2"]
    assert (mine.training.data, len(mine.training.data.load())) == (folds, 3)
    (loaded,) = AUDITS["paper/esc50/tiny"](AuditRequest(EncoderSpec(heads="shipped")))
    assert (loaded.encoder.heads, loaded.training) == ("shipped", TrainingSpec())


@pytest.mark.parametrize("option", ["fold=2", "classes=names.txt"])
def test_no_option_moves_reported_samples_into_those_that_train(disk, option):
    said = refused("paper/esc50/tiny", data_options=(option,))
    assert f"--data-option {option.split('=')[0]}=...: the recipe 'paper/esc50/tiny' chooses its samples itself" in said


@pytest.mark.parametrize("written", ["true", "True"])
def test_unreadable_files_are_left_out_of_what_trains_too(disk, written):
    files = sorted((disk / "data" / "ESC-50" / "audio").glob("*.wav"))
    (spoilt,) = [file for file in files if file.name.startswith("2-")][:1]
    spoilt.write_bytes(b"no sound")
    request = AuditRequest(data_options=(f"skip_unreadable={written}",))
    (job,) = AUDITS["paper/esc50/tiny"](request, calibrations=("l2",))
    assert len(job.training.data.load()) == 5
    assert len(job.data.load()) == 3


def test_halves_that_share_nothing(disk):
    for limit in (None, 1):
        (job,) = AUDITS["paper/ncaltech101/tiny"](AuditRequest(limit=limit), calibrations=("l2",))
        reported, trained = job.data.load(), job.training.data.load()
        assert len(reported) == len(trained) == 2
        assert not set(reported.ids) & set(trained.ids)
        assert job.data.attacked == limit


def test_a_retrieval_cell_keeps_its_gallery_and_every_caption(disk, tmp_path):
    # words that the built-in text tower knows: classes that heads train on, captions
    words = {"vacuum_cleaner": "ball", "dog": "mushroom", "chirping_birds": "barrel"}
    captions = {'Dist, "': 'ball, "', 'Café, "': 'mushroom, "', 'rain, "': 'barrel, "'}
    for table, renamed in (("ESC-50/meta/esc50.csv", words), ("clotho/clotho_captions_evaluation.csv", captions)):
        text = (disk / "data" / table).read_text(encoding="utf-8")
        for name, word in renamed.items():
            text = text.replace(name, word)
        (disk / "data" / table).write_text(text, encoding="utf-8")
    (job,) = AUDITS["paper/clotho/tiny"](AuditRequest(limit=2, steps=1), calibrations=("l2",))
    assert len(job.data.load()) > 2
    assert job.attacks == ()
    result = run_job(job, tmp_path / "run").result
    assert {row.task for row in result.rows} == {"retrieval:audio->text", "retrieval:text->audio"}
    assert {row.n for row in result.rows} == {2}
    asked = {(row.calibration, row.threat_model, row.eps) for row in result.rows}
    assert {
        ("l2", "replayed", "4/255"),
        ("l2", "adaptive", "4/255"),
        ("none", "whitebox", "2/255"),
        ("none", "clean", "0"),
    } <= asked
    # nothing else is asked, so the attack checks run on this
    checked = {check.scope.split(",")[0].split()[-1] for check in result.checks if check.code.startswith("C1")}
    assert checked == {"retrieval:audio->text", "retrieval:text->audio"}
    assert result.record["cell"]["dataset_title"] == "Clotho"
    assert "audio" in result.record["cell"]["sees"]


def test_unibinds_own_centers(disk):
    cell = Cell(COLUMNS["esc50"], MODELS["unibind"])
    assert "UniBind's own centers are not there" in refused(
        cell.recipe, encoder=EncoderSpec(weights="random", heads="none")
    )
    assert cell.missing == ("weights", "centers")
    assert module.has_centers(MODELS["unibind"], COLUMNS["ucf101"]) is False
    assert module.has_centers(MODELS["imagebind"], COLUMNS["esc50"]) is False


def test_a_limit_that_keeps_galleries_whole_is_a_fair_share(disk):
    folder = str(disk / "data" / "ESC-50")
    whole = load_dataset("esc50", folder)

    def limited(limit, seed):
        return DataSpec("esc50", folder, limit=limit, whole_gallery=True, seed=seed).load()

    for seed in (0, 1):
        first = limited(3, seed)
        assert sorted(first.labels[:3]) == [0, 1, 2]
        assert sorted(first.ids) == sorted(whole.ids)
        assert list(first.ids) == list(limited(3, seed).ids)
        assert set(first.ids[:3]) <= set(limited(6, seed).ids[:6])
    assert list(limited(50, 0).ids) == list(whole.ids)
    assert len(DataSpec("esc50", folder, limit=4).load()) == 4
