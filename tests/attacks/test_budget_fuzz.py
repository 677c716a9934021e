"""Thousands of examples in every standard space and every norm that has a meaning there, checked in float64: not one
leaves its budget.
"""

import math

import pytest
import torch
from torch.nn.functional import normalize

from ironbind.attacks import (
    APGD,
    FGSM,
    FMN,
    PGD,
    CarliniWagner,
    CrossMaxim,
    NearMiss,
    Noise,
    Square,
    TargetedAPGD,
    TargetRace,
)
from ironbind.goals.misclassify import Misclassify
from ironbind.modalities import spaces
from ironbind.types import Attack, Budget, ClassCenters, InputError, Space
from toys import Scorer, rng

STANDARD = [one for one in vars(spaces).values() if isinstance(one, Space)] + [
    spaces.log_mel(80.0),
    Space("unbounded", "anything"),
]
QUICK = (
    PGD(steps=4),
    PGD(steps=3, restarts=2, step_size=1.5),
    FGSM(),
    APGD(steps=6),
    PGD(steps=3, stop_when_reached=False),
)
EVERY = (
    *QUICK, PGD(steps=4, momentum=1.0), TargetedAPGD(steps=3, targets=2), TargetRace(steps=2, targets=3, heats=2),
    CrossMaxim(steps=4), Square(queries=12), Square(queries=6, stop_when_reached=False), Noise(draws=3),
    Noise(draws=2, kind="sign"), FMN(steps=14),
    NearMiss(search=6, within=1.5, close=1.5, steps=3, again=(APGD(3, loss="ce"),)), CarliniWagner(steps=4),
)  # fmt: skip
RADII = {"linf": (0.0, 1 / 255, 4 / 255, 0.3, 5.0), "l2": (0.0, 1e-3, 0.1, 1.0, 30.0), "l1": (0.0, 0.1, 3.0, 200.0)}
RADII |= {"snr": (0.0, 0.01, 0.3), "pointwise_l2": (0.0, 0.01, 0.5), "event_share": (0.0, 0.02, 0.3, 1.0)}
SHAPES = ((3,), (3, 8, 8), (1, 500), (64, 3))
LARGE = (3, 32, 32)  # roundings of thousands of coordinates add up


def has_meaning(norm: str, space: Space) -> bool:
    try:
        Budget(norm, 0.1, "0.1").check(space)
    except InputError:
        return False
    return True


PAIRS = [(space, norm) for space in STANDARD for norm in RADII if has_meaning(norm, space)]


@pytest.mark.parametrize(("space", "norm"), PAIRS, ids=lambda one: getattr(one, "name", one))
def test_no_example_leaves_its_budget(space, norm):
    """Every attack at every radius, on two shapes of the four in turn."""
    assert examples_checked(space, norm, QUICK, 5, every=2) >= 35


@pytest.mark.slow
def test_none_of_a_hundred_thousand_leaves_its_budget():
    assert sum(examples_checked(space, norm, EVERY, 20, (*SHAPES, LARGE)) for space, norm in PAIRS) >= 100_000


def examples_checked(
    space: Space,
    norm: str,
    attacks: tuple[Attack, ...],
    rows: int,
    shapes: tuple[tuple[int, ...], ...] = SHAPES,
    every: int = 1,
) -> int:
    """How many examples of these attacks were checked, at every radius and every or every second, ... shape."""
    examples = 0
    for number, (attack, radius, shape) in enumerate((a, r, s) for a in attacks for r in RADII[norm] for s in shapes):
        pair, place = divmod(number, len(shapes))
        if (pair + place) % every:
            continue
        if norm == "pointwise_l2" and len(shape) < -min(space.element_axes):
            continue
        if norm not in getattr(attack, "norms", (norm,)):
            continue
        generator = torch.Generator().manual_seed(number)
        scale = 1.0 if space.low is not None else (1.0, 100.0)[number % 2]
        x = scale * torch.randn((rows, *shape), generator=generator)
        if space.low is not None:
            x = x.clamp(space.low, space.high)  # many coordinates on a bound
        size = math.prod(shape)
        w, curve = torch.randn((rows, size), generator=generator), torch.randn((1, size), generator=generator)
        if number % 3 == 0:  # classes, so that there are rivals to pursue

            def embed(x, w=w[:12], curve=curve):
                return normalize((x.flatten(1) + (3 * x.flatten(1) * curve).sin()) @ w.T, dim=1)

            centers = ClassCenters(
                normalize(torch.randn((4, min(rows, 12)), generator=generator), dim=1), torch.arange(4), tuple("abcd")
            )
            goal = Misclassify(centers, torch.arange(rows) % 4)
        else:

            def embed(x, curve=curve):
                return x.flatten(1) + (3 * x.flatten(1) * curve).sin()

            goal = Scorer(w, 1.0)
        found = attack(embed, x, goal, space, Budget(norm, radius, "r"), rng(rows))
        spent = how_much(norm, (found.x.double() - x.double()).flatten(1), x, space)
        # float32 numbers near 100 are 8e-6 apart: there the tolerance is theirs
        assert spent.max() <= radius + 1e-6 * max(1.0, float(x.abs().max())) * (
            max(1.0, radius) if norm in ("l2", "l1") else 1.0
        ), (attack, radius)
        assert torch.isfinite(found.x).all()
        if space.low is not None:
            assert found.x.min() >= space.low
            assert found.x.max() <= space.high
        examples += rows
    return examples


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
