"""Attacks on an attacker's own account of a defence: what they climb, who judges, what they cost."""

import torch

from ironbind.attacks import PGD
from ironbind.attacks.through import PastGate, Through
from ironbind.modalities.spaces import PIXELS
from ironbind.types import Linf
from toys import Scorer, rng

X = torch.full((4, 3, 2, 2), 0.5)
EPS = 0.1
UP = torch.ones(4, 12)


def flat(x):
    return x.flatten(1)


def rounded(x):
    """The judge: a step function without a gradient."""
    return ((10 * x).floor() / 10).flatten(1)


def test_the_surrogate_is_climbed_and_the_judge_judges():
    goal = Scorer(UP, threshold=6.5)  # of the rounded sum, 12 x 0.5 at first
    attack = Through(PGD(5, random_start=False), lambda: flat, "straight_through", passes=3)
    attacked = attack(rounded, X, goal, PIXELS, Linf(EPS), rng(4))
    assert attack.name == "straight_through(pgd5-margin)"
    assert (attacked.x - X).abs().max() <= EPS + 1e-6
    torch.testing.assert_close(attacked.loss, goal.loss(rounded(attacked.x)))
    assert torch.equal(attacked.reached, goal.reached(rounded(attacked.x)))
    plain = PGD(5, random_start=False)(flat, X, goal, PIXELS, Linf(EPS), rng(4))
    assert torch.equal(attacked.gradient_passes, 3 * plain.gradient_passes)
    assert torch.equal(attacked.forward_passes, 3 * plain.forward_passes + 3)


def test_every_call_has_an_account_of_its_own():
    """What is drawn at step t of one call is drawn at step t of the next."""
    seen = []

    def account():
        steps = iter(range(100))

        def embed(x):
            step = next(steps)
            seen.append(step)
            return flat(x) * (1 + step)

        return embed

    attack = Through(PGD(3, stop_when_reached=False), account, "fresh")
    first, second = (attack(flat, X, Scorer(UP), PIXELS, Linf(EPS), rng(4)) for _ in range(2))
    assert seen == [0, 1, 2, 3] * 2
    assert torch.equal(first.x, second.x)


class Signed(Scorer):
    """A goal over the sum alone, which knows no excess."""

    def loss(self, z):
        return z.sum(dim=1)


def test_past_the_gate_nothing_loud_is_tried():
    """The gate's excess rises with every step uphill: the example stops where the gate would act."""
    goal = Signed(UP[:, :1])

    def gated(x):
        level = flat(x).mean(dim=1, keepdim=True)
        return torch.cat([level, 10 * (level - 0.55)], dim=1)

    attack = PastGate(PGD(40, step_size=0.05, random_start=False), lambda: gated, "exact")
    attacked = attack(lambda x: flat(x).mean(dim=1, keepdim=True), X, goal, PIXELS, Linf(EPS), rng(4))
    level = flat(attacked.x).mean(dim=1)
    assert (level <= 0.556).all()
    assert (level >= 0.54).all()
    free = PGD(40, step_size=0.05, random_start=False)(
        lambda x: flat(x).mean(dim=1, keepdim=True), X, goal, PIXELS, Linf(EPS), rng(4)
    )
    torch.testing.assert_close(flat(free.x).mean(dim=1), torch.full((4,), 0.6))
