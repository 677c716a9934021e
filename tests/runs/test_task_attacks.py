"""Attacks made for a task: one perturbation fitted elsewhere and kept as a file, examples from a surrogate, a bfloat16
copy to climb on.
"""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from ironbind.attacks import PGD, Ensemble, MixedPrecision, Transfer
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.core.results import INDEX
from ironbind.modalities.spaces import PIXELS
from ironbind.runs import data_spec, encoder_spec
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.runs.task_attacks import FittedUniversal, FromSurrogate, InBfloat16
from ironbind.types import SNR, AttackFactory, InputError, Linf, Space
from toys import Conv, Counting, Linear, ToyData, Transformer, audit, rng

N = 24
LADDER = (Linf("4/255"), Linf("12/255"))


def image(encoder=None, data=None):
    return zero_shot(encoder or Conv(), data or ToyData(N), "image")


def bent(encoder):
    head = IdentityLinear(encoder.dim)
    with torch.no_grad():
        head.linear.weight[0, 1] += 0.5
    return Calibrated(encoder, {"image": head}, "bent", "linear")


@pytest.mark.parametrize(
    "one",
    [
        FittedUniversal(),
        FromSurrogate((PGD(),), EncoderSpec("tiny")),
        InBfloat16(PGD()),
        FittedUniversal(DataSpec("folder", "/data")),
    ],
)
def test_each_is_a_value_that_travels(one):
    assert isinstance(one, AttackFactory)
    assert pickle.loads(pickle.dumps(one)) == one
    assert one.name == one.name.lower()


# ------------------------------------------------------------------------------------------------------- universal


def test_a_perturbation_for_every_budget_fitted_on_other_samples(tmp_path):
    task = image()
    attack = FittedUniversal(samples=32, epochs=4).for_task(task, LADDER, tmp_path)
    x, goal = task.load(range(N)), task.goal(range(N))
    fallen = [int(attack(task.embed, x, goal, task.space, budget, rng(N)).reached.sum()) for budget in LADDER]
    assert int(goal.reached(task.embed(x)).sum()) < fallen[1]
    files = sorted((tmp_path / "universal").iterdir())
    assert len(files) == 2
    for budget, name in zip(LADDER, ("4of255", "12of255"), strict=True):
        (file,) = (tmp_path / "universal").glob(f"image-pixels-linf-{name}-????????.npy")
        delta = np.load(file)
        assert delta.shape == (3, 8, 8)
        assert 0 < np.abs(delta).max() <= budget.radius + 1e-6


def test_a_file_is_read_back_and_refitted_when_it_is_damaged(tmp_path):
    encoder = Counting(Conv())
    fitted = FittedUniversal(samples=16, epochs=2)
    first = fitted.for_task(image(encoder), LADDER, tmp_path)
    assert encoder.rows
    encoder.rows.clear()
    assert fitted.for_task(image(encoder), LADDER, tmp_path) == first
    assert not encoder.rows
    damaged = next((tmp_path / "universal").glob("*-4of255-*"))
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert fitted.for_task(image(encoder), LADDER, tmp_path) == first
    assert encoder.rows


def test_all_that_decides_a_perturbation_is_in_its_key(tmp_path):
    def made(task=None, **knobs):
        known = set(tmp_path.glob("universal/*"))
        replace(FittedUniversal(samples=16, epochs=1), **knobs).for_task(task or image(), LADDER[:1], tmp_path)
        return len(set(tmp_path.glob("universal/*")) - known)

    assert made() == 1
    assert made() == 0
    others = [
        {"epochs": 2},
        {"samples": 12},
        {"loss": "ce"},
        {"task": image(bent(Conv()))},
        {"task": image(data=ToyData(N, seed=1))},
    ]
    assert [made(**one) for one in others] == [1] * len(others)


def test_it_is_fitted_anew_on_a_calibrated_encoder(tmp_path):
    """Replayed is the backbone's perturbation, adaptive one that was fitted through the head."""
    result = audit(image(bent(Conv())), FittedUniversal(samples=16, epochs=2), LADDER, out=tmp_path, checks=False)
    assert {row.threat_model for row in result.rows} == {"clean", "whitebox", "replayed", "adaptive"}
    assert {row.attack for row in result.rows} == {"none", "universal"}
    assert len(list(tmp_path.glob("universal/*.npy"))) == 2 * len(LADDER)
    alone = audit(image(), FittedUniversal(samples=16, epochs=2), LADDER, checks=False)
    assert [row for row in result.rows if row.calibration == "none" and not row.task.startswith(INDEX)] == alone.rows
    through = FittedUniversal(samples=16, epochs=2).for_task(image(bent(Conv())), LADDER, tmp_path)
    assert result.threat_models[0].attack == repr(through)


def test_what_no_perturbation_can_be_fitted_for(tmp_path):
    class Others(ToyData):
        def split(self, name, samples):
            found = super().split(name, samples)
            found.classes = found.classes[::-1]
            return found

    with pytest.raises(InputError, match="no perturbation can be fitted on other classes than it is tried on"):
        FittedUniversal().for_task(image(data=Others(N)), LADDER, tmp_path)
    sound = zero_shot(Conv(), ToyData(N), "audio", space="waveform")
    with pytest.raises(InputError, match="radius of its own"):
        FittedUniversal(samples=8).for_task(sound, (SNR(20),), tmp_path)


def test_training_data_may_come_from_elsewhere(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        data_spec,
        "load_dataset",
        lambda name, path=None, **options: asked.append((name, path, options)) or ToyData(16, seed=5),
    )
    FittedUniversal(DataSpec("folder", "/elsewhere", {"modality": "image"}), samples=8, epochs=1).for_task(
        image(), LADDER[:1], tmp_path
    )
    assert asked == [("folder", "/elsewhere", {"modality": "image"})]


# ------------------------------------------------------------------------------------------------------- surrogate


@pytest.fixture
def surrogates(monkeypatch):
    """Encoders by name, as the table would load them."""
    there = {"linear": Linear(), "conv": Conv(), "transformer": Transformer()}
    monkeypatch.setattr(encoder_spec, "loader_of", {name: lambda: None for name in there}.__getitem__)
    monkeypatch.setattr(encoder_spec, "_loaded", lambda name, options: there[name])
    return there


def test_examples_come_from_the_surrogate(surrogates, tmp_path):
    crafted = FromSurrogate((PGD(steps=6, stop_when_reached=False),), EncoderSpec("linear"))
    attack = crafted.for_task(image(), LADDER, tmp_path)
    assert isinstance(attack, Transfer)
    assert attack.surrogate_name.startswith("linear@")
    result = audit(image(), crafted, LADDER, checks=False, threat_model="transfer")
    assert {row.attack for row in result.rows} == {"none", "transfer-linear"}
    assert result.value(metric="top1", eps="12/255") < result.value(metric="top1", eps="0")


@pytest.mark.parametrize("make", [Conv, lambda: bent(Conv())], ids=["plain", "calibrated"])
def test_no_encoder_is_its_own_surrogate(surrogates, tmp_path, make):
    with pytest.raises(InputError, match="surrogate conv: is the encoder under attack itself, weights and all"):
        FromSurrogate((PGD(),), EncoderSpec("conv")).for_task(image(make()), LADDER, tmp_path)


def test_a_surrogate_that_takes_other_inputs(surrogates, tmp_path):
    crafted, linear = FromSurrogate((PGD(),), EncoderSpec("linear")), surrogates["linear"]
    with pytest.raises(
        InputError, match="surrogate linear: takes audio as waveform; expected logmel, in which conv is attacked"
    ):
        crafted.for_task(zero_shot(Conv(), ToyData(N), "audio"), LADDER, tmp_path)
    whole = linear.inputs["image"]
    linear.inputs["image"] = replace(whole, shape=(3, 9, 9))
    with pytest.raises(
        InputError,
        match=r"takes image in pixels as \(3, 9, 9\) within .*; expected \(3, 8, 8\) within \(0.0, 1.0\), as conv does",
    ):
        crafted.for_task(image(), LADDER, tmp_path)
    linear.inputs["image"] = replace(whole, space=Space(PIXELS.name, PIXELS.unit, -1.0, 1.0))
    with pytest.raises(InputError, match=r"within \(-1.0, 1.0\); expected .* within \(0.0, 1.0\)"):
        crafted.for_task(image(), LADDER, tmp_path)
    del linear.inputs["image"]
    with pytest.raises(InputError, match="surrogate linear: does not take image; it takes audio, thermal"):
        crafted.for_task(image(), LADDER, tmp_path)


# -------------------------------------------------------------------------------------------------------- bfloat16


def test_it_climbs_on_a_copy_of_whatever_is_examined(tmp_path):
    encoder = Transformer()
    task = image(encoder)
    attack = InBfloat16(PGD(steps=2)).for_task(task, LADDER, tmp_path)
    assert isinstance(attack, MixedPrecision)
    x = task.load(range(N))
    assert not attack.fast(x).equal(task.embed(x))
    assert torch.allclose(attack.fast(x), task.embed(x), atol=0.05)
    again = InBfloat16(PGD(steps=2)).for_task(task, LADDER, tmp_path)
    assert again.fast(x).equal(attack.fast(x))
    through_head = InBfloat16(PGD(steps=2)).for_task(task.on(bent(encoder)), LADDER, tmp_path)
    assert not torch.allclose(through_head.fast(x), attack.fast(x), atol=0.05)
    assert torch.allclose(through_head.fast(x), task.on(bent(encoder)).embed(x), atol=0.05)


def test_every_stage_of_an_ensemble_has_its_twin(tmp_path):
    whole = Ensemble("both", (PGD(steps=1), PGD(steps=2, loss="ce")))
    made = InBfloat16(whole).for_task(image(Transformer()), LADDER, tmp_path)
    assert [one.attack for one in made.stages] == list(whole.stages)
    assert made.name == InBfloat16(whole).name == "both-bf16"


def test_an_encoder_without_a_trunk(tmp_path):
    with pytest.raises(InputError, match="encoder 'conv' holds no trunk that could run in bfloat16"):
        InBfloat16(PGD()).for_task(image(), LADDER, tmp_path)


def test_verdicts_are_those_of_float32():
    plain = audit(image(Transformer()), PGD(steps=4), LADDER, checks=False)
    mixed = audit(image(Transformer()), InBfloat16(PGD(steps=4)), LADDER, checks=False)
    assert {row.attack for row in mixed.rows} == {"none", "pgd4-margin-bf16"}
    for eps in ("0", "4/255", "12/255"):
        assert abs(mixed.value(metric="top1", eps=eps) - plain.value(metric="top1", eps=eps)) <= 100 / N + 1e-6
