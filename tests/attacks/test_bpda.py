"""BPDA: the exact value, the substitute's gradient, and a quantiser that stops plain PGD but not PGD behind it."""

import pytest
import torch

from ironbind.attacks import APGD, PGD
from ironbind.attacks.bpda import behind, straight_through
from ironbind.types import InputError, Linf, Space
from toys import Scorer, rng

FREE = Space("free", "anything")


def quantised(x):
    """To eighths, as a picture codec with few levels would; its gradient is zero everywhere."""
    return (8 * x).round() / 8


def test_the_value_is_exact_and_the_gradient_the_substitutes():
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0)).requires_grad_()
    value = straight_through(quantised, torch.sin)(x)
    assert value.equal(quantised(x.detach()))
    weights = torch.arange(35.0).reshape(5, 7)
    (found,) = torch.autograd.grad((weights * value).sum(), x)
    assert found.equal(weights * x.detach().cos())


def test_what_leaves_torch_is_fine():
    x = torch.rand(3, 4).requires_grad_()
    both = straight_through(lambda x: torch.from_numpy(x.numpy().round(1)))
    (found,) = torch.autograd.grad(both(x).sum(), x)
    assert found.equal(torch.ones(3, 4))


def test_a_preparation_may_work_in_place():
    def floored(x):
        return x.mul_(8).floor_().div_(8)

    x = torch.rand(3, 4)
    kept = x.clone()
    at = x.requires_grad_()
    assert straight_through(floored)(at).equal(floored(kept.clone()))
    with torch.no_grad():
        straight_through(floored)(at)
    assert at.equal(kept)


def test_without_gradients_the_substitute_rests():
    def substitute(x):
        raise AssertionError("called for nothing")

    x = torch.rand(3, 4)
    assert straight_through(quantised, substitute)(x).equal(quantised(x))
    with torch.no_grad():
        assert straight_through(quantised, substitute)(x.clone().requires_grad_()).equal(quantised(x))


def test_a_preparation_may_change_the_shape_but_its_substitute_must_follow():
    def halved(x):
        return quantised(x[:, ::2])

    x = torch.rand(3, 4).requires_grad_()
    (found,) = torch.autograd.grad(straight_through(halved, lambda x: x[:, ::2])(x).sum(), x)
    assert found.equal(torch.tensor([1.0, 0, 1, 0]).expand(3, 4))
    with pytest.raises(InputError, match=r"shape \(3, 4\) where the preparation itself gives \(3, 2\)"):
        straight_through(halved)(x)


@pytest.mark.parametrize("attack", [PGD(steps=10, random_start=False), APGD(steps=10)], ids=lambda one: one.name)
def test_it_reaches_the_optimum_behind_a_quantiser(attack):
    """w . quantised(x + delta) is largest where every coordinate moves the whole radius, here two levels, along the
    sign of w.
    """
    generator = torch.Generator().manual_seed(1)
    x = quantised(torch.randn(6, 9, generator=generator))
    goal, budget = Scorer(torch.randn(6, 9, generator=generator)), Linf(0.25)
    best = goal.loss(quantised(x + 0.25 * goal.w.sign()))
    masked = PGD(steps=10, random_start=False)(quantised, x, goal, FREE, budget, rng(6))
    assert masked.x.equal(x)
    found = attack(behind(lambda z: z, quantised), x, goal, FREE, budget, rng(6))
    assert torch.allclose(found.loss, best)
    assert torch.allclose(goal.loss(quantised(found.x)), best)
