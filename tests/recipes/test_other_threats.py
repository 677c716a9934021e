"""Recipes for corruptions, universal perturbations and transfer, on toys and small files."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture

from ironbind import recipes
from ironbind.attacks import PGD, Noise, bindattack
from ironbind.core.results import Result
from ironbind.data import load_dataset
from ironbind.recipes import AUDITS
from ironbind.recipes.calibrations import infonce, l2
from ironbind.recipes.request import AuditRequest, attacks_of
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.job import CheckSpec, Job, TrainingSpec
from ironbind.runs.run_job import run_job
from ironbind.runs.run_jobs import run_jobs
from ironbind.runs.task_attacks import FittedUniversal, FromSurrogate
from ironbind.types import InputError, Linf
from toys import Conv, Linear, ToyData

N = 16
IMAGE = AuditRequest(modalities=("image",), limit=4)
OTHER = EncoderSpec("tiny", weights="other.safetensors")
LADDER = {"pixels": (Linf("4/255"), Linf("12/255"))}


@pytest.fixture
def pictures(tmp_path):
    """Two classes of real files: eight balls, four mushrooms."""
    rng = np.random.default_rng(0)
    for name, count in (("ball", 8), ("mushroom", 4)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(count):
            Picture.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(
                tmp_path / "pictures" / name / f"{i}.png"
            )
    return tmp_path / "pictures"


@pytest.fixture
def toys(monkeypatch):
    """Every job's encoder, surrogate and data are toys; the surrogate is the one with weights of its own."""
    encoder, other = Conv(), Linear()
    monkeypatch.setattr(encoder_spec, "_loaded", lambda name, options: other if options else encoder)
    monkeypatch.setattr(data_spec, "load_dataset", lambda name, path=None, **options: ToyData(options.get("n", N)))


def test_recipes_make_jobs_that_travel(pictures):
    folder = replace(IMAGE, data=str(pictures))
    for jobs in (
        recipes.corruptions(IMAGE), recipes.corruptions(folder), recipes.universal(IMAGE), recipes.universal(folder),
        recipes.transfer(IMAGE, surrogate=OTHER),
    ):  # fmt: skip
        (job,) = jobs
        assert pickle.loads(pickle.dumps(job)) == job


def test_any_layout_will_do_that_has_classes(pictures):
    (job,) = AUDITS["corruptions"](replace(IMAGE, data=str(pictures), layout="folder", limit=None))
    assert (job.data.layout, job.corrupted, len(job.data.load())) == ("folder", True, 12)
    (job,) = AUDITS["universal"](replace(IMAGE, data=str(pictures), layout="folder", limit=None))
    assert len(job.data.load()) == len(job.attacks[0].train.load()) == 6


# ------------------------------------------------------------------------------------------------------ corruptions


def test_corruptions_in_every_space(toys, tmp_path):
    (audio,) = AUDITS["corruptions"](replace(IMAGE, modalities=("audio",)))
    assert set(audio.spaces) == set(audio.budgets) == {"waveform", "logmel"}
    (one,) = AUDITS["corruptions"](replace(IMAGE, modalities=("audio",), space="waveform", eps=("1/255",)))
    assert (one.spaces, one.budgets) == (("waveform",), {"waveform": (Linf("1/255"),)})
    with pytest.raises(InputError, match="--eps 1/255 has no meaning for audio without a space"):
        AUDITS["corruptions"](replace(IMAGE, modalities=("audio",), eps=("1/255",)))
    outcome = run_job(replace(audio, batch_size=8), tmp_path)
    attacks = {(row.space, row.attack) for row in outcome.result.rows}
    assert {
        ("waveform", "time_shift"),
        ("logmel", "time_mask"),
        ("waveform", "random_noise"),
        ("logmel", "random_noise"),
    } <= attacks
    assert {row.threat_model for row in outcome.result.rows} == {"clean", "corrupted"}
    assert not outcome.result.gallery
    assert [one.code for one in outcome.result.checks] == ["C23", "C23"]


def test_corruptions_of_calibrated_encoders(toys, tmp_path):
    job = Job(
        "image",
        attacks=(),
        corrupted=True,
        gallery_items=0,
        budgets=LADDER,
        training=TrainingSpec((l2(), infonce()), samples=24),
    )
    result = run_job(job, tmp_path).result
    assert len(result.rows) == len(set(result.rows))
    per_calibration = {
        name: len(result.select(calibration=name, threat_model="corrupted")) for name in ("none", "l2", "infonce")
    }
    assert set(per_calibration.values()) == {3 * (6 * 5 + 2)}
    assert [one.scope.split(", ")[1] for one in result.checks if one.code == "C23"] == ["none", "l2", "infonce"]


def test_corruptions_beside_an_attack(toys, tmp_path):
    """One job may measure both; its clean rows stand once, with the checks that were run."""
    job = Job(
        "image",
        attacks=(PGD(steps=1), PGD(steps=1, loss="ce")),
        corrupted=True,
        budgets={"pixels": (Linf("4/255"),)},
        checks=CheckSpec(black_box=None),
    )
    result = run_job(job, tmp_path).result
    assert {row.threat_model for row in result.rows} == {"clean", "whitebox", "corrupted"}
    (clean,) = result.select(metric="top1", threat_model="clean")
    assert clean.checks != "unchecked"


# -------------------------------------------------------------------------------------------------------- universal


def test_a_perturbation_is_fitted_and_tried_on_different_halves(pictures, tmp_path):
    (job,) = AUDITS["universal"](replace(IMAGE, data=str(pictures), limit=None, steps=1))
    (fitted,) = job.attacks
    assert isinstance(fitted, FittedUniversal)
    assert (fitted.train, fitted.epochs) == (DataSpec("folder", str(pictures), {"modality": "image"}, "first"), 1)
    trained, reported = fitted.train.load(), job.data.load()
    assert sorted([*trained.ids, *reported.ids]) == sorted(load_dataset("folder", str(pictures), modality="image").ids)
    assert not set(trained.ids) & set(reported.ids)
    assert sorted(trained.labels) == sorted(reported.labels) == [0, 0, 0, 0, 1, 1]
    assert replace(fitted.train, seed=1).load().ids != trained.ids
    run_jobs([job], tmp_path / "run")
    result = Result.read(tmp_path / "run")
    assert {row.n for row in result.rows} == {6}
    assert {row.attack for row in result.rows} == {"none", "universal"}
    assert len(list((tmp_path / "run" / "universal").glob("image-pixels-linf-*.npy"))) == 4
    (left_out,) = [one for one in result.checks if one.code == "C1-C22"]
    assert "one perturbation for all inputs finds less by construction" in left_out.detail


def test_with_training_data_nothing_is_cut_in_halves(pictures):
    elsewhere = DataSpec("folder", str(pictures), {"modality": "image"})
    (job,) = recipes.universal(replace(IMAGE, data=str(pictures)), train=elsewhere)
    assert (job.data.half, job.attacks[0].train) == ("", elsewhere)
    (world,) = recipes.universal(IMAGE)
    assert (world.data.half, world.attacks[0].train) == ("", None)
    (world,) = recipes.universal(IMAGE, train=elsewhere)
    assert (world.data.half, world.attacks[0].train) == ("", elsewhere)


def test_what_cannot_be_halved(pictures):
    with pytest.raises(InputError, match="data set 'world' of 8 samples cannot be halved"):
        DataSpec("world", None, {"n": 8}, "first").load()
    with pytest.raises(InputError, match="of 1 samples cannot be halved"):
        DataSpec("folder", str(pictures), {"modality": "image", "limit": 1}, "first").load()


# --------------------------------------------------------------------------------------------------------- transfer


def test_transfer_climbs_to_the_end(toys, tmp_path):
    (job,) = recipes.transfer(replace(IMAGE, attack="standard"), surrogate=OTHER)
    (crafted,) = job.attacks
    assert isinstance(crafted, FromSurrogate)
    assert [one.name for one in crafted.attacks] == [one.name for one in bindattack("standard").stages]
    assert not any(one.stop_when_reached for one in crafted.attacks if hasattr(one, "stop_when_reached"))
    (job,) = recipes.transfer(replace(IMAGE, steps=3), surrogate=OTHER)
    assert job.attacks[0].attacks == tuple(
        PGD(steps=3, loss=loss, stop_when_reached=False) for loss in ("margin", "ce")
    )
    result = run_job(replace(job, budgets=LADDER), tmp_path).result
    assert {row.threat_model for row in result.rows} == {"clean", "transfer"}
    assert {row.attack for row in result.rows} == {"none", "transfer-tiny"}


# --------------------------------------------------------------------------------------------------------- refusals


def test_modalities_go_to_the_devices_in_turn():
    request = replace(IMAGE, modalities=("image", "audio", "point"), encoder=EncoderSpec(device="cpu, cpu:0"))
    assert [job.encoder.device for job in AUDITS["world"](request)] == ["cpu", "cpu:0", "cpu"]
    jobs = recipes.transfer(request, surrogate=EncoderSpec())
    # a surrogate lies beside the encoder under attack
    assert [job.attacks[0].encoder.device for job in jobs] == ["cpu", "cpu:0", "cpu"]


@pytest.mark.parametrize(
    ("recipe", "more", "message"),
    [
        ("corruptions", {"attack": "pgd"}, "--attack pgd: recipe 'corruptions' has no use for it"),
        ("corruptions", {"steps": 3}, "--steps 3: recipe 'corruptions'"),
        ("universal", {"attack": "pgd"}, "--attack pgd: recipe 'universal'"),
        ("universal", {"norm": "snr"}, "--norm snr: gives every sample a radius of its own"),
        ("transfer", {}, "a function of your own, FILE.py:FUNCTION, that returns ironbind.recipes.transfer(request, "),
        ("transfer", {"surrogate": EncoderSpec("tinny")}, "encoder 'tinny' is not known; did you mean 'tiny'"),
        ("transfer", {"surrogate": EncoderSpec(device="nowhere")}, "--device nowhere: Expected one of cpu"),
        ("world", {"encoder": EncoderSpec(device="nowhere")}, "--device nowhere: Expected one of cpu"),
        (
            "world",
            {"encoder": EncoderSpec(device="cuda:99")},
            "--device cuda:99: .*; expected cpu, or a GPU that this PyTorch can use, as cuda:0",
        ),
        (
            "world",
            {"encoder": EncoderSpec(dtype="float32")},
            "--dtype float32: encoder 'tiny' does not take this option",
        ),
        ("world", {"layout": "folder"}, "--layout folder: recipe 'world' has no use for it"),
    ],
)
def test_what_changes_nothing_or_is_not_there_is_refused(recipe, more, message):
    surrogate = {"surrogate": more.pop("surrogate")} if "surrogate" in more else {}
    with pytest.raises(InputError, match=message.replace("(", r"\(")):
        AUDITS[recipe](replace(IMAGE, **more), **surrogate)


def test_every_attack_of_a_request_gets_its_steps():
    assert attacks_of(AuditRequest(steps=3)) == (PGD(steps=3), PGD(steps=3, loss="ce"))
    assert attacks_of(AuditRequest(attack="noise, pgd")) == (Noise(), PGD())
    with pytest.raises(InputError, match="--steps 3: attack 'noise' has no such knob; leave it out"):
        attacks_of(AuditRequest(attack="noise", steps=3))
