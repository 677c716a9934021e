"""Adversarial training within a union of budgets, and the moving average of what trains."""

from dataclasses import replace

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.calibration.adversarial_training import AdversarialTrainer
from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.objectives import HARDENED
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.recipes import hardened
from ironbind.recipes.calibrations import hardened_foldable
from ironbind.recipes.train_calibration import TrainingRequest, recipe_for
from ironbind.types import L2, SNR, AdapterShape, AdversarialTraining, CalibrationRecipe, InputError, Linf, Stage
from toys import Conv, Noted, ToyData

TRAINING = AdversarialTraining(PGD(steps=2), validation=16, every=3)
SHAPE = AdapterShape(4, True, 0)


def recipe(attack, training=TRAINING, steps=6, **knobs) -> CalibrationRecipe:
    stage = Stage(
        HARDENED, attack, Linf("2/255"), steps=steps, batch_size=8, learning_rate=1e-2, trains=SHAPE.kinds,
        adversarial_training=training, **knobs,
    )  # fmt: skip
    return CalibrationRecipe("union", (stage,), None, 0, SHAPE)


@pytest.fixture(scope="module")
def task():
    return zero_shot(Conv(), ToyData(16), "image")


@pytest.fixture(scope="module")
def data():
    return ToyData(48, seed=5)


def test_budgets_take_turns(task, data):
    """Each step has the next of them, warmed up and enlarged as the first is; one of another space is left out."""
    attack = Noted()
    training = replace(TRAINING, warm_up=0.0, radius=1.5, validation_attack=Noted())
    union = (L2("0.5"), SNR("30 dB"))
    (record,) = calibrate(task, recipe(attack, training, also=union), data).records
    assert attack.budgets == 3 * [("linf", "2/255", round(3 / 255, 6)), ("l2", "0.5", 0.75)]
    assert {norm for norm, _, _ in training.validation_attack.budgets} == {"linf", "l2"}
    assert record.eps == "1.5 x 2/255 / l2 0.5"


def test_a_validation_sample_is_robust_where_it_withstands_every_budget(task, data):
    def robust(*budgets):
        one = replace(recipe(PGD(1)).stages[0], budget=budgets[0], also=budgets[1:])
        trainer = AdversarialTrainer(
            calibrate(task, recipe(PGD(1), steps=1), data), [task], range(16), [task], range(16), one, 0, "test"
        )
        return trainer.validation.score().adaptive

    small, large = Linf("1/255"), L2("0.6")
    alone = robust(small), robust(large)
    assert robust(small, large) == robust(large, small) <= min(alone)
    assert robust(small, L2("0")) == alone[0] > alone[1]


def test_the_average_is_kept_and_goes_on_after_a_kill(task, data, tmp_path):
    """What is kept is the average at the best validation, by its own recurrence; a restart changes no bit."""
    training = replace(TRAINING, averaging=0.5, every=1)
    stage = recipe(PGD(1), training).stages[0]

    def trainer(cache=None):
        fresh = calibrate(task, recipe(PGD(1), replace(TRAINING, validation=8), steps=1), data)
        with torch.no_grad():
            for parameter in fresh.parameters_of("image", SHAPE.kinds).values():
                parameter.zero_()
        return AdversarialTrainer(fresh, [task.over(data)], range(48), [task], range(16), stage, 0, "test", cache)

    one = trainer()
    expected = {name: value.clone() for name, value in one.trained.items()}
    states = []
    learn = one._learn

    def noted(incoming):
        learn(incoming)
        for name, mean in expected.items():
            share = min(0.5, (1 + one.step) / (10 + one.step))
            mean.copy_(share * mean + (1 - share) * one.trained[name])
        states.append({name: value.clone() for name, value in expected.items()})

    one._learn = noted
    outcome = one.run()
    kept = states[outcome.best_step - 1] if outcome.best_step else None
    for name, value in one.trained.items():
        assert torch.allclose(value, kept[name] if kept else torch.zeros_like(value), atol=1e-6)

    cut = trainer(tmp_path)
    cut.tell = _stop_at(4)
    with pytest.raises(KeyboardInterrupt):
        cut.run()
    again = trainer(tmp_path)
    begun = []
    again.tell = lambda done, total: begun.append(done)
    again.run()
    assert begun[0] > 1
    assert all(value.equal(one.trained[name]) for name, value in again.trained.items())
    assert all(value.equal(one.average[name]) for name, value in again.average.items())


def _stop_at(step):
    def tell(done, total):
        if done == step:
            raise KeyboardInterrupt

    return tell


def test_options(task, data):
    assert hardened(also=(L2("0.5"),), averaging=0.99).stages[0].also == (L2("0.5"),)
    assert recipe_for("hardened", also=("l2:0.5", "l1:10")).stages[0].also[1].norm == "l1"
    assert "--also=l2:0.5" in TrainingRequest("hardened", also=("l2:0.5",)).command(("image",))
    with pytest.raises(InputError, match="--also 'l2' is no budget; expected a norm and a radius"):
        recipe_for("hardened", also=("l2",))
    with pytest.raises(InputError, match="'l7' is not known"):
        recipe_for("hardened", also=("l7:1",))
    with pytest.raises(InputError, match="--also l2:1: calibration 'center_ce' crafts its examples once"):
        recipe_for("center_ce", also=("l2:1",))
    with pytest.raises(InputError, match="averaging 1 is no decay"):
        replace(TRAINING, averaging=1.0)
    with pytest.raises(InputError, match="examples crafted once have one budget"):
        replace(recipe(PGD(1)).stages[0], also=(L2("1"),), adversarial_training=None, trains=("head",), steps=None)
    with pytest.raises(InputError, match="wider than pixels"):
        calibrate(task, recipe(PGD(1), also=(Linf("8"),)), data)


def test_the_weight_of_clean_embeddings(task, data):
    """More of it keeps more of the clean embeddings, of a head too; a recipe without it says so."""

    def kept(weight):
        head = replace(recipe_for("center_ce", distillation=weight, eps="2/255"), samples=48)
        hard = calibrate(task, head, data)
        x = task.load(range(16))
        return float((hard.embed("image", x) * task.embed(x)).sum(dim=1).mean())

    assert kept(100.0) > kept(1.0) > kept(0.0)
    assert recipe_for("hardened_foldable", distillation=2.0) == hardened_foldable(distillation=2.0)
    with pytest.raises(InputError, match="--distillation 2: calibration 'tecoa' has no such weight"):
        recipe_for("tecoa", distillation=2.0)
    assert "--distillation=2.0" in TrainingRequest("center_ce", distillation=2.0).command(("image",))
