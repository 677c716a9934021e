"""Illusions: loss and success agree, a tie is no success."""

import torch
from torch.nn.functional import normalize

from ironbind.goals.target import Illusion
from ironbind.types import ClassCenters


def unit_rows(n: int, d: int = 6, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def gallery(n: int = 9) -> ClassCenters:
    return ClassCenters(unit_rows(n, seed=1), torch.arange(n), tuple(map(str, range(n))))


def test_an_illusion_is_complete_when_the_target_alone_ranks_first():
    z, centers = unit_rows(50), gallery()
    scores = z @ centers.z.T
    goal = Illusion(centers, torch.arange(50) % 9)
    assert goal.reached(z).equal(scores.argmax(dim=1) == goal.target)
    assert (goal.using("margin").loss(z) > 0).equal(goal.reached(z))
    assert (goal.margin(z) > 0).equal(goal.reached(z))
    assert goal.rank(z).equal(1 + goal.reached(z).long())
    assert torch.allclose(goal.using("cosine").loss(z), scores[torch.arange(50), goal.target])
    assert goal.using("ce").loss(centers.z[goal.target]).gt(goal.using("ce").loss(z) - 1e-6).all()
    assert goal[torch.tensor([4, 2])].target.tolist() == [4, 2]
    assert goal.rivals(z, 3).shape == (50, 0)


def test_a_tie_is_no_illusion():
    twins = ClassCenters(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), torch.arange(3), ("a", "b", "c"))
    assert not Illusion(twins, torch.tensor([0])).reached(torch.tensor([[1.0, 0.0]])).any()
