"""Tries where they may help: who gets them, what they find that single runs miss, what they cost."""

import pytest
import torch

from ironbind.attacks import APGD, FMN, NearMiss, bindattack
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.goals.misclassify import Misclassify
from ironbind.types import ClassCenters, InputError, Linf, Space
from toys import Conv, ToyData, rng

UNIT_BOX = Space("unit_box", "anything", 0.0, 1.0)
CENTERS = ClassCenters(torch.eye(3), torch.arange(3), ("a", "b", "c"))
THREE = Misclassify(CENTERS, torch.zeros(3, dtype=torch.long))


def plane(thresholds):
    """Class 1 passes the truth where the mean of a row exceeds the row's threshold: its minimum linf norm from 0."""

    def embed(x):
        lead = (
            x.mean(dim=1) - thresholds[: len(x)]
            if len(x) <= len(thresholds)
            else x.mean(dim=1) - thresholds[[0, 1, 2, 2]]
        )
        return torch.stack([torch.full_like(lead, 0.5), 0.5 + lead, -1 + 0 * lead], dim=1)

    return embed


def test_only_a_near_miss_gets_more_tries():
    """Thresholds at 0.95, 1.05 and 2 radii: found by the search, tried again in vain, left alone."""
    attack = NearMiss(search=30, within=1.1, tries=2, steps=10)
    found = [
        attack(
            plane(torch.full((4,), 0.2 * share)),
            torch.zeros(1, 50),
            THREE[torch.tensor([0])],
            UNIT_BOX,
            Linf(0.2),
            rng(1),
        )
        for share in (0.95, 1.05, 2.0)
    ]
    assert [bool(one.reached) for one in found] == [True, False, False]
    assert [int(one.gradient_passes) for one in found] == [30, 30 + 3 * 10, 30]
    assert [int(one.forward_passes) for one in found] == [1 + 6, 1 + 6 + 1 + 3 * 2, 1 + 1]


def test_it_fells_half_of_what_can_just_be_felled():
    """At the median of the minimum norms, where a short run loses many by a hair."""
    task = zero_shot(Conv(), ToyData(64), "image")
    x, goal = task.load(range(64)), task.goal(range(64))
    nearest = FMN(300)(task.embed, x, goal, task.space, Linf(1.0), rng(64))
    radius = float((nearest.x - x).flatten(1).abs().amax(dim=1).median())  # half of the samples fall just so
    once = APGD(4, loss="ce")(task.embed, x, goal, task.space, Linf(radius), rng(64))
    found = NearMiss(search=60, tries=4, steps=30)(task.embed, x, goal, task.space, Linf(radius), rng(64))
    assert found.reached.sum() >= 31
    assert not (once.reached & ~found.reached).any()
    assert found.reached.sum() > once.reached.sum()


def test_what_the_standard_ensemble_costs():
    """For a sample far outside of the budget, alarm silent: the numbers of its docstring and of docs/attacks.md."""
    task = zero_shot(Conv(), ToyData(4), "image")
    x, goal = task.load([0]), task.goal([0])
    found = bindattack("standard")(task.embed, x, goal, task.space, Linf(1e-4), rng(1, seed=1))
    assert not found.reached.any()
    rivals = min(9, len(task.centers) - 1)
    race = {9: 9 * 6 + 5 * 12 + 3 * 24 + 2 * 48, 7: 7 * 6 + 4 * 12 + 2 * 24 + 1 * 48}[rivals]
    assert int(found.gradient_passes) == 50 + 50 + 100 + race + 1


@pytest.mark.parametrize(
    "knobs", [{"search": 0}, {"steps": 0}, {"tries": -1}, {"within": 0.9}, {"within": float("nan")}]
)
def test_wrong_knobs(knobs):
    with pytest.raises(InputError, match="NearMiss needs"):
        NearMiss(**knobs)
