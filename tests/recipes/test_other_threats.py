"""Recipes for corruptions, universal perturbations and transfer, and what `--eot` and `--bf16` make of attacks; on toys
and small files.
"""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image as Picture

from ironbind.attacks import EOT, PGD, Ensemble, Noise, bindattack
from ironbind.core.results import Result
from ironbind.data import load_dataset
from ironbind.recipes import AUDITS
from ironbind.recipes.world_and_folder import Choices, attacks_of
from ironbind.runs import data_spec as origins
from ironbind.runs import run_job as jobs
from ironbind.runs import task_attacks as tailored
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.run_job import Job, run_job
from ironbind.runs.run_jobs import run_jobs
from ironbind.runs.task_attacks import FittedUniversal, FromSurrogate, InBfloat16
from ironbind.types import InputError, Linf
from toys import Conv, Linear, ToyData

N = 16
IMAGE = Choices(modalities=("image",), limit=4)
LADDER = {"pixels": (Linf("4/255"), Linf("12/255"))}


@pytest.fixture
def pictures(tmp_path):
    """Two classes of real files: eight cats, four dogs."""
    rng = np.random.default_rng(0)
    for name, count in (("cat", 8), ("dog", 4)):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(count):
            Picture.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(
                tmp_path / "pictures" / name / f"{i}.png"
            )
    return tmp_path / "pictures"


@pytest.fixture
def toys(monkeypatch):
    """Every job's encoder, surrogate and data are toys."""
    encoder, other = Conv(), Linear()
    monkeypatch.setattr(jobs, "encoder_for", lambda name, options: encoder)
    monkeypatch.setattr(tailored, "encoder_for", lambda name, options: other)
    monkeypatch.setattr(origins, "load_dataset", lambda name, path=None, **options: ToyData(options.get("n", N)))


def test_recipes_make_jobs_that_travel(pictures):
    folder = replace(IMAGE, data=str(pictures))
    for recipe, choices in (
        ("corruptions", IMAGE), ("corruptions", folder), ("universal", IMAGE), ("universal", folder),
        ("transfer", replace(IMAGE, surrogate="tiny")), ("world", replace(IMAGE, bf16=True)), ("world", replace(IMAGE, eot=3)),
    ):  # fmt: skip
        (job,) = AUDITS[recipe](choices)
        assert pickle.loads(pickle.dumps(job)) == job


def test_any_layout_will_do_that_has_classes(pictures):
    (job,) = AUDITS["corruptions"](replace(IMAGE, data=str(pictures), layout="folder", limit=None))
    assert (job.data, job.corrupted, len(job.origin.load())) == ("folder", True, 12)
    (job,) = AUDITS["universal"](replace(IMAGE, data=str(pictures), layout="folder", limit=None))
    assert len(job.origin.load()) == len(job.attacks[0].train.load()) == 6


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
        calibrations=("l2", "infonce"),
        train_samples=24,
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
        black_box=None,
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
    trained, reported = fitted.train.load(), job.origin.load()
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
    (job,) = AUDITS["universal"](replace(IMAGE, data=str(pictures), train_data=str(pictures)))
    assert job.half == ""
    assert job.attacks[0].train == DataSpec("folder", str(pictures), {"modality": "image"})
    (world,) = AUDITS["universal"](IMAGE)
    assert (world.half, world.attacks[0].train) == ("", None)


def test_what_cannot_be_halved(pictures):
    with pytest.raises(InputError, match="data set 'world' of 8 samples cannot be halved"):
        DataSpec("world", None, {"n": 8}, "first").load()
    with pytest.raises(InputError, match="of 1 samples cannot be halved"):
        DataSpec("folder", str(pictures), {"modality": "image", "limit": 1}, "first").load()


# --------------------------------------------------------------------------------------------------------- transfer


def test_transfer_climbs_to_the_end(toys, tmp_path):
    (job,) = AUDITS["transfer"](replace(IMAGE, surrogate="tiny", attack="standard"))
    (crafted,) = job.attacks
    assert isinstance(crafted, FromSurrogate)
    assert [one.name for one in crafted.attacks] == [one.name for one in bindattack("standard").stages]
    assert not any(one.stop_when_reached for one in crafted.attacks if hasattr(one, "stop_when_reached"))
    (job,) = AUDITS["transfer"](replace(IMAGE, surrogate="tiny", steps=3))
    assert job.attacks[0].attacks == tuple(
        PGD(steps=3, loss=loss, stop_when_reached=False) for loss in ("margin", "ce")
    )
    result = run_job(replace(job, budgets=LADDER), tmp_path).result
    assert {row.threat_model for row in result.rows} == {"clean", "transfer"}
    assert {row.attack for row in result.rows} == {"none", "transfer-tiny"}


# ---------------------------------------------------------------------------------------------------- eot and bf16


def test_every_attack_is_wrapped():
    assert attacks_of(Choices(steps=3, eot=5)) == (EOT(PGD(steps=3), 5), EOT(PGD(steps=3, loss="ce"), 5))
    (whole,) = attacks_of(Choices(attack="standard", eot=2))
    assert isinstance(whole, Ensemble)
    assert whole.name == "eot2-bindattack-standard"
    assert all(isinstance(one, EOT) and one.draws == 2 for one in whole.stages)
    assert attacks_of(Choices(attack="noise,pgd", bf16=True)) == (InBfloat16(Noise()), InBfloat16(PGD()))
    with pytest.raises(InputError, match="--eot 2 and --bf16 exclude each other"):
        attacks_of(Choices(eot=2, bf16=True))


# --------------------------------------------------------------------------------------------------------- refusals


def test_modalities_go_to_the_devices_in_turn():
    jobs = AUDITS["world"](replace(IMAGE, modalities=("image", "audio", "point"), device="cpu, cpu:0"))
    assert [dict(one.encoder_options)["device"] for one in jobs] == ["cpu", "cpu:0", "cpu"]
    jobs = AUDITS["transfer"](replace(IMAGE, modalities=("image", "audio"), device="cpu, cpu:0", surrogate="tiny"))
    assert [dict(one.attacks[0].options)["device"] for one in jobs] == [
        "cpu",
        "cpu:0",
    ]  # a surrogate lies beside the encoder under attack


@pytest.mark.parametrize(
    ("recipe", "more", "said"),
    [
        ("corruptions", {"attack": "pgd"}, "--attack pgd: recipe 'corruptions' has no use for it"),
        ("corruptions", {"steps": 3}, "--steps 3: recipe 'corruptions'"),
        ("corruptions", {"bf16": True}, "--bf16: recipe 'corruptions'"),
        ("universal", {"eot": 3}, "--eot 3: recipe 'universal'"),
        ("universal", {"surrogate_weights": "x"}, "--surrogate-weights x: recipe 'universal'"),
        ("universal", {"norm": "snr"}, "--norm snr: gives every sample a radius of its own"),
        ("transfer", {}, "--surrogate is missing"),
        ("transfer", {"surrogate": "tiny", "retrieval": True}, "--retrieval: recipe 'transfer'"),
        ("transfer", {"surrogate": "tinny"}, "encoder 'tinny' is not known; did you mean 'tiny'"),
        ("transfer", {"surrogate": "tiny", "device": "nowhere"}, "--device nowhere: Expected one of cpu"),
        (
            "world",
            {"device": "cuda:99"},
            "--device cuda:99: .*; expected cpu, or a GPU that this PyTorch can use, as cuda:0",
        ),
        ("world", {"dtype": "float32"}, "--dtype float32: encoder 'tiny' does not take this option"),
        ("world", {"surrogate": "tiny"}, "--surrogate tiny: only the recipe 'transfer' has use for one"),
        ("world", {"surrogate_weights": "x"}, "only the recipe 'transfer' has use for one"),
    ],
)
def test_choices_that_change_nothing_are_refused(recipe, more, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        AUDITS[recipe](replace(IMAGE, **more))
