"""Rounded climbs, exact verdicts: what the exact encoder says is final, and no sample is given up that the plain attack
would win.
"""

import math
from dataclasses import replace

import pytest
import torch

from ironbind.attacks import APGD, PGD
from ironbind.attacks.mixed_precision import MixedPrecision
from ironbind.encoders import load_encoder
from ironbind.encoders.bfloat16 import in_bfloat16
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.types import Attack, InputError, Linf
from toys import Constant, Linear, ToyData, Transformer, rng

PLAIN = PGD(steps=6)
BUDGET = Linf(0.012)


class CheckContext:
    """24 toy pictures asked of `encoder`, and a `fast` encoder to climb on."""

    def __init__(self, encoder, fast, n=24):
        self.task = zero_shot(encoder, ToyData(n), "image")
        self.fast = self.task.on(fast).embed
        self.x, self.goal, self.rng = self.task.load(range(n)), self.task.goal(range(n)), rng(n)

    def run(self, attack, embed=None, rows=None, budget=BUDGET):
        rows = torch.arange(len(self.x)) if rows is None else rows
        return attack(embed or self.task.embed, self.x[rows], self.goal[rows], self.task.space, budget, self.rng[rows])

    def mixed(self, near, attack=PLAIN):
        return MixedPrecision(attack, self.fast, near)

    def reached(self, x):
        return self.goal.reached(self.task.embed(x))


@pytest.fixture(scope="module")
def rounded():
    encoder = Transformer()
    return CheckContext(encoder, in_bfloat16(encoder))


@pytest.mark.parametrize(
    "attack", [PLAIN, PGD(steps=4, restarts=2, loss="ce"), APGD(steps=6)], ids=lambda one: one.name
)
def test_repeating_all_is_never_weaker(rounded, attack):
    plain, mixed = rounded.run(attack), rounded.run(rounded.mixed(math.inf, attack))
    assert 0 < plain.reached.sum() < len(plain.reached)
    assert mixed.reached[plain.reached].all()
    stand = ~mixed.reached
    assert mixed.x[stand].equal(plain.x[stand]), "who stands has met the plain attack itself"
    assert rounded.reached(mixed.x).equal(mixed.reached)


def test_a_useless_copy_costs_nothing_but_time():
    """Everything still stands after a climb without a gradient, so that the plain attack decides alone, bit for bit."""
    scene = CheckContext(Linear(), Constant())
    plain, mixed = scene.run(PLAIN), scene.run(scene.mixed(math.inf))
    assert plain.reached.any()
    assert mixed.reached.equal(plain.reached)
    assert mixed.x.equal(plain.x)
    fast = scene.run(PLAIN, scene.fast)
    assert mixed.gradient_passes.equal(fast.gradient_passes + plain.gradient_passes)
    assert mixed.forward_passes.equal(fast.forward_passes + plain.forward_passes + 2)  # judged twice


def test_a_copy_that_boasts_is_not_believed():
    """Every success of the copy is wrong: none is counted, and each of those samples meets the plain attack whatever
    `near` says.
    """
    scene = CheckContext(Linear(), Linear())
    exact = scene.fast
    scene.fast = lambda x: -exact(x)  # ranks upside down: the truth is always last
    boasted = scene.run(PLAIN, scene.fast)
    assert boasted.reached.all()
    plain, mixed = scene.run(PLAIN), scene.run(scene.mixed(0.0))
    assert mixed.reached.equal(plain.reached)
    assert not mixed.reached.all()


def test_near_misses_alone_are_repeated():
    """A copy that makes one step where the attack should make six: `near` decides who gets the six."""

    class OneStep(PGD):
        def __call__(self, embed, *rest):
            return (replace(PLAIN, steps=1, step_size=0.4) if embed is scene.fast else PLAIN)(embed, *rest)

    scene = CheckContext(Linear(), Linear())
    plain, short = scene.run(PLAIN), scene.run(OneStep(), scene.fast)
    missed = (plain.reached & ~short.reached).nonzero().squeeze(1)
    away = -scene.goal.loss(scene.task.embed(short.x))[missed].detach()
    assert len(missed) >= 2
    for near in (0.0, float(away.median()), float(away.max())):
        mixed = scene.run(scene.mixed(near, OneStep()))
        assert mixed.reached[missed].equal(away <= near)
        again = (mixed.gradient_passes > short.gradient_passes).nonzero().squeeze(1)
        loss = scene.goal.loss(scene.task.embed(short.x))
        assert again.equal(((loss >= -near) & ~short.reached).nonzero().squeeze(1))


def test_the_loss_is_the_exact_margin(rounded):
    mixed = rounded.run(rounded.mixed(0.02, replace(PLAIN, loss="ce")))
    torch.testing.assert_close(mixed.loss, rounded.goal.using("margin").loss(rounded.task.embed(mixed.x)))


@pytest.mark.bits
def test_batches_do_not_matter(rounded):
    whole = rounded.run(rounded.mixed(0.02))
    parts = [rounded.run(rounded.mixed(0.02), rows=rows) for rows in torch.arange(24).split([5, 12, 7])]
    for one, several in zip(whole, zip(*parts, strict=True), strict=True):
        assert torch.cat(several).equal(one)


@pytest.mark.parametrize("modality", ["image", "point"])
def test_the_built_in_encoder(modality):
    encoder = load_encoder("tiny")
    task = zero_shot(encoder, ib_world(16), modality)
    x, goal = task.load(range(16)), task.goal(range(16))
    fast = task.on(in_bfloat16(encoder)).embed
    plain = PLAIN(task.embed, x, goal, task.space, Linf("2/255"), rng(16))
    mixed = MixedPrecision(PLAIN, fast)(task.embed, x, goal, task.space, Linf("2/255"), rng(16))
    assert 0 < plain.reached.sum() < 16
    assert mixed.reached[plain.reached].all()


def ib_world(n):
    from ironbind.data import load_dataset

    return load_dataset("world", n=n)


def test_it_is_an_attack_that_its_knobs_name(rounded):
    mixed = rounded.mixed(0.02)
    assert isinstance(mixed, Attack)
    assert repr(mixed) == f"MixedPrecision(attack={PLAIN!r}, near=0.02)"
    assert mixed.name == "pgd6-margin-bf16~0.02"
    assert rounded.mixed(math.inf).name == "pgd6-margin-bf16"
    assert mixed == MixedPrecision(PLAIN, lambda x: x, 0.02)


@pytest.mark.parametrize("near", [-0.1, math.nan])
def test_bad_distances(near):
    with pytest.raises(InputError, match="is no distance from success"):
        MixedPrecision(PLAIN, lambda x: x, near)
