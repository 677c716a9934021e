"""The goal counts what a detector counts, and gives up queries for silence."""

import torch
from torch.nn.functional import normalize, one_hot

from ironbind.goals.hub import Hub
from ironbind.goals.undetected_hub import HubLimits, UndetectedHub


def unit_rows(n: int, d: int = 6, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


QUERIES, CONCEPT = unit_rows(60, seed=1), torch.arange(60) % 3
LAST = torch.full((60,), 0.3)
FREE = HubLimits(1.0, torch.ones(3), 3.0)


def goal(limits: HubLimits, **knobs) -> UndetectedHub:
    return UndetectedHub(Hub(QUERIES, LAST, share=0.1), LAST, CONCEPT, limits, **knobs)


def test_what_is_counted_is_what_a_detector_counts():
    z = unit_rows(5, seed=2)
    found = (z @ QUERIES.T >= 0.3).float()
    share = found.mean(dim=1)
    rates = torch.stack([found[:, number == CONCEPT].mean(dim=1) for number in range(3)], dim=1)
    parts = rates / rates.sum(dim=1, keepdim=True)
    concepts = torch.distributions.Categorical(probs=parts).entropy().exp()
    limits = HubLimits(0.1, torch.tensor([0.2, 0.3, 0.1]), 2.0)
    expected = (
        (share / 0.1 - 1).clamp_min(0)
        + (rates / torch.tensor([0.2, 0.3, 0.1]) - 1).amax(dim=1).clamp_min(0)
        + (concepts / 2 - 1).clamp_min(0)
    )
    assert torch.allclose(goal(limits).excess(z), expected, atol=1e-5)
    assert one_hot(CONCEPT).sum().item() == 60


def test_without_limits_it_is_the_hub():
    z = unit_rows(4, seed=3)
    free = goal(FREE)
    assert free.loss(z).equal(free.hub.loss(z))
    assert free.reached(z).equal(free.hub.reached(z))
    assert free.rank(z).equal(free.hub.rank(z))
    assert free.margin(z).equal(free.hub.margin(z))
    assert free.using("cosine").hub.by == "cosine"
    assert free.rivals(z, 3).shape == (4, 0)
    assert free[torch.tensor([1])] is free


def climbed(pursued: UndetectedHub) -> torch.Tensor:
    z = unit_rows(3, seed=4).requires_grad_()
    optimiser = torch.optim.Adam([z], lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        (-pursued.loss(normalize(z, dim=1))).sum().backward()
        optimiser.step()
    return normalize(z, dim=1).detach()


def test_the_price_of_silence():
    """Climbing within limits ends within them, with fewer queries than climbing without."""
    plain, quiet = climbed(goal(FREE)), climbed(goal(HubLimits(0.2, torch.full((3,), 0.3), 3.0)))
    shares = [(z @ QUERIES.T >= 0.3).float().mean(dim=1) for z in (plain, quiet)]
    assert (shares[0] > 0.3).all()
    assert (shares[1] < 0.27).all()  # the smooth count keeps 0.2; queries at the edge count half in it
    assert (shares[1] > 0.05).all()


def test_success_needs_silence():
    z = climbed(goal(FREE))
    assert goal(FREE).reached(z).all()
    assert not goal(HubLimits(0.1, torch.ones(3), 3.0)).reached(z).any()
