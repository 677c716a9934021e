"""Jobs on toys: one modality audited, calibrated, audited again, as `ironbind audit` and `ironbind demo` do it."""

import inspect
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from ironbind.attacks import PGD
from ironbind.core.default_budgets import SCALE, comparable, default_budgets, headline_index
from ironbind.evaluate.tasks import zero_shot as tasks
from ironbind.modalities import MODALITIES
from ironbind.recipes.calibrations import paper_v1, paper_v1_regularised
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.job import CheckSpec, Job, TrainingSpec
from ironbind.runs.prompted_tasks import templates_for, zero_shot
from ironbind.runs.run_job import run_job
from ironbind.types import InputError, Linf
from toys import Conv, ToyData

N = 16


@pytest.fixture(scope="module", autouse=True)
def toys():
    """The jobs' encoder and data are toys."""
    encoder = Conv()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoder_spec, "_loaded", lambda name, options: encoder)
        patch.setattr(data_spec, "load_dataset", lambda name, path=None, **options: ToyData(options.get("n", N)))
        yield


SMALL = Job(
    "image",
    attacks=(PGD(steps=3),),
    budgets={"pixels": (Linf("2/255"), Linf("4/255"))},
    training=TrainingSpec((paper_v1("l2"),), samples=48),
    extra_tasks=(ExtraTask("retrieval", limit=6), ExtraTask("illusion", limit=6), ExtraTask("hub", limit=4)),
    batch_size=8,
)


def with_heads(heads, job=SMALL) -> Job:
    """The job with parts that are loaded rather than trained."""
    return replace(job, training=TrainingSpec(), encoder=EncoderSpec(heads=str(heads)))


NO_CHECKS = CheckSpec("not asked here", None)
TRAINED = replace(SMALL, extra_tasks=(), checks=NO_CHECKS, gallery_items=0)


@pytest.fixture(scope="module")
def done(toys, tmp_path_factory):
    """The small job's run folder and its outcome."""
    folder = tmp_path_factory.mktemp("small")
    return folder, run_job(SMALL, folder)


@pytest.fixture
def copied(done, tmp_path):
    """That folder, to go on in."""
    return shutil.copytree(done[0], tmp_path / "run")


@pytest.mark.bits
def test_a_whole_job(done, copied):
    outcome = done[1]
    rows = outcome.result.rows
    assert len(rows) == len(set(rows))
    asked = {(row.task, row.calibration, row.threat_model, row.eps) for row in rows}
    for eps in ("2/255", "4/255"):
        assert {
            ("zero_shot", "none", "whitebox", eps),
            ("zero_shot", "l2", "replayed", eps),
            ("zero_shot", "l2", "adaptive", eps),
        } <= asked
    # every replayed number has its adaptive one beside it
    for row in rows:
        if row.threat_model == "replayed":
            assert replace(row, threat_model="adaptive", value=0, ci_low=0, ci_high=0, checks="") in {
                replace(one, value=0, ci_low=0, ci_high=0, checks="") for one in rows if one.threat_model == "adaptive"
            }
    index = {"index:image->image", "index:image->text"}
    others = {"retrieval:image->text", "retrieval:text->image", "illusion:image->text", "hub:text->image"}
    assert {row.task for row in rows} == {"zero_shot", *others, *index}
    assert {row.eps for row in rows if row.task in others} == {"0", "4/255"}
    assert {row.n for row in rows if row.task in others} == {6, 4}
    (item,) = outcome.result.gallery
    assert (item.eps, item.calibrated, item.modality) == ("4/255", "l2", "image")
    clean, adversarial = outcome.arrays[f"{item.key}/clean"], outcome.arrays[f"{item.key}/adversarial"]
    assert 0 < np.abs(clean - adversarial).max() <= 4 / 255 + 1e-6
    assert item.clean[0].label == item.truth != item.adversarial[0].label
    assert (copied / "heads" / "l2" / "image" / "heads.safetensors").exists()
    again = run_job(with_heads(copied / "heads" / "l2" / "image"), copied)
    assert set(again.result.rows) == set(rows)


@pytest.mark.bits
def test_a_killed_job_goes_on(done, copied):
    first = done[1]
    passes = first.result.record["gradient_passes"]
    second = run_job(SMALL, copied)
    assert second.result.rows == first.result.rows
    assert second.result.record["gradient_passes"] == passes
    assert second.result.gallery == first.result.gallery
    assert all(second.arrays[name].tobytes() == array.tobytes() for name, array in first.arrays.items())


@pytest.mark.bits
def test_radii_in_any_order_are_the_same_audit(tmp_path):
    job = replace(SMALL, training=TrainingSpec(), extra_tasks=())
    rising = run_job(job, tmp_path)
    falling = run_job(replace(job, budgets={"pixels": (Linf("4/255"), Linf("2/255"))}), tmp_path)
    assert falling.result.rows == rising.result.rows
    assert falling.result.gallery == rising.result.gallery
    # nothing was attacked again
    assert falling.result.record["gradient_passes"] == rising.result.record["gradient_passes"]


def test_only_this_modality_is_on_record_of_parts_for_several(tmp_path):
    (mine,) = run_job(TRAINED, tmp_path).result.calibrations
    saved = tmp_path / "heads" / "l2" / "image" / "calibration.json"
    about = json.loads(saved.read_text())
    about["records"] += [{**about["records"][0], "modality": "thermal"}]
    saved.write_text(json.dumps(about))
    again = run_job(with_heads(saved.parent, TRAINED), tmp_path)
    assert again.result.calibrations == [mine]


def test_heads_for_another_modality(done, tmp_path):
    folder, _ = done
    with pytest.raises(InputError, match=r"--heads .* holds heads for image, not for thermal"):
        run_job(with_heads(folder / "heads" / "l2" / "image", replace(TRAINED, modality="thermal")), tmp_path)


def test_audio_in_both_spaces(tmp_path):
    job = Job(
        "audio",
        attacks=(PGD(steps=2),),
        spaces=("logmel", "waveform"),
        training=TrainingSpec((paper_v1("l2"),), samples=24),
        checks=NO_CHECKS,
        batch_size=16,
    )
    outcome = run_job(job, tmp_path)
    assert {row.space for row in outcome.result.rows} == {"logmel", "waveform"}
    assert {row.eps for row in outcome.result.rows if row.space == "waveform"} == {
        "0",
        *(one.written for one in default_budgets("waveform")),
    }
    (record,) = outcome.result.calibrations
    assert (record.space, record.eps, record.train_samples) == (
        "logmel+waveform",
        f"4/255+{default_budgets('waveform')[2].written}",
        48,
    )
    keys = {item.space: item.key for item in outcome.result.gallery}
    assert outcome.arrays[f"{keys['waveform']}/waveform"].shape == (64,)
    assert f"{keys['waveform']}/waveform_adversarial" in outcome.arrays
    assert f"{keys['logmel']}/waveform" in outcome.arrays


# --------------------------------------------------------------------------------------------------------- budgets


def test_ladders():
    assert [one.written for one in default_budgets("pixels")] == ["1/255", "2/255", "4/255", "8/255"]
    assert [one.radius for one in default_budgets("pixels")] == [1 / 255, 2 / 255, 4 / 255, 8 / 255]
    quiet = float(SCALE["waveform"])
    assert [one.radius for one in default_budgets("waveform")] == pytest.approx(
        [quiet * one.radius for one in default_budgets("pixels")]
    )
    assert [one.written for one in default_budgets("waveform")] == [f"{quiet * k:g}/255" for k in (1, 2, 4, 8)]
    with pytest.raises(InputError, match="norm 'l2' has no default epsilons"):
        default_budgets("pixels", "l2")


def test_comparable_budgets_say_what_they_are():
    for written in ("4/255", "0.5", "1e-3"):
        for space in ("waveform", "pixels"):
            made = comparable(Linf(written), space)
            assert Linf(made.written).radius == pytest.approx(made.radius)
            assert made.radius == pytest.approx(Linf(written).radius * float(SCALE.get(space, 1)))


def test_headlines():
    assert headline_index(default_budgets("pixels"), "pixels") == 2
    assert headline_index(default_budgets("waveform"), "waveform") == 2
    assert headline_index((Linf("1/255"), Linf("3/255")), "pixels") == 1
    assert headline_index((Linf("4/255"), Linf("8/255")), "pixels") == 0


# ----------------------------------------------------------------------------------------------------- calibrations


@pytest.mark.parametrize("objective", ["center_ce", "l2", "infonce"])
def test_the_papers_calibrations(objective):
    recipe = paper_v1(objective)
    (stage,) = recipe.stages
    assert (recipe.name, recipe.head, stage.budget.written) == (objective, "linear", "4/255")
    assert stage.elsewhere["waveform"] == comparable(Linf("4/255"), "waveform")
    regularised = paper_v1_regularised(objective, 0.5, head="mlp", eps="2/255")
    assert regularised.stages[0].elsewhere["waveform"] == comparable(Linf("2/255"), "waveform")
    assert (regularised.name, regularised.head) == (f"{objective}_regularised", "mlp")
    with pytest.raises(ValueError, match="objective 'centre_ce' is not known; did you mean 'center_ce'"):
        paper_v1("centre_ce")


def test_prompts_come_from_the_caller_then_the_data_then_the_modality():
    data = ToyData(8)
    assert zero_shot(Conv(), data, "image").templates == MODALITIES["image"].templates
    data.templates = ("the {}",)
    assert zero_shot(Conv(), data, "image").templates == ("the {}",)
    assert zero_shot(Conv(), data, "image", templates=["a {}"]).templates == ("a {}",)
    assert zero_shot(Conv(), ToyData(8, modalities=["image"])).modality == "image"
    with pytest.raises(InputError, match="say which modality"):
        zero_shot(Conv(), data)


def test_prompts_of_a_modality_nobody_has_templates_for():
    data = ToyData(8)
    assert templates_for(data, "smell") == ("{}",)
    data.templates = ("the {}",)
    assert templates_for(data, "smell") == ("the {}",)


def test_every_option_of_the_question_is_offered():
    assert inspect.signature(zero_shot) == inspect.signature(tasks.zero_shot)
    task = zero_shot(Conv(), ToyData(8), "audio", space="logmel", limit=3)
    assert (task.space.name, len(task)) == ("logmel", 3)
    with pytest.raises(TypeError, match="unexpected keyword argument 'spaces'"):
        zero_shot(Conv(), ToyData(8), "audio", spaces="logmel")
