"""Auto-PGD against its algorithm written down sample by sample (Croce and Hein 2020, algorithm 1, with the authors'
integer checkpoints).
"""

import pytest
import torch

from ironbind.attacks import APGD, PGD
from ironbind.attacks.apgd import checkpoints
from ironbind.evaluate.tasks.zero_shot import zero_shot
from ironbind.numerics.norms import project, random_start, steepest_step
from ironbind.types import L2, Linf, Space
from toys import Conv, Scorer, ToyData, Transformer, rng

FREE = Space("free", "anything")


def test_checkpoints():
    assert checkpoints(100) == [22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(50) == [11, 21, 30, 38, 45]
    assert checkpoints(10) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert checkpoints(1) == []
    assert checkpoints(2) == [1]
    assert checkpoints(40) == [8, 15, 21, 26, 30, 33, 35, 37, 39]


def walk(one, space, budget, start, steps):
    """A sample's way in the paper's words: yields points and is sent the loss and its gradient there. Returns the best
    point, its loss, and how often the step was halved.
    """

    def onto(point):
        return project(point, one, space, budget)

    eta, halvings = 2.0, 0
    current = previous = start
    loss, gradient = yield current
    losses = [loss]
    top, top_loss, top_gradient = current, loss, gradient
    last_mark, halved_before, top_loss_before = 0, True, loss
    for k in range(steps):
        if k > 0:
            loss, gradient = yield current
            losses.append(loss)
            if loss > top_loss:
                top, top_loss, top_gradient = current, loss, gradient
        if k in checkpoints(steps):
            increases = sum(losses[j] > losses[j - 1] for j in range(last_mark + 1, k + 1))
            first = increases < 0.75 * (k - last_mark)
            second = not halved_before and top_loss_before == top_loss
            if first or second:
                eta, current, previous, gradient = eta / 2, top, top, top_gradient
                halvings += 1
            halved_before, top_loss_before, last_mark = first or second, top_loss, k
        aimed = onto(current + eta * steepest_step(gradient, one, space, budget))
        share = 1.0 if k == 0 else 0.75
        after = onto(current + share * (aimed - current) + (1 - share) * (current - previous))
        previous, current = current, after
    loss, _ = yield current
    if loss > top_loss:
        top, top_loss = current, loss
    return top, top_loss, halvings


def reference(embed, x, goal, space, budget, start, steps):
    """The best points, their losses, and how often a step was halved. Every sample goes its own way; they only share
    passes, in batches of multiples of four rows, as the engine rounds batches up: the same bits.
    """
    count = len(x)
    rows = torch.arange(-(-count // 4) * 4) % count
    walks = [walk(x[i : i + 1], space, budget, start[i : i + 1], steps) for i in range(count)]
    points, ends = [next(one) for one in walks], []
    while not ends:
        at = torch.cat(points)[rows].requires_grad_()
        loss = goal[rows].loss(embed(at))
        (gradient,) = torch.autograd.grad(loss.sum(), at)
        points = []
        for i, one in enumerate(walks):
            try:
                points.append(one.send((float(loss[i].detach()), gradient[i : i + 1])))
            except StopIteration as end:
                ends.append(end.value)
    assert not points, "all take as many steps"
    best_points, best_losses, halvings = zip(*ends, strict=True)
    return torch.cat(best_points), torch.tensor(best_losses), sum(halvings)


@pytest.mark.parametrize("steps", [9, 25, 60])
@pytest.mark.parametrize("budget", [Linf("6/255"), L2(0.3)], ids=str)
@pytest.mark.parametrize("loss", ["cosine", "margin"])
@pytest.mark.parametrize("network", [Conv, Transformer])
def test_it_is_the_algorithm(network, loss, budget, steps):
    task = zero_shot(network(), ToyData(6), "image")
    x, goal = task.load(range(6)), task.goal(range(6)).using(loss)
    start = random_start(x, task.space, budget, rng(6), "apgd restart 0")
    expected, losses, halvings = reference(task.embed, x, goal, task.space, budget, start, steps)
    found = APGD(steps=steps, loss=loss, stop_when_reached=False)(task.embed, x, goal, task.space, budget, rng(6))
    if loss == "cosine":  # success would outweigh the loss
        missed = ~found.reached
        assert torch.allclose(found.loss[missed], losses[missed], atol=1e-6)
        assert torch.allclose(found.x[missed], expected[missed], atol=1e-5)
    else:
        assert torch.allclose(found.loss, losses, atol=1e-6)
        assert torch.allclose(found.x, expected, atol=1e-5)
    assert halvings > 3 or steps == 9


def test_the_trajectory_is_the_algorithms():
    """A curved function whose optimum lies inside the ball: steps overshoot, stall and halve, and every iterate is
    compared.
    """
    target = torch.tensor([[0.13, -0.21, 0.4], [0.0, 0.3, -0.35], [0.45, 0.45, -0.1], [-0.2, 0.05, 0.3]])
    x = torch.zeros(4, 3)

    class Near(Scorer):
        def loss(self, z):
            return -(z - self.w).abs().pow(1.5).sum(dim=1)

        def __getitem__(self, rows):
            return Near(self.w[rows])

    for budget in (Linf(0.5), L2(0.8)):
        seen = []

        def embed(rows, seen=seen):
            seen.append(rows.detach().clone())
            return rows

        start = random_start(x, FREE, budget, rng(4), "apgd restart 0")
        found = APGD(steps=40, stop_when_reached=False)(embed, x, Near(target), FREE, budget, rng(4))
        expected, losses, halvings = reference(lambda rows: rows, x, Near(target), FREE, budget, start, 40)
        assert torch.allclose(found.x, expected, atol=1e-6)
        assert torch.allclose(found.loss, losses, atol=1e-6)
        assert halvings >= 8
        assert seen[0].equal(start)
        assert (found.x - target).abs().max() < 0.05
        assert len(seen) == 41


def test_restarts_begin_elsewhere_and_never_hurt():
    task = zero_shot(Conv(), ToyData(12), "image")
    x, goal = task.load(range(12)), task.goal(range(12))
    results = [APGD(steps=3, restarts=n)(task.embed, x, goal, task.space, Linf("2/255"), rng(12)) for n in (1, 2, 3)]
    for fewer, more in zip(results, results[1:], strict=False):
        assert (more.reached | ~fewer.reached).all()
        assert (more.loss >= fewer.loss)[more.reached == fewer.reached].all()
        assert (more.gradient_passes[~fewer.reached] == fewer.gradient_passes[~fewer.reached] + 3)[
            ~more.reached[~fewer.reached]
        ].all()
    assert (results[1].loss > results[0].loss).any()
    assert not results[0].reached.all()


def test_it_beats_pgd_with_the_same_passes():
    task = zero_shot(Transformer(), ToyData(24), "image")
    x, goal = task.load(range(24)), task.goal(range(24))
    auto, plain = (
        attack(task.embed, x, goal, task.space, Linf("2/255"), rng(24))
        for attack in (APGD(30, stop_when_reached=False), PGD(3, stop_when_reached=False))
    )
    assert float((auto.loss - plain.loss).mean()) > 0
