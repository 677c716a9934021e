"""Attacks through named wrong classes: what they find that an untargeted one does not, what they cost, what they do
without rivals.
"""

import pytest
import torch

from ironbind.attacks import APGD
from ironbind.attacks.crossmaxim import CrossMaxim
from ironbind.attacks.targeted import TargetedAPGD, TargetRace
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.goals.misclassify import Misclassify
from ironbind.types import ClassCenters, InputError, Linf, Space
from toys import Conv, ToyData, rng

UNIT_BOX = Space("unit_box", "anything", 0.0, 1.0)
CLASSES = 12
CENTERS = ClassCenters(torch.eye(CLASSES), torch.arange(CLASSES), tuple(map(str, range(CLASSES))))


def decoy(x):
    """Class 1 leads the others from the start but cannot pass the truth (class 0); class 2 can, along coordinates whose
    gradient the leader hides.
    """
    scores = torch.full((len(x), CLASSES), -1.0)
    columns = [torch.full((len(x),), 0.5), 0.45 + 0.04 * torch.tanh(50 * x[:, 0]), 0.2 + 0.31 * x[:, 1:].mean(dim=1)]
    return torch.cat([torch.stack(columns, dim=1), scores[:, 3:]], dim=1)


def stubborn(x):
    """Nobody can pass the truth."""
    scores = -1 - 0.1 * torch.arange(CLASSES - 1.0) + 0.1 * x[:, :1]
    return torch.cat([torch.ones(len(x), 1) + 0 * x[:, :1], scores], dim=1)


def goal(n: int) -> Misclassify:
    return Misclassify(CENTERS, torch.zeros(n, dtype=torch.long))


@pytest.mark.parametrize("attack", [TargetedAPGD(steps=20), TargetRace(steps=5)], ids=lambda one: one.name)
def test_it_finds_the_way_that_the_leading_class_hides(attack):
    x = torch.zeros(6, 30)
    assert not APGD(steps=100, restarts=2)(decoy, x, goal(6), UNIT_BOX, Linf(1.0), rng(6)).reached.any()
    found = attack(decoy, x, goal(6), UNIT_BOX, Linf(1.0), rng(6))
    assert found.reached.all()
    assert decoy(found.x).argmax(dim=1).eq(2).all()


def test_what_a_sample_costs_that_stands():
    x = torch.zeros(3, 4)
    targeted = TargetedAPGD(steps=7, targets=9, restarts=2)(stubborn, x, goal(3), UNIT_BOX, Linf(1.0), rng(3))
    assert targeted.gradient_passes.tolist() == [7 * 9 * 2] * 3
    race = TargetRace(steps=6)(stubborn, x, goal(3), UNIT_BOX, Linf(1.0), rng(3))
    assert race.gradient_passes.tolist() == [9 * 6 + 5 * 12 + 3 * 24 + 2 * 48] * 3
    assert not race.reached.any()
    few = ClassCenters(torch.eye(CLASSES)[:3], torch.arange(3), ("a", "b", "c"))  # two wrong classes only
    short = TargetRace(steps=6)(
        stubborn, x, Misclassify(few, torch.zeros(3, dtype=torch.long)), UNIT_BOX, Linf(1.0), rng(3)
    )
    assert short.gradient_passes.tolist() == [2 * 6 + 1 * 12] * 3


@pytest.mark.parametrize("attack", [TargetedAPGD(steps=10), TargetRace(steps=4)], ids=lambda one: one.name)
def test_a_goal_without_rivals_is_attacked_all_the_same(attack):
    task = retrieval(Conv(), ToyData(16), "image", of="audio")
    x, hide = task.load(range(16)), task.goal(range(16))
    found = attack(task.embed, x, hide, task.space, Linf("6/255"), rng(16))
    assert found.reached.sum() > hide.reached(task.embed(x)).sum() + 4


def test_crossmaxim_sends_the_truth_further_down_than_the_margin():
    task = zero_shot(Conv(), ToyData(24), "image")
    x, wrong = task.load(range(24)), task.goal(range(24))
    far = wrong.rank(task.embed(CrossMaxim(steps=20)(task.embed, x, wrong, task.space, Linf("8/255"), rng(24)).x))
    near = wrong.rank(task.embed(APGD(steps=20)(task.embed, x, wrong, task.space, Linf("8/255"), rng(24)).x))
    assert far.float().mean() > near.float().mean() + 1


def test_knobs_that_make_no_sense():
    with pytest.raises(InputError, match="targets=0"):
        TargetedAPGD(targets=0)
    with pytest.raises(InputError, match="heats=0"):
        TargetRace(heats=0)
