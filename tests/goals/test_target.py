"""Illusions and hubs: loss and success agree, verdicts are read where they should be."""

import torch
from torch.nn.functional import normalize

from ironbind.goals.target import Hub, Illusion
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


def test_a_hub_counts_the_queries_it_captures():
    queries, items = unit_rows(40, seed=2), unit_rows(15, seed=3)
    best = (queries @ items.T).amax(dim=1)
    z = unit_rows(8, seed=4)
    counted = torch.stack(
        [torch.tensor([bool(queries[j] @ one > best[j]) for j in range(40)]).float().mean() for one in z]
    )
    hub = Hub(queries, best, share=float(counted.median()))
    assert torch.allclose(hub.captured(z), counted)
    assert hub.reached(z).equal(counted >= counted.median())
    assert torch.allclose(hub.using("cosine").loss(z), (z @ queries.T).mean(dim=1), atol=1e-6)
    assert hub.rank(z).equal(1 + (40 * counted).round().long())


def test_a_hub_is_judged_by_queries_it_was_not_made_for():
    known, unknown = unit_rows(10, seed=5), unit_rows(12, seed=6)
    hub = Hub(known, torch.full((10,), 0.5), asked=(unknown, torch.full((12,), -1.1)))
    assert hub.rank(unit_rows(3)).tolist() == [13, 13, 13]
    assert Hub(known, torch.full((10,), 0.5), asked=(unknown, torch.full((12,), 1.1))).rank(known).tolist() == [1] * 10
    assert hub[torch.tensor([0])] is hub


def test_the_smooth_count_approaches_the_count():
    queries = unit_rows(30, seed=7)
    best = torch.full((30,), 0.1)
    z = unit_rows(5, seed=8)
    assert torch.allclose(Hub(queries, best, softness=1e-5).loss(z), Hub(queries, best).captured(z), atol=1e-4)
