"""Noise: points of the budget, the best of them, forward passes alone, and how often it must succeed."""

import pytest
import torch

from ironbind.attacks.noise import Noise
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, UNIT_SPHERE, WAVEFORM
from ironbind.numerics.norms import distance, enforce
from ironbind.types import L1, L2, SNR, EventShare, InputError, Linf, PointwiseL2, Space
from toys import Conv, Scorer, ToyData, rng

FREE = Space("free", "anything")
WHERE = [
    (Linf(0.1), PIXELS),
    (L2(0.5), PIXELS),
    (L1(0.25), PIXELS),
    (SNR(20), WAVEFORM),
    (PointwiseL2(0.1), UNIT_SPHERE),
    (EventShare(0.2), EVENT_FRAMES),
]


@pytest.mark.parametrize("kind", ["uniform", "sign"])
@pytest.mark.parametrize(("budget", "space"), WHERE, ids=str)
def test_it_keeps_every_budget_without_a_gradient(budget, space, kind):
    def closed(x):
        assert not torch.is_grad_enabled()
        return x.flatten(1)

    x = 0.3 + 0.4 * torch.rand(5, 2, 6, 3, generator=torch.Generator().manual_seed(0))
    found = Noise(4, kind)(closed, x, Scorer(torch.randn(5, 36)), space, budget, rng(5))
    enforce(found.x, x, space, budget)
    assert not found.gradient_passes.any()
    assert found.forward_passes.equal(torch.full((5,), 4))
    used = distance(found.x, x, space, budget.norm) / budget.radius
    assert (used > 0).all()
    if kind == "sign" and budget.norm != "event_share":  # there only as many cells as fit, a whole number
        assert torch.allclose(used, torch.ones(5), atol=1e-4)


def test_signs_are_corners():
    x = torch.zeros(3, 50)
    found = Noise(1, "sign")(lambda x: x, x, Scorer(torch.ones(3, 50)), FREE, Linf(0.25), rng(3))
    assert found.x.abs().equal(torch.full((3, 50), 0.25))
    assert (found.x > 0).float().mean() == pytest.approx(0.5, abs=0.15)


def test_the_best_draw_is_kept():
    """More draws of the same sequence can only be better, and are, as long as none succeeds."""
    goal, x = Scorer(torch.randn(40, 6, generator=torch.Generator().manual_seed(0))), torch.zeros(40, 6)
    losses = [Noise(draws)(lambda x: x, x, goal, FREE, Linf(1), rng(40)).loss for draws in (1, 5, 50)]
    assert (losses[1] >= losses[0]).all()
    assert (losses[2] >= losses[1]).all()
    assert losses[2].mean() > losses[0].mean() + 0.5
    assert (losses[2] <= goal.w.abs().sum(dim=1)).all()


def test_success_is_a_geometric_wait():
    """One coordinate above a threshold: each draw succeeds with probability 1/4, and a sample leaves at its first
    success.
    """
    n = 400
    goal = Scorer(torch.ones(n, 1), threshold=0.5)
    found = Noise(8)(lambda x: x, torch.zeros(n, 1), goal, FREE, Linf(1), rng(n))
    assert found.reached.float().mean() == pytest.approx(1 - 0.75**8, abs=0.04)
    assert found.forward_passes.float().mean() == pytest.approx((1 - 0.75**8) / 0.25, abs=0.4)
    assert (goal.loss(found.x) > 0.5).equal(found.reached)


def test_neighbours_do_not_matter():
    task, attack = zero_shot(Conv(), ToyData(12), "image"), Noise(5, "sign")
    whole = attack(task.embed, task.load(range(12)), task.goal(range(12)), task.space, Linf("8/255"), rng(12))
    part = attack(
        task.embed,
        task.load([7, 2, 9]),
        task.goal([7, 2, 9]),
        task.space,
        Linf("8/255"),
        rng(12)[torch.tensor([7, 2, 9])],
    )
    for one, other in zip(whole, part, strict=True):
        assert one[[7, 2, 9]].equal(other)


def test_bad_knobs():
    with pytest.raises(InputError, match="draws=0"):
        Noise(0)
    with pytest.raises(InputError, match="kind 'gauss' of noise is not known; expected one of uniform, sign"):
        Noise(kind="gauss")
