"""Attacks that seek the nearest example, against minima that are known in closed form."""

from dataclasses import replace

import pytest
import torch

from ironbind.attacks import FMN, CarliniWagner
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, WAVEFORM
from ironbind.numerics.norms import GEOMETRIES, enforce
from ironbind.types import L2, NORMS, Budget, InputError, Linf, Space
from toys import Constant, Conv, Linear, Scorer, ToyData, rng

ROWS, POINTS, COORDINATES = 8, 20, 3
SMOOTH = tuple(one for one in NORMS if one != "event_share")
SPACES = (Space("free", "anything", element_axes=(-1,)), replace(PIXELS, element_axes=(-1,)))


def flat(x):
    return x.flatten(1)


def half_spaces(threshold: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Samples in [0, 1], the normal of a half-space for each, and by how much the sample misses it."""
    draw = torch.Generator().manual_seed(0)
    w = torch.randn(ROWS, POINTS * COORDINATES, generator=draw)
    w = w - w.mean(dim=1, keepdim=True)  # so that grey stays where it is
    x = 0.4 + 0.2 * torch.rand(ROWS, POINTS, COORDINATES, generator=draw)
    gap = 0.05 + 0.25 * torch.rand(ROWS, generator=draw)
    back = ((w * flat(x)).sum(dim=1) - threshold + gap) / w.square().sum(dim=1)
    x = x - (back[:, None] * w).reshape(x.shape)
    assert x.min() > 0.1
    assert x.max() < 0.9
    return x, w, gap


def dual(w: torch.Tensor, x: torch.Tensor, norm: str) -> torch.Tensor:
    """What a unit of the norm's radius gains at most."""
    return {
        "linf": w.abs().sum(dim=1),
        "l2": w.norm(dim=1),
        "l1": w.abs().amax(dim=1),
        "snr": w.norm(dim=1) * flat(x).norm(dim=1),
        "pointwise_l2": w.reshape(x.shape).norm(dim=2).sum(dim=1),
    }[norm]


def space_for(space: Space, norm: str) -> Space:
    return replace(space, name="waveform") if norm == "snr" else space


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize("threshold", [0.0, 0.2])
@pytest.mark.parametrize("norm", SMOOTH)
def test_fmn_finds_the_nearest_point_of_a_half_space(norm, threshold, space):
    """A loss that is not 0 at the boundary (threshold 0.2) costs steps, and so do the 60 corners of an l1 ball."""
    x, w, gap = half_spaces(threshold)
    steps = 100 if norm == "l1" else 10 if threshold == 0 else 40
    found = FMN(steps)(flat, x, Scorer(w, threshold), space_for(space, norm), Budget(norm, 20.0, "20"), rng(ROWS))
    assert found.reached.all()
    ratio = GEOMETRIES[norm].distance(found.x, x, space) * dual(w, x, norm) / gap
    assert ratio.max() < 1.02
    assert ratio.min() > 1 - 1e-4


@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
@pytest.mark.parametrize("threshold", [0.0, 0.2])
@pytest.mark.parametrize("norm", CarliniWagner.norms)
def test_carlini_wagner_finds_the_nearest_point_of_a_half_space(norm, threshold, space):
    """With threshold 0.2 the c that a linear lead would need is the wrong one, and has to be searched for."""
    x, w, gap = half_spaces(threshold)
    attack = CarliniWagner(60, searches=5)  # with 40 steps or 4 searches it misses some
    found = attack(flat, x, Scorer(w, threshold), space_for(space, norm), Budget(norm, 20.0, "20"), rng(ROWS))
    assert found.reached.all()
    ratio = GEOMETRIES[norm].distance(found.x, x, space) * dual(w, x, norm) / gap
    assert ratio.max() < 1.03
    assert ratio.min() > 1 - 1e-4


def test_fmn_changes_as_few_events_as_it_takes():
    draw = torch.Generator().manual_seed(0)
    x = torch.where(torch.rand(ROWS, 2, 10, 10, generator=draw) < 0.3, 0.5, 0.0)
    w = torch.randn(ROWS, 200, generator=draw)
    gain = torch.where(w > 0, w * (1 - flat(x)), -w * flat(x)).sort(dim=1, descending=True).values.cumsum(dim=1)
    needed = torch.arange(2, 2 + ROWS)  # cells
    threshold = (w * flat(x)).sum(dim=1) + gain.gather(1, needed[:, None] - 1).squeeze(1) - 1e-3

    class Shifted(Scorer):
        def loss(self, z):
            return (self.w * z).sum(dim=1) - self.threshold

        def reached(self, z):
            return self.loss(z) > 0

        def __getitem__(self, rows):
            return Shifted(self.w[rows], self.threshold[rows])

    found = FMN(60)(flat, x, Shifted(w, threshold), EVENT_FRAMES, Budget("event_share", 1.0, "1"), rng(ROWS))
    assert found.reached.all()
    assert flat(found.x != x).sum(dim=1).tolist() == needed.tolist()


def nearest_of_all_rivals(task, indices, norm: str) -> torch.Tensor:
    """`Linear` is right while (center of the truth - center of a rival) . frame^T (x - 0.5) > 0 for every rival: the
    nearest of these planes.
    """
    x, frame = task.load(indices), task.encoder.get_parameter(task.modality)
    truth = task.centers.z[torch.tensor([task.dataset.labels[i] for i in indices])]
    distances = []
    for rival in task.centers.z:
        w = (rival - truth) @ frame.T
        distances.append(-(w * flat(x - 0.5)).sum(dim=1) / dual(w, x, norm).clamp_min(1e-9))
    far = torch.stack(distances, dim=1)
    return torch.where(far.isfinite() & (far.abs() > 1e-6), far, torch.inf).amin(dim=1)


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize(
    ("attack", "within"),
    [(FMN(40), 1.02), (FMN(40, loss="dlr"), 1.02), (CarliniWagner(), 1.2)],
    ids=lambda one: str(one),
)
def test_the_nearest_of_all_wrong_classes_is_found(attack, within, norm):
    if norm not in getattr(attack, "norms", NORMS):
        return
    task = zero_shot(Linear(), ToyData(16), "image")
    indices = list(range(16))
    x, goal = task.load(indices), task.goal(indices)
    best = nearest_of_all_rivals(task, indices, norm)
    found = attack(task.embed, x, goal, task.space, Budget(norm, 5.0, "5"), rng(16))
    assert found.reached.all()
    assert goal.reached(task.embed(found.x)).all()
    standing = ~goal.reached(task.embed(x))
    ratio = (GEOMETRIES[norm].distance(found.x, x, task.space) / best)[standing]
    assert len(ratio) > 8
    assert ratio.max() < within
    assert ratio.min() > 1 - 1e-3  # bounds can only make it longer


@pytest.mark.parametrize(("attack", "share"), [(FMN(20), 0.999), (CarliniWagner(20, searches=3), 0.7)])
def test_the_cap_holds_and_the_best_point_inside_comes_back(attack, share):
    x, w, gap = half_spaces(0.0)
    cap = L2(0.5 * float((gap / w.norm(dim=1)).min()))
    found = attack(flat, x, Scorer(w, 0.0), SPACES[1], cap, rng(ROWS))
    assert not found.reached.any()
    enforce(found.x, x, SPACES[1], cap)
    assert (
        (found.loss + gap) / (cap.radius * w.norm(dim=1)) > share
    ).all()  # of what the whole cap gains along the normal
    assert torch.allclose(found.loss, (w * flat(found.x)).sum(dim=1))


@pytest.mark.parametrize("norm", SMOOTH)
def test_a_cap_parts_what_it_lets_fall_from_what_it_does_not(norm):
    x, w, gap = half_spaces(0.0)
    least = gap / dual(w, x, norm)
    cap = Budget(norm, float(least.median()) * 1.02, "median")
    found = FMN(60)(flat, x, Scorer(w, 0.0), space_for(SPACES[1], norm), cap, rng(ROWS))
    enforce(found.x, x, SPACES[1], cap)
    assert found.reached.equal(least < cap.radius)
    assert 0 < found.reached.sum() < ROWS


@pytest.mark.parametrize("attack", [FMN(8), CarliniWagner(4, searches=2)])
def test_who_is_wrong_already_leaves_at_once(attack):
    x, w, gap = half_spaces(0.0)
    goal = Scorer(torch.where(torch.arange(ROWS)[:, None] < 3, -w, w), 0.0)
    found = attack(flat, x, goal, SPACES[1], L2(5.0), rng(ROWS))
    assert found.x[:3].equal(x[:3])
    assert found.reached[:3].all()
    assert found.gradient_passes[:3].tolist() == [0, 0, 0]
    assert found.forward_passes[:3].tolist() == [1, 1, 1]
    assert (found.gradient_passes[3:] > 0).all()


@pytest.mark.parametrize("attack", [FMN(30), FMN(3), CarliniWagner(5, searches=2)])
def test_every_pass_is_counted(attack):
    task = zero_shot(Conv(), ToyData(16), "image")
    rows, indices = {True: 0, False: 0}, list(range(16))

    def counting(x):
        rows[x.requires_grad] += len(x)
        return task.embed(x)

    goal = task.goal(indices)
    kept = (~goal.reached(task.embed(task.load(indices)))).nonzero().squeeze(1)[:8]  # a multiple of four: nobody pads
    assert len(kept) == 8
    found = attack(counting, task.load(indices)[kept], goal[kept], task.space, L2(1.0), rng(8))
    assert found.reached.all()
    assert rows == {True: int(found.gradient_passes.sum()), False: int(found.forward_passes.sum())}
    assert found.gradient_passes.unique().tolist() == [
        attack.steps if isinstance(attack, FMN) else attack.steps * attack.searches + 1
    ]


@pytest.mark.parametrize("norm", NORMS)
def test_a_sample_does_not_feel_its_neighbours(norm):
    space = replace(
        SPACES[0], low=0.0, high=1.0, name={"snr": "waveform", "event_share": "event_frames"}.get(norm, "box")
    )
    x, w, _ = half_spaces(0.0)
    budget = Budget(norm, 5.0 if norm != "event_share" else 1.0, "cap")

    def run(rows):
        return FMN(25)(flat, x[rows], Scorer(w[rows], 0.0), space, budget, rng(ROWS)[rows])

    whole, order = run(torch.arange(ROWS)), torch.tensor([5, 0, 7])
    part = run(order)
    for field in whole._fields:
        assert getattr(whole, field)[order].equal(getattr(part, field))


def test_a_goal_without_rivals_gets_all_steps():
    task = retrieval(Conv(), ToyData(16), "image", of="text")
    indices = list(range(16))
    assert task.goal(indices).rivals(torch.zeros(16, 16), 3).shape == (16, 0)
    found = FMN(30)(task.embed, task.load(indices), task.goal(indices), task.space, L2(2.0), rng(16))
    assert found.reached.all()


def test_no_gradient_no_example():
    task = zero_shot(Constant(), ToyData(8), "image")
    goal, x = task.goal(range(8)), task.load(range(8))
    for attack, budget in ((FMN(5), Linf("8/255")), (CarliniWagner(3, searches=2), L2(0.5))):
        found = attack(task.embed, x, goal, task.space, budget, rng(8))
        assert found.x.equal(x) if isinstance(attack, FMN) else torch.allclose(found.x, x, atol=1e-5)
        assert found.reached.equal(goal.reached(task.embed(x)))


def test_carlini_wagner_says_which_norms_it_takes():
    x, w, _ = half_spaces(0.0)
    with pytest.raises(InputError, match=r"\(l2, snr\); norm 'linf' needs another attack, such as FMN"):
        CarliniWagner()(flat, x, Scorer(w, 0.0), WAVEFORM, Linf(0.1), rng(ROWS))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FMN(steps=0), "steps=0"),
        (lambda: FMN(targets=0), "targets=0"),
        (lambda: FMN(loss="ce"), "loss 'ce' does not say where the boundary is"),
        (lambda: CarliniWagner(searches=0), "searches=0"),
        (lambda: CarliniWagner(rate=0.0), r"rate=0\.0"),
    ],
)
def test_knobs_that_make_no_sense_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
