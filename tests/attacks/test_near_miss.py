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
        lead = x.mean(dim=1) - thresholds[: len(x)]
        return torch.stack([torch.full_like(lead, 0.5), 0.5 + lead, -1 + 0 * lead], dim=1)

    return embed


def attacked(attack, share: float):
    """One sample whose minimum norm is this share of the radius."""
    embed = plane(torch.full((4,), 0.2 * share))
    return attack(embed, torch.zeros(1, 50), THREE[torch.tensor([0])], UNIT_BOX, Linf(0.2), rng(1))


def test_only_a_near_miss_gets_more_attempts():
    """Minimum norms of 0.95, 1.01, 1.05, 1.15 and 2 radii: found by the search, which stops there; attacked from the
    nearest example and again; from the nearest example alone; searched to the end; given up after the heats (two rivals
    share 60 % of the steps).
    """
    attack = NearMiss(search=30, within=1.1, hopeless=1.1, close=1.02, steps=10, again=(APGD(7, loss="ce"),))
    found = [attacked(attack, share) for share in (0.95, 1.01, 1.05, 1.15, 2.0)]
    assert [bool(one.reached) for one in found] == [True, False, False, False, False]
    assert int(found[0].gradient_passes) <= 3
    assert [int(one.gradient_passes) for one in found[1:]] == [30 + 10 + 7, 30 + 10, 30, 18]
    # clean; pulls; the nearest example within the budget; at the end of each attempt and of its result
    assert [int(one.forward_passes) for one in found] == [1, 1 + 6 + 1 + 2 * 2, 1 + 6 + 1 + 2, 1 + 1, 1 + 1]


GROUPS = 17


def stairs(share: float):
    """The lowest of many group means must exceed the threshold, and only that one has a gradient: a step lifts one
    group. The minimum linf norm from 0 is `share` radii, a little less for the groups further on."""
    head_start = torch.linspace(0, 1e-3, GROUPS)

    def embed(x):
        lead = (x.reshape(len(x), GROUPS, 3).mean(dim=2) + head_start).amin(dim=1) - share * 0.2
        return torch.stack([torch.full_like(lead, 0.5), 0.5 + lead, -1 + 0 * lead], dim=1)

    return embed


def test_a_sample_that_falls_late_is_not_given_up():
    """The heats are too short to lift so many groups and find no example; the finish finds one. Of a sample at twice
    the radius they say that it is far, and it gets no finish.
    """
    x, goal, radius = torch.zeros(1, 3 * GROUPS), THREE[torch.tensor([0])], 0.2
    cap = Linf(1.05 * radius)
    heats = FMN(hopeless=0.0)(stairs(0.96), x, goal, UNIT_BOX, cap, rng(1))
    assert not heats.reached.any()
    late = NearMiss()(stairs(0.96), x, goal, UNIT_BOX, Linf(radius), rng(1))
    assert late.reached.all()
    assert 60 < int(late.gradient_passes) < 100
    far = NearMiss()(stairs(2.0), x, goal, UNIT_BOX, Linf(radius), rng(1))
    assert int(far.gradient_passes) == int(heats.gradient_passes) == 60


def test_it_fells_half_of_what_can_just_be_felled():
    """At the median of the minimum norms, where a short run loses many by a hair."""
    task = zero_shot(Conv(), ToyData(64), "image")
    x, goal = task.load(range(64)), task.goal(range(64))
    nearest = FMN(300)(task.embed, x, goal, task.space, Linf(1.0), rng(64))
    radius = float((nearest.x - x).flatten(1).abs().amax(dim=1).median())  # half of the samples fall just so
    once = APGD(4, loss="ce")(task.embed, x, goal, task.space, Linf(radius), rng(64))
    found = NearMiss(search=60, steps=30)(task.embed, x, goal, task.space, Linf(radius), rng(64))
    assert found.reached.sum() >= 31
    assert not (once.reached & ~found.reached).any()
    assert found.reached.sum() > once.reached.sum()


def test_what_the_standard_ensemble_costs():
    """For a sample far outside of the budget, alarm silent: the numbers of its docstring and of docs/attacks.md."""
    task = zero_shot(Conv(), ToyData(4), "image")
    x, goal = task.load([0]), task.goal([0])
    found = bindattack("standard")(task.embed, x, goal, task.space, Linf(1e-4), rng(1, seed=1))
    assert not found.reached.any()
    assert len(task.centers) > 7
    assert int(found.gradient_passes) == 25 + 25 + 7 * 8 + 1


@pytest.mark.parametrize(
    "knobs", [{"search": 0}, {"steps": 0}, {"close": 1.2}, {"within": 0.9}, {"within": float("nan")}, {"hopeless": 0.5}]
)
def test_wrong_knobs(knobs):
    with pytest.raises(InputError, match="NearMiss needs"):
        NearMiss(**knobs)
