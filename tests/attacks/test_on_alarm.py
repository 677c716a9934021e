"""The gradient alarm: silent on smooth encoders, loud where gradients lie; and who is attacked because of it."""

from dataclasses import dataclass

import pytest
import torch

from ironbind.attacks.on_alarm import OnAlarm, probe
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.types import Attacked, InputError, Linf
from toys import Conv, Counting, ToyData, rng


@dataclass(frozen=True)
class Spy:
    """Marks the rows it is given by moving them, and says that it succeeded."""

    name: str = "spy"

    def __call__(self, embed, x, goal, space, budget, rng):
        ones = torch.ones(len(x), dtype=torch.int64)
        return Attacked(
            (x + budget.radius / 2).clamp(space.low, space.high),
            torch.ones(len(x), dtype=torch.bool),
            torch.zeros(len(x)),
            10 * ones,
            ones,
        )


def scene(n=24):
    task = zero_shot(Conv(), ToyData(n), "image")
    return task, task.load(range(n)), task.goal(range(n))


def rounded(embed):
    """The same to the eye, but flat almost everywhere."""
    return lambda x: embed(x + ((32 * x).round() / 32 - x).detach() + 0 * x - (x - x.detach()))


def test_it_is_silent_where_gradients_are_true():
    task, x, goal = scene()
    result, rings = probe(task.embed, x, goal, task.space, Linf("1/255"), rng(24))
    assert not rings[~goal.reached(task.embed(x))].any()
    assert result.gradient_passes.eq(1).all()


def test_it_rings_where_gradients_vanish_or_lie():
    task, x, goal = scene()
    assert probe(rounded(task.embed), x, goal, task.space, Linf("1/255"), rng(24))[1].all()
    backwards = lambda x: task.embed(2 * x.detach() - x)  # noqa: E731 - the gradient points the wrong way
    assert probe(backwards, x, goal, task.space, Linf("1/255"), rng(24))[1].all()
    with torch.no_grad():
        cut = lambda x: task.embed(x.detach())  # noqa: E731 - no graph at all
    assert probe(cut, x, goal, task.space, Linf("1/255"), rng(24))[1].all()


def test_the_attack_is_spent_on_alarms_and_on_a_random_few():
    task, x, goal = scene()
    standing = ~goal.reached(task.embed(x))
    budget = Linf("1/255")
    none = OnAlarm(Spy(), share=0.0)(task.embed, x, goal, task.space, budget, rng(24))
    assert not none.gradient_passes[standing].gt(1).any()
    everyone = OnAlarm(Spy(), share=1.0)(task.embed, x, goal, task.space, budget, rng(24))
    assert everyone.gradient_passes[standing].eq(11).all()
    some = OnAlarm(Spy(), share=0.3)(task.embed, x, goal, task.space, budget, rng(24))
    drawn = some.gradient_passes.eq(11)
    assert 1 <= int(drawn.sum()) <= 16
    rows = torch.tensor([5, 17, 3])
    part = OnAlarm(Spy(), share=0.3)(task.embed, x[rows], goal[rows], task.space, budget, rng(24)[rows])
    assert part.gradient_passes.eq(11).equal(drawn[rows])  # who is drawn does not depend on the batch
    masked = OnAlarm(Spy(), share=0.0)(rounded(task.embed), x, goal, task.space, budget, rng(24))
    assert masked.gradient_passes[~goal.reached(rounded(task.embed)(x))].eq(11).all()


def test_what_probing_costs():
    task, x, goal = scene(8)
    counting = Counting(task.encoder)
    result = OnAlarm(Spy(), share=0.0)(lambda x: counting.embed("image", x), x, goal, task.space, Linf("1/255"), rng(8))
    assert sum(counting.rows) == int((result.gradient_passes + result.forward_passes).sum())


def test_a_share_is_a_share():
    with pytest.raises(InputError, match="share 2 is not between 0 and 1"):
        OnAlarm(Spy(), share=2)
