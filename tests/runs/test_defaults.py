"""The default attack: what a plain request gets, and that nothing stronger breaks what it leaves standing."""

import pytest
import torch

from ironbind.attacks import APGD, PGD, TargetedAPGD, bindattack
from ironbind.data import load_dataset
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.numerics.networks import frozen
from ironbind.numerics.sample_random import PerSample
from ironbind.recipes.request import AuditRequest, attacks_of
from ironbind.runs.job import Job
from ironbind.runs.pretrained import from_pretrained
from ironbind.types import Linf


def test_the_default_is_the_ensemble():
    assert attacks_of(AuditRequest()) == Job("image").attacks == (bindattack("standard"),)
    assert attacks_of(AuditRequest(steps=7)) == (PGD(steps=7), PGD(steps=7, loss="ce"))


@pytest.mark.slow  # 1010 gradient passes for every sample that stands
@pytest.mark.parametrize(("modality", "radius"), [("image", "6/255"), ("point", "4/255")])
def test_autoattacks_stages_break_nothing_that_it_leaves(modality, radius):
    """On a hardened encoder, where about half of the samples stand: every verdict is that of AutoAttack's white-box
    stages (APGD-CE and APGD-T of 100 steps).
    """
    n, budget = 24, Linf(radius)
    task = zero_shot(from_pretrained(), load_dataset("world", n=n, seed=5), modality)
    x, everyone = task.load(range(n)), torch.arange(n)

    def standing(attack, rows):
        rng = PerSample.of(0, [task.dataset.ids[int(row)] for row in rows], attack.name)
        found = attack(task.embed, x[rows], task.goal(rows.tolist()), task.space, budget, rng)
        return rows[~found.reached]

    with frozen(task.encoder):
        left = standing(bindattack("standard"), everyone)
        assert 0 < len(left) < n
        for attack in (APGD(100, loss="ce"), TargetedAPGD(100)):
            assert len(standing(attack, left)) == len(left)
