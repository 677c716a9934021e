"""EOT: means and majorities over draws, honest counts, and a random gradient that averages out."""

import pytest
import torch

from ironbind.attacks import APGD, EOT, PGD, Square, bindattack
from ironbind.attacks.eot import Expected
from ironbind.attacks.on_alarm import OnAlarm
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.numerics.sample_random import under_noise
from ironbind.types import InputError, Linf, Space
from toys import Conv, Scorer, ToyData, rng

FREE = Space("free", "anything")


def test_mean_of_losses_and_strict_majority():
    goal = Expected(Scorer(torch.ones(2, 1), threshold=0.0))
    z = torch.tensor([[1.0, 1.0, -5.0, -5.0], [1.0, 1.0, 1.0, -9.0]])[:, :, None]
    assert goal.loss(z).tolist() == [-2.0, -1.5]
    assert goal.reached(z).tolist() == [False, True]  # two of four are no majority
    assert goal[torch.tensor([1])].reached(z[1:]).tolist() == [True]


def test_rivals_are_those_of_the_mean():
    task = zero_shot(Conv(), ToyData(6), "image")
    goal, z = task.goal(range(6)), task.embed(task.load(range(6)))
    doubled = torch.stack([2 * z - 0.1, 0.1 * torch.ones_like(z)], dim=1)
    assert Expected(goal).rivals(doubled, 3).equal(goal.rivals(z, 3))
    pursued = Expected(goal).against(goal.rivals(z, 1)[:, 0]).using("margin")
    assert torch.allclose(pursued.loss(torch.stack([z, z], dim=1)), goal.against(goal.rivals(z, 1)[:, 0]).loss(z))


def test_a_sure_encoder_gains_nothing_and_costs_more():
    task = zero_shot(Conv(), ToyData(12), "image")
    arguments = (task.embed, task.load(range(12)), task.goal(range(12)), task.space, Linf("3/255"), rng(12))
    plain, averaged = APGD(8)(*arguments), EOT(APGD(8), draws=3)(*arguments)
    assert averaged.reached.equal(plain.reached)
    assert averaged.gradient_passes.equal(3 * plain.gradient_passes)
    assert averaged.forward_passes.equal(3 * plain.forward_passes + 3)
    assert torch.allclose(averaged.loss, plain.loss, atol=1e-5)
    assert 0 < int(plain.reached.sum()) < 12


def test_every_pass_is_counted():
    seen = 0

    def embed(x):
        nonlocal seen
        seen += len(x)
        return x

    found = EOT(PGD(steps=5, random_start=False), draws=7)(
        embed, torch.zeros(4, 3), Scorer(torch.ones(4, 3)), FREE, Linf(1), rng(4)
    )
    assert seen == int((found.gradient_passes + found.forward_passes).sum())


class Noisy:
    """z = x + noise far larger than the budget, drawn afresh at each call, with a gain that is random too: single
    gradients point anywhere.
    """

    def __init__(self, gain_noise):
        self.gain_noise = gain_noise
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, x):
        return x * (1 + self.gain_noise * torch.randn(x.shape, generator=self.generator)) + 3 * torch.randn(
            x.shape, generator=self.generator
        )


def test_a_random_gradient_averages_out():
    """The mean encoder is the identity, whose optimum is the corner along w: EOT comes nearer to it than as many single
    steps.
    """
    generator = torch.Generator().manual_seed(0)
    goal, x = Scorer(torch.randn(8, 40, generator=generator)), torch.zeros(8, 40)
    optimum = goal.w.abs().sum(dim=1)
    step = PGD(steps=20, step_size=0.1, random_start=False)
    plain = goal.loss(step(Noisy(2.0), x, goal, FREE, Linf(1), rng(8)).x) / optimum
    averaged = goal.loss(EOT(step, draws=30)(Noisy(2.0), x, goal, FREE, Linf(1), rng(8)).x) / optimum
    assert averaged.mean() > plain.mean() + 0.2
    assert averaged.mean() > 0.9


def test_a_lucky_vote_does_not_count():
    """Success has probability 0.3 at every point: some vote among fifty is lucky, the fresh one at the end tells the
    truth.
    """
    generator = torch.Generator().manual_seed(0)

    def embed(x):
        return 0 * x + torch.where(torch.rand(len(x), 1, generator=generator) < 0.3, 1.0, -1.0)

    n = 200
    goal = Scorer(torch.ones(n, 1), threshold=0.0)
    attack = PGD(steps=50, random_start=False)
    left = EOT(attack, draws=9)(embed, torch.zeros(n, 1), goal, FREE, Linf(1), rng(n))
    assert (left.gradient_passes < 50 * 9).float().mean() > 0.9  # they left at a lucky vote
    assert left.reached.float().mean() < 0.2  # P(at least 5 of 9) = 0.099


def test_the_loss_is_that_of_fresh_draws():
    """The best of fifty noisy losses flatters; the mean over new draws of the same example does not."""
    generator = torch.Generator().manual_seed(0)

    def embed(x):
        return 0 * x + torch.randn(len(x), 1, generator=generator)

    n = 300
    found = EOT(PGD(steps=20, random_start=False), draws=4)(
        embed, torch.zeros(n, 1), Scorer(torch.ones(n, 1)), FREE, Linf(1), rng(n)
    )
    assert abs(float(found.loss.mean())) < 0.1
    assert float(found.loss.std()) == pytest.approx(0.5, abs=0.07)


@pytest.mark.parametrize(
    "stage", [*bindattack("standard").stages[1:3], OnAlarm(Square(queries=8), share=1.0)], ids=lambda one: one.name
)
def test_every_stage_of_the_ensemble_can_be_wrapped(stage):
    task = zero_shot(Conv(), ToyData(8), "image")
    found = EOT(stage, draws=2)(task.embed, task.load(range(8)), task.goal(range(8)), task.space, Linf("3/255"), rng(8))
    assert found.reached.equal(task.goal(range(8)).reached(task.embed(found.x)))


def test_draws_of_one_pass_are_those_of_several_calls():
    """An embedding that can draw several times in one pass is asked once an iterate, and nothing else changes."""
    task = zero_shot(Conv(), ToyData(4), "image")
    rows, found, calls = range(4), [], []

    def embed(x):
        calls.append(len(x))
        return task.embed(x)

    for several in (False, True):
        calls.clear()
        noisy = under_noise(embed, 0.1, "key")
        attack = EOT(PGD(steps=3, stop_when_reached=False), draws=4)
        asked = noisy if several else lambda x, noisy=noisy: noisy(x)
        found.append(attack(asked, task.load(rows), task.goal(rows), task.space, Linf("3/255"), rng(4)))
        assert set(calls) == ({16} if several else {4})
    assert all(one.equal(other) for one, other in zip(*found, strict=True))


def test_it_names_what_it_wraps():
    assert EOT(APGD(50)).name == "eot20(apgd50-margin)"
    assert repr(EOT(PGD(3), draws=2)).startswith("EOT(attack=PGD(steps=3,")
    with pytest.raises(InputError, match="draws=0"):
        EOT(draws=0)
