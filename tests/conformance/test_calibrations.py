"""Every calibration of the table trains, on a toy and for a moment; what comes out is an encoder of that backbone that
can be saved and loaded.
"""

from dataclasses import replace

import pytest
import torch

from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.calibrated import load_calibrated
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.calibrations import STEPS
from ironbind.types import AdversarialTraining, CalibrationRecipe, Encoder
from toys import Conv, ToyData, state_hash


def brief(name: str) -> CalibrationRecipe:
    """The recipe, cut down to seconds."""
    made = CALIBRATIONS[name](**({} if CALIBRATIONS[name]().uses_adversarial_training else {"epochs": 2}))
    made = made.within(6) if made.uses_adversarial_training else made
    settings = [stage.adversarial_training for stage in made.stages]
    short = [replace(training, validation=8, every=10) if training else None for training in settings]
    return replace(
        made,
        stages=tuple(
            replace(stage, batch_size=16, adversarial_training=training)
            for stage, training in zip(made.stages, short, strict=True)
        ),
    )


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_it_trains(name, tmp_path):
    task = zero_shot(Conv(), ToyData(8), "thermal")
    before, x = state_hash(task.encoder), task.load(range(4))
    hard = calibrate(task, brief(name), samples=32)
    assert isinstance(hard, Encoder)
    assert state_hash(task.encoder) == before
    assert (hard.calibration, hard.name) == (name, f"conv+{name}")
    assert ("thermal" in hard.heads) == (not brief(name).adapters)
    assert ("thermal" in hard.adapters) == bool(brief(name).adapters)
    assert len(hard.records) == len(brief(name).stages)
    assert hard.records[-1].trainable == hard.trainable() > 0
    z = hard.embed("thermal", x)
    assert torch.isfinite(z).all()
    assert torch.allclose(z.norm(dim=1), torch.ones(4), atol=1e-5)
    assert load_calibrated(task.encoder, hard.save(tmp_path)).embed("thermal", x).equal(z)


@pytest.mark.parametrize("name", [name for name in CALIBRATIONS if CALIBRATIONS[name]().uses_adversarial_training])
def test_live_recipes_share_their_steps(name):
    whole, short = CALIBRATIONS[name](), CALIBRATIONS[name]().within(60)
    assert sum(stage.steps for stage in whole.stages) == STEPS
    assert abs(sum(stage.steps for stage in short.stages) - 60) <= len(short.stages)
    assert short.samples == sum(stage.steps * stage.batch_size for stage in short.stages)
    assert [stage.steps / 60 for stage in short.stages] == pytest.approx(
        [stage.steps / STEPS for stage in whole.stages], abs=0.02
    )
    for before, after in zip(whole.stages, short.stages, strict=True):
        enough = max(25, after.steps * after.batch_size // 40)
        assert after.adversarial_training.validation == enough <= before.adversarial_training.validation
        assert (
            before.adversarial_training.validation
            == AdversarialTraining(before.adversarial_training.validation_attack).validation
        )  # at its own length a recipe keeps what it says
