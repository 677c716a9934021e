"""Thousands of examples in every standard space and every norm that has a meaning there, checked in float64: not one leaves its budget."""

import math

import pytest
import torch

from ironbind.attacks import APGD, FGSM, PGD
from ironbind.modalities import spaces
from ironbind.types import Budget, InputError, Space
from toys import Scorer, rng

STANDARD = [one for one in vars(spaces).values() if isinstance(one, Space)] + [spaces.log_mel(80.0), Space("unbounded", "anything")]
ATTACKS = (PGD(steps=4), PGD(steps=3, restarts=2, step_size=1.5), FGSM(), APGD(steps=6), PGD(steps=3, stop_when_reached=False))
RADII = {"linf": (0.0, 1 / 255, 4 / 255, 0.3, 5.0), "l2": (0.0, 1e-3, 0.1, 1.0, 30.0), "l1": (0.0, 0.1, 3.0, 200.0)}
RADII |= {"snr": (0.0, 0.01, 0.3), "pointwise_l2": (0.0, 0.01, 0.5), "event_share": (0.0, 0.02, 0.3, 1.0)}
SHAPES = ((3,), (3, 8, 8), (1, 500), (64, 3))


@pytest.mark.parametrize("space", STANDARD, ids=lambda one: one.name)
@pytest.mark.parametrize("norm", list(RADII))
def test_no_example_leaves_its_budget(space, norm):
    try:
        Budget(norm, 0.1, "0.1").check(space)
    except InputError:
        pytest.skip(f"{norm} has no meaning in {space.name}")
    examples = 0
    for number, (attack, radius, shape) in enumerate((a, r, s) for a in ATTACKS for r in RADII[norm] for s in SHAPES):
        generator = torch.Generator().manual_seed(number)
        scale = 1.0 if space.low is not None else (1.0, 100.0)[number % 2]
        x = scale * torch.randn((5, *shape), generator=generator)
        if norm == "pointwise_l2" and len(shape) < -min(space.element_axes):
            continue
        if space.low is not None:
            x = x.clamp(space.low, space.high)  # many coordinates on a bound
        w = torch.randn((5, math.prod(shape)), generator=generator)
        curve = torch.randn(w.shape, generator=generator)[:1]
        found = attack(
            lambda x, curve=curve: x.flatten(1) + (3 * x.flatten(1) * curve).sin(), x, Scorer(w, 1.0), space, Budget(norm, radius, "r"), rng(5)
        )
        delta = (found.x.double() - x.double()).flatten(1)
        spent = how_much(norm, delta, x, space)
        # float32 numbers near 100 are 8e-6 apart: there the tolerance is theirs
        assert spent.max() <= radius + 1e-6 * max(1.0, float(x.abs().max())) * (max(1.0, radius) if norm in ("l2", "l1") else 1.0)
        assert torch.isfinite(found.x).all()
        if space.low is not None:
            assert found.x.min() >= space.low
            assert found.x.max() <= space.high
        examples += 5
    assert examples >= 75


def how_much(norm: str, delta: torch.Tensor, x: torch.Tensor, space: Space) -> torch.Tensor:
    """Each norm once more, from its definition."""
    if norm == "linf":
        return delta.abs().amax(dim=1)
    if norm == "l1":
        return delta.abs().sum(dim=1)
    if norm == "pointwise_l2":
        return delta.reshape(x.shape).square().sum(dim=space.element_axes, keepdim=True).sqrt().flatten(1).amax(dim=1)
    if norm == "event_share":
        return (delta != 0).sum(dim=1) / (x != 0).flatten(1).sum(dim=1).clamp_min(1)
    length = delta.square().sum(dim=1).sqrt()
    return length if norm == "l2" else length / x.double().flatten(1).square().sum(dim=1).sqrt()
