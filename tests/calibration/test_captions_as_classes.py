"""Training on captions in the place of classes."""

from dataclasses import replace

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.calibration.calibrate import calibrate
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.recipes import hardened_captions
from ironbind.types import AdapterShape, ClassCenters, InputError
from toys import Conv, Noted, ToyData

SHAPE = AdapterShape(4, True, 0)


def toys() -> ToyData:
    """Toy data of which two samples each are told alike."""
    data = ToyData(24, seed=5)
    data.captions = [f"thing number {row // 2}" for row in range(24)]
    return data


def recipe(attack, see=None):
    made = hardened_captions(shape=SHAPE, steps=3, eps="2/255")
    (stage,) = made.stages
    training = replace(stage.adversarial_training, validation=8, validation_attack=PGD(steps=1))
    minimised = stage.objective

    def objective(views):
        if see is not None:
            see.append(views)
        return minimised(views)

    stage = replace(stage, attack=attack, batch_size=8, adversarial_training=training, objective=objective)
    return replace(made, stages=(stage,))


def test_the_captions_of_a_batch_are_its_classes():
    encoder, data = Conv(), toys()
    attack, seen = Noted(), []
    hard = calibrate(zero_shot(encoder, data, "image"), recipe(attack, seen), data)
    assert hard.trainable() > 0
    assert len(attack.goals) == len(seen) == 3
    for goal, views in zip(attack.goals, seen, strict=True):
        assert goal.centers is views.centers
        assert goal.label.equal(views.label)
        assert len(views.label) == 8
        assert len(views.centers) == len(set(views.label.tolist())), "equal captions are one class"
        assert views.centers.z.equal(encoder.embed_text(views.centers.names))
        assert torch.allclose(views.centers.z.norm(dim=1), torch.ones(len(views.centers)), atol=1e-5)
    assert any(len(views.centers) < 8 for views in seen)


def test_class_centers_are_not_looked_at():
    encoder, data = Conv(), toys()
    generator = torch.Generator().manual_seed(0)
    z = torch.nn.functional.normalize(torch.randn(len(data.classes), encoder.dim, generator=generator), dim=1)
    other = ClassCenters(z, torch.arange(len(z)), tuple(data.classes))

    def last_loss(**options):
        task = zero_shot(encoder, data, "image", **options)
        return calibrate(task, recipe(PGD(steps=1, loss="ce")), data).records[-1].last_loss

    assert last_loss() == last_loss(centers=other)


def test_data_without_captions_is_refused():
    data = ToyData(24, seed=5)
    data.captions = None
    with pytest.raises(InputError, match="has no captions, which this training attack and objective need"):
        calibrate(zero_shot(Conv(), data, "image"), recipe(PGD(steps=1)), data)
