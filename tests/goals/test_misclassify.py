"""Goals: loss and success agree, gradients are right, indexing is slicing."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import normalize

from ironbind.goals.misclassify import LOSSES, Misclassify
from ironbind.goals.miss_retrieved import MissRetrieved
from ironbind.numerics.metrics import class_scores
from ironbind.types import ClassCenters, InputError

seeds = st.integers(0, 10_000)


def centers(generator: torch.Generator, dtype=torch.float32) -> ClassCenters:
    """Seven rows of five classes, unit length, in no order."""
    rows = normalize(torch.randn(7, 4, generator=generator, dtype=dtype), dim=1)
    return ClassCenters(rows, torch.tensor([4, 0, 1, 2, 0, 3, 1]), tuple("abcde"))


def goals(seed: int, k: int = 1, dtype=torch.float32, b: int = 6):
    generator = torch.Generator().manual_seed(seed)
    z = normalize(torch.randn(b, 4, generator=generator, dtype=dtype), dim=1)
    query = normalize(torch.randn(b, 4, generator=generator, dtype=dtype), dim=1)
    rivals = 2 * torch.rand(b, 5, generator=generator, dtype=dtype) - 1
    label = torch.randint(0, 5, (b,), generator=generator)
    return z, [Misclassify(centers(generator, dtype), label, k), MissRetrieved(query, rivals, k)]


@given(seed=seeds, k=st.integers(1, 7))
def test_the_margin_is_not_negative_exactly_where_the_goal_is_reached(seed, k):
    z, both = goals(seed, k)
    for goal in both:
        assert (goal.loss(z) >= 0).equal(goal.reached(z))
        assert goal.reached(z).equal(goal.rank(z) > k)
        assert (goal.margin(z) >= 0).equal(goal.rank(z) > 1)


@given(seed=seeds)
def test_ranks_count_rivals(seed):
    z, (classify, retrieve) = goals(seed)
    for i in range(len(z)):
        scores = [
            max(
                float(z[i] @ row) for row, of in zip(classify.centers.z, classify.centers.label, strict=True) if of == c
            )
            for c in range(5)
        ]
        assert int(classify.rank(z)[i]) == sorted(scores, reverse=True).index(scores[int(classify.label[i])]) + 1
        own = float(retrieve.query[i] @ z[i])
        assert int(retrieve.rank(z)[i]) == 1 + sum(rival > own for rival in retrieve.others[i].tolist())


def test_ties_and_nan_are_successes():
    retrieve = MissRetrieved(torch.tensor([[1.0, 0.0]]).expand(3, 2), torch.tensor([[0.5], [0.5], [0.5]]))
    z = torch.tensor([[0.5, 0.0], [math.nan, 0.0], [0.6, 0.0]])
    assert retrieve.reached(z).tolist() == [True, True, False]
    assert retrieve.rank(z).tolist() == [2, 2, 1]
    classify = Misclassify(ClassCenters(torch.eye(2), torch.arange(2), ("a", "b")), torch.tensor([0, 0, 0]))
    assert classify.reached(torch.tensor([[0.5, 0.5], [math.nan, 0.0], [0.6, 0.0]])).tolist() == [True, True, False]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("which", [0, 1])
def test_gradients(loss, k, which):
    z, both = goals(3, k, torch.float64)
    goal = both[which].using(loss)
    goal = (
        Misclassify(goal.centers, goal.label, k, loss, 3.0)
        if which == 0
        else MissRetrieved(goal.query, goal.others, k, loss, 3.0)
    )
    assert torch.autograd.gradcheck(goal.loss, z.requires_grad_())


@given(seed=seeds, loss=st.sampled_from(LOSSES))
def test_losses_are_their_formulas(seed, loss):
    z, (classify, retrieve) = goals(seed, 2, torch.float64)
    scale = classify.logit_scale
    assert scale == retrieve.logit_scale > 1
    for i in range(len(z)):
        of = [
            [float(z[i] @ row) for row, c in zip(classify.centers.z, classify.centers.label, strict=True) if c == c_]
            for c_ in range(5)
        ]
        truth, own, rivals = (
            int(classify.label[i]),
            float(retrieve.query[i] @ z[i]),
            sorted(retrieve.others[i].tolist(), reverse=True),
        )
        best = [max(rows) for rows in of]
        if loss in ("margin", "dlr"):
            expected = sorted(best[:truth] + best[truth + 1 :], reverse=True)[1] - best[truth], rivals[1] - own
            if loss == "dlr":
                expected = expected[0] / (sorted(best)[-1] - sorted(best)[-3]), expected[1]
        elif loss == "ce":
            expected = (
                math.log(sum(math.exp(scale * (one - best[truth])) for one in best)),
                math.log(sum(math.exp(scale * (one - own)) for one in [own, *rivals])),
            )
        else:
            expected = -sum(of[truth]) / len(of[truth]), -own
        assert float(classify.using(loss).loss(z)[i]) == pytest.approx(expected[0], rel=1e-9, abs=1e-9)
        assert float(retrieve.using(loss).loss(z)[i]) == pytest.approx(expected[1], abs=1e-9)


@given(seed=seeds, loss=st.sampled_from(LOSSES))
def test_indexing_is_slicing(seed, loss):
    z, both = goals(seed, b=9)
    rows = torch.tensor([7, 2, 2, 0])
    for goal in (one.using(loss) for one in both):
        assert goal[rows].loss(z[rows]).equal(goal.loss(z)[rows])
        assert goal[rows].reached(z[rows]).equal(goal.reached(z)[rows])
        assert goal[rows].rank(z[rows]).equal(goal.rank(z)[rows])
        one = torch.tensor([5])
        assert goal[one].loss(z[one]).equal(goal.loss(z)[one])


def test_another_loss_is_the_same_goal():
    z, both = goals(1)
    for goal in both:
        assert goal.using("ce").by == "ce"
        assert goal.using("ce").using("margin").loss(z).equal(goal.loss(z))
        assert goal.using("cosine").reached(z).equal(goal.reached(z))
        assert goal.using("cosine").margin(z).equal(goal.margin(z))
        with pytest.raises(InputError, match="loss 'entropy' is not known; expected one of margin, ce, dlr, cosine"):
            goal.using("entropy")


def test_a_rival_is_pursued_alone():
    z, (classify, retrieve) = goals(3)
    goal = replace(classify, k=1)
    scores = class_scores(z, goal.centers)
    rivals = goal.rivals(z, 99)
    wrong = [
        [c for c in order if c != int(goal.label[i])]
        for i, order in enumerate(scores.argsort(dim=1, descending=True).tolist())
    ]
    assert rivals.tolist() == wrong
    assert goal.rivals(z, 2).equal(rivals[:, :2])
    second = goal.against(rivals[:, 1])
    rows = torch.arange(len(z))
    lead = scores[rows, rivals[:, 1]] - scores[rows, goal.label]
    assert torch.allclose(second.loss(z), lead)
    best = scores.sort(dim=1, descending=True).values
    if scores.shape[1] >= 4:
        assert torch.allclose(second.using("dlr").loss(z), lead / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2 + 1e-12))
    assert second.reached(z).equal(goal.reached(z))  # any wrong class still counts
    kept = torch.tensor([2, 0])
    assert torch.allclose(second[kept].loss(z[kept]), lead[kept])
    assert retrieve.rivals(z, 3).shape == (len(z), 0)


def test_too_few_rivals_cannot_be_reached():
    z, (_, retrieve) = goals(1)
    few = MissRetrieved(retrieve.query, retrieve.others[:, :1], 2)
    assert (few.loss(z) == -math.inf).all()
    assert torch.autograd.grad(few.loss(z.requires_grad_()).sum(), z)[0].eq(0).all()
    assert not few.reached(z).any()
    enough = MissRetrieved(retrieve.query, retrieve.others[:, :2], 2)
    assert torch.isfinite(enough.loss(z)).all()


def test_the_ratio_of_logits_does_not_feel_a_scale():
    z, (classify, _) = goals(5, b=40)
    ratio = classify.using("dlr")
    assert torch.allclose(ratio.loss(3 * z), ratio.loss(z), atol=1e-5)
    assert (ratio.loss(z) >= 0).equal(ratio.reached(z))
    three = Misclassify(ClassCenters(torch.eye(3), torch.arange(3), ("a", "b", "c")), torch.tensor([0]), by="dlr")
    assert three.loss(torch.tensor([[0.75, 0.5, 0.25]])).tolist() == pytest.approx([-0.5])
    two = Misclassify(ClassCenters(torch.eye(2), torch.arange(2), ("a", "b")), torch.tensor([0]), by="dlr")
    assert two.loss(torch.tensor([[0.75, 0.25]])).tolist() == [-0.5]
