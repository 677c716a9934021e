"""Adversarial training under Gaussian noise, and under noise alone: for encoders that are to be smoothed."""

from dataclasses import replace

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.calibration import adversarial_training
from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.objectives import HARDENED
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.recipes import hardened
from ironbind.recipes.train_calibration import recipe_for
from ironbind.types import AdapterShape, AdversarialTraining, CalibrationRecipe, InputError, Linf, Stage
from toys import Conv, Leaky, ToyData

ATTACK = PGD(steps=1, step_size=1.25, loss="ce", stop_when_reached=False)
NOISY = AdversarialTraining(PGD(steps=4), validation=24, every=4, noise={"": 0.1})


def recipe(training=NOISY, steps=8, **knobs) -> CalibrationRecipe:
    stage = Stage(
        HARDENED, ATTACK, Linf("2/255"), steps=steps, batch_size=16, learning_rate=3e-2, schedule="one_cycle",
        trains=("low_rank",), adversarial_training=training, **knobs,
    )  # fmt: skip
    return CalibrationRecipe("noisy", (stage,), None, 0, AdapterShape(16, False, 0))


@pytest.fixture(scope="module")
def task():
    return zero_shot(Leaky(), ToyData(24), "image")


@pytest.fixture(scope="module")
def data():
    return ToyData(96, seed=5)


def under_noise(task, sigma: float) -> float:
    """Accuracy in percent under eight draws of noise."""
    x, right = task.load(range(len(task))), 0
    for draw in range(8):
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(draw))
        with torch.no_grad():
            right += int((task.goal(range(len(task))).rank(task.embed(x + sigma * noise)) == 1).sum())
    return 100 * right / (8 * len(task))


def test_it_helps_under_noise(task, data):
    hard = calibrate(task, recipe(steps=60), data)
    assert under_noise(task.on(hard), 0.1) > under_noise(task, 0.1) + 5


def test_the_record_and_the_curve_say_so(task, data):
    (record,) = calibrate(task, recipe(), data).records
    assert record.attack == "pgd1-ce + noise 0.1"
    (alone,) = calibrate(task, recipe(replace(NOISY, radius=0.0)), data).records
    assert alone.attack == "noise 0.1"
    assert alone.eps == "0 x 2/255"
    plain = calibrate(task, recipe(replace(NOISY, noise={})), data).records[0]
    assert plain.attack == "pgd1-ce"
    # validated under noise, which costs the untrained encoder more than an attack of 2/255
    assert record.curve[0][1] == plain.curve[0][1]
    assert record.curve[0][2] != plain.curve[0][2]


def test_noise_alone_crafts_no_example(task, data, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("an example was crafted")

    stage = recipe(replace(NOISY, radius=0.0)).stages[0]
    monkeypatch.setattr(type(stage.attack), "__call__", refuse)
    calibrate(task, recipe(replace(NOISY, radius=0.0)), data)
    with pytest.raises(AssertionError, match="an example was crafted"):
        calibrate(task, recipe(), data)


@pytest.mark.bits
def test_same_seed_same_bits_after_a_kill_too(task, data, tmp_path, monkeypatch):
    whole = calibrate(task, recipe(steps=12), data)
    saved = adversarial_training.AdversarialTrainer._validate

    def dying(trainer):
        if trainer.step == 12:
            raise KeyboardInterrupt
        saved(trainer)

    monkeypatch.setattr(adversarial_training.AdversarialTrainer, "_validate", dying)
    with pytest.raises(KeyboardInterrupt):
        calibrate(task, recipe(steps=12), data, cache=tmp_path)
    monkeypatch.undo()
    again = calibrate(task, recipe(steps=12), data, cache=tmp_path)
    assert again.weights_sha256 == whole.weights_sha256
    assert whole.records[0].best_step
    other = recipe(steps=12, training=replace(NOISY, noise={"": 0.05}))
    assert calibrate(task, other, data).weights_sha256 != whole.weights_sha256


def test_noise_of_a_space():
    assert NOISY.noise_in(zero_shot(Conv(), ToyData(8), "image").space) == 0.1
    waveform = zero_shot(Conv(), ToyData(8), "audio", space="waveform").space
    assert replace(NOISY, noise={"": 0.2, "waveform": 0.05}).noise_in(waveform) == 0.05
    assert replace(NOISY, noise={}).noise_in(waveform) == 0.0


def test_the_recipe_has_the_knob():
    (stage,) = hardened(noise=0.25).stages
    assert stage.adversarial_training.noise == {"": 0.25, "waveform": 0.1}
    assert hardened(noise=0.25).name == "hardened_noise0.25"
    assert hardened("mine", noise=0.25).name == "mine"
    assert not hardened().stages[0].adversarial_training.noise
    assert recipe_for("tecoa", noise=0.5).stages[0].adversarial_training.noise[""] == 0.5


def test_what_cannot_be_trained_with_noise_is_one_line():
    with pytest.raises(InputError, match="--noise 0.25: calibration 'center_ce' crafts its examples once"):
        recipe_for("center_ce", noise=0.25)
    with pytest.raises(InputError, match="no standard deviation"):
        replace(NOISY, noise={"": -0.1})
