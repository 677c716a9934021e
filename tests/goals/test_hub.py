"""Hubs: loss and success agree, verdicts are read from the queries that were held out."""

import torch
from torch.nn.functional import normalize

from ironbind.goals.hub import Hub


def unit_rows(n: int, d: int = 6, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


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
    hub = Hub(known, torch.full((10,), 0.5), held_out=(unknown, torch.full((12,), -1.1)))
    assert hub.rank(unit_rows(3)).tolist() == [13, 13, 13]
    assert (
        Hub(known, torch.full((10,), 0.5), held_out=(unknown, torch.full((12,), 1.1))).rank(known).tolist() == [1] * 10
    )
    assert hub[torch.tensor([0])] is hub


def test_the_smooth_count_approaches_the_count():
    queries = unit_rows(30, seed=7)
    best = torch.full((30,), 0.1)
    z = unit_rows(5, seed=8)
    assert torch.allclose(Hub(queries, best, softness=1e-5).loss(z), Hub(queries, best).captured(z), atol=1e-4)
