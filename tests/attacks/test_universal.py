"""Universal perturbations: the closed-form optimum of linear goals, budgets kept on inputs never seen, and what a repr
knows.
"""

from dataclasses import replace

import pytest
import torch

from ironbind.attacks import Noise, PerBudget, Universal, fit_universal
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, UNIT_SPHERE, WAVEFORM
from ironbind.numerics.norms import distance, enforce
from ironbind.types import L1, L2, SNR, EventShare, InputError, Linf, PointwiseL2, Space
from toys import Linear, Scorer, ToyData, rng

FREE = Space("free", "anything", element_axes=(-1,))


def linear(n=48, batch=16):
    """Goals w_i . z over the identity: the best perturbation for all follows from the mean of the w_i alone."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(1, 10, 3, generator=generator) + 0.5 * torch.randn(n, 10, 3, generator=generator)
    goal, x = Scorer(w.flatten(1)), torch.randn(n, 10, 3, generator=generator)
    rows = torch.arange(n).split(batch)
    return w.mean(dim=0), [(x[one], goal[one]) for one in rows]


def embed(x):
    return x.flatten(1)


@pytest.mark.parametrize("norm", ["linf", "l2", "pointwise_l2"])
@pytest.mark.parametrize("batch", [48, 16])
def test_it_finds_the_optimum(norm, batch):
    mean, batches = linear(batch=batch)
    budget, best = {
        "linf": (Linf(0.3), 0.3 * mean.abs().sum()),
        "l2": (L2(0.3), 0.3 * mean.norm()),
        "pointwise_l2": (PointwiseL2(0.3), 0.3 * mean.norm(dim=1).sum()),
    }[norm]
    delta = fit_universal(embed, batches, FREE, budget).delta
    assert distance(delta[None], torch.zeros(1, 10, 3), FREE, norm) <= budget.radius + 1e-6
    assert float((mean * delta).sum()) > (0.9999 if batch == 48 else 0.98) * float(best)


def test_the_best_epoch_is_kept():
    """Goals that only one corner reaches, whatever comes later: more epochs never end lower."""
    _, batches = linear()
    scores = []
    for epochs in (1, 2, 6):
        delta = fit_universal(embed, batches, FREE, L1(1), epochs=epochs).delta
        scores.append(sum(float(goal.loss(embed(x + delta)).sum()) for x, goal in batches))
    assert scores == sorted(scores)


@pytest.mark.parametrize(
    ("space", "budget"),
    [(PIXELS, Linf("16/255")), (PIXELS, L1(2)), (UNIT_SPHERE, PointwiseL2(0.1)), (WAVEFORM, L2(0.5))],
    ids=str,
)
def test_it_keeps_the_budget_on_inputs_never_seen(space, budget):
    generator = torch.Generator().manual_seed(0)
    seen, other = (
        torch.rand(12, 2, 6, 3, generator=generator).round(decimals=1) for _ in range(2)
    )  # 0 and 1 are bounds
    goal = Scorer(torch.randn(12, 36, generator=generator))
    attack = fit_universal(embed, [(seen, goal)], space, budget, epochs=2)
    found = attack(embed, other, goal, space, budget, rng(12))
    enforce(found.x, other, space, budget)
    assert torch.allclose(found.loss, goal.loss(embed(found.x)))
    assert found.forward_passes.tolist() == [1] * 12
    assert not found.gradient_passes.any()
    half = type(budget)(budget.norm, budget.radius / 2, "half")
    enforce(attack(embed, other, goal, space, half, rng(12)).x, other, space, half)


def test_it_works_on_inputs_never_seen():
    task, n, budget = zero_shot(Linear(), ToyData(96), "image"), 48, Linf("12/255")
    batches = [(task.load(rows), task.goal(rows)) for rows in (range(24), range(24, n))]
    x, goal = task.load(range(n, 96)), task.goal(range(n, 96))
    attack = fit_universal(task.embed, batches, task.space, budget)
    found = attack(task.embed, x, goal, task.space, budget, rng(n))
    noise = Noise(1, "sign")(task.embed, x, goal, task.space, budget, rng(n))
    assert found.reached.equal(goal.reached(task.embed(found.x)))
    assert found.reached.float().mean() > noise.reached.float().mean() + 0.25


def test_one_for_every_budget():
    goal, x = Scorer(torch.ones(4, 3)), torch.zeros(4, 3)
    ladder = (Linf("1/4"), Linf("1/2"))
    attack = PerBudget("universal", tuple((one, Universal(torch.full((3,), one.radius))) for one in ladder))
    for one in (*ladder, Linf(0.5)):
        assert attack(embed, x, goal, FREE, one, rng(4)).x.equal(torch.full((4, 3), one.radius))
    assert attack.name == "universal"
    assert repr(attack) == repr(replace(attack))
    assert "tensor" not in repr(attack)
    for other in (Linf("1/3"), L2("1/2")):
        with pytest.raises(InputError, match=f"universal was made for linf 1/4, linf 1/2, not for {other}"):
            attack(embed, x, goal, FREE, other, rng(4))


def test_its_repr_is_its_perturbation():
    one, same, other = Universal(torch.ones(3)), Universal(torch.ones(3)), Universal(torch.tensor([1.0, 1.0, 1.5]))
    assert repr(one) == repr(same) == f"Universal(sha256='{one.sha256}')"
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != Universal(torch.ones(3, 1))
    assert one.name == f"universal-{one.sha256[:8]}"


def test_what_cannot_be():
    goal, x = Scorer(torch.ones(4, 6)), torch.rand(4, 2, 3)
    for budget, space in ((SNR(20), WAVEFORM), (EventShare(0.1), EVENT_FRAMES)):
        with pytest.raises(InputError, match=f"norm '{budget.norm}' gives every sample a radius of its own"):
            fit_universal(embed, [(x, goal)], space, budget)
        with pytest.raises(InputError, match="radius of its own"):
            Universal(torch.zeros(2, 3))(embed, x, goal, space, budget, rng(4))
    with pytest.raises(InputError, match="0 batches"):
        fit_universal(embed, [], PIXELS, Linf(0.1))
    with pytest.raises(InputError, match=r"shape \(3, 2\) does not fit samples of shape \(2, 3\)"):
        Universal(torch.zeros(3, 2))(embed, x, goal, PIXELS, Linf(0.1), rng(4))
    with pytest.raises(InputError, match="given for space 'waveform'"):
        fit_universal(embed, [(x, goal)], PIXELS, Linf(0.1, "waveform"))
