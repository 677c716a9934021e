"""Transfer: crafted where the gradient is free, judged on the target alone."""

from dataclasses import replace

import pytest
import torch

from ironbind.attacks import PGD
from ironbind.attacks.transfer import Transfer
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.numerics.norms import enforce
from ironbind.types import InputError, Linf
from toys import Conv, Linear, Scorer, ToyData, Transformer, rng

N, BUDGET = 24, Linf("6/255")
CLIMB = PGD(steps=10, stop_when_reached=False)


@pytest.fixture
def target():
    return zero_shot(Conv(), ToyData(N), "image")


def run(attack, task, embed=None):
    return attack(embed or task.embed, task.load(range(N)), task.goal(range(N)), task.space, BUDGET, rng(N))


def test_from_itself_it_is_the_attack(target):
    white, found = run(CLIMB, target), run(Transfer.of(target, CLIMB), target)
    assert found.x.equal(white.x)
    assert found.reached.equal(target.goal(range(N)).reached(target.embed(white.x)))


def test_the_target_gives_no_gradient_and_one_answer_per_example(target):
    asked = []

    def closed(x):
        assert not torch.is_grad_enabled()
        asked.append(len(x))
        return target.embed(x)

    found = run(Transfer.of(zero_shot(Linear(), ToyData(N), "image"), CLIMB), target, closed)
    assert sum(asked) == N
    assert found.gradient_passes.equal(torch.full((N,), 10))
    assert found.forward_passes.equal(torch.full((N,), 2))
    x, goal = target.load(range(N)), target.goal(range(N))
    enforce(found.x, x, target.space, BUDGET)
    assert found.reached.equal(goal.reached(target.embed(found.x)))
    assert torch.allclose(found.loss, goal.margin(target.embed(found.x)), atol=1e-6)


def test_it_transfers_but_less_than_a_white_box_attack(target):
    clean = target.goal(range(N)).reached(target.embed(target.load(range(N))))
    found, white = run(Transfer.of(zero_shot(Linear(), ToyData(N), "image"), CLIMB), target), run(CLIMB, target)
    assert int(clean.sum()) + 2 < int(found.reached.sum()) <= int(white.reached.sum())


def test_the_best_example_is_the_targets_best(target):
    surrogate = zero_shot(Transformer(), ToyData(N), "image")
    weak = replace(CLIMB, steps=1, random_start=False)
    single = [run(Transfer.of(surrogate, one), target) for one in (weak, CLIMB)]
    both = run(Transfer.of(surrogate, weak, CLIMB), target)
    assert both.reached.equal(single[0].reached | single[1].reached)
    failed = ~both.reached
    assert both.loss[failed].equal(torch.maximum(single[0].loss, single[1].loss)[failed])
    assert both.gradient_passes.equal(torch.where(single[0].reached, 1, 11))


def test_its_repr_tells_surrogates_apart(target):
    one, other = (Transfer.of(zero_shot(net, ToyData(N), "image"), CLIMB) for net in (Linear(), Transformer()))
    assert repr(one) != repr(other)
    assert "linear@" in repr(one)
    assert "object at" not in repr(one)
    assert "tensor" not in repr(one)
    assert one != other
    assert (
        one.name
        == f"transfer-linear@{zero_shot(Linear(), ToyData(N), 'image').encoder.weights_sha256[:8]}(pgd10-margin)"
    )


def test_goals_that_no_surrogate_can_be_asked(target):
    attack = Transfer.of(target, CLIMB)
    with pytest.raises(InputError, match="goal Scorer compares with no class centers"):
        attack(target.embed, target.load(range(N)), Scorer(torch.ones(N, 16)), target.space, BUDGET, rng(N))
    fewer = replace(
        target.centers, z=target.centers.z[:5], label=target.centers.label[:5], names=target.centers.names[:5]
    )
    with pytest.raises(InputError, match="the surrogate's 5 classes are not the 8 classes of the goal"):
        run(Transfer((CLIMB,), target.embed, fewer, "fewer"), target)
    with pytest.raises(InputError, match="no attacks"):
        Transfer((), target.embed, target.centers, "none")
