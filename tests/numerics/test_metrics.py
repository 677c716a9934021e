"""Scores, ranks, margins and intervals against naive twins."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from ironbind.numerics.metrics import class_scores, margin, mean_interval, quantile_interval, rank_of_truth, wilson
from ironbind.types import ClassCenters

# few distinct values, so that ties are common, and now and then something that is not a number
values = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0])
doubtful = st.one_of(values, st.just(math.nan))


def naive_rank(scores: list[float], truth: int) -> int:
    return 1 + sum(not (score < scores[truth]) for i, score in enumerate(scores) if i != truth)


@given(
    st.integers(1, 6).flatmap(
        lambda c: st.tuples(
            st.lists(st.lists(doubtful, min_size=c, max_size=c), min_size=1, max_size=5), st.integers(0, c - 1)
        )
    )
)
def test_ranks(case):
    rows, truth = case
    assert rank_of_truth(torch.tensor(rows), torch.full((len(rows),), truth)).tolist() == [
        naive_rank(row, truth) for row in rows
    ]


def test_ties_and_nan_count_against_the_truth():
    assert rank_of_truth(torch.tensor([[0.5, 0.5, 0.1]]), torch.tensor([0])).tolist() == [2]
    assert rank_of_truth(torch.tensor([[0.5, math.nan, 0.1]]), torch.tensor([0])).tolist() == [2]
    assert rank_of_truth(torch.tensor([[math.nan, 0.5, 0.1]]), torch.tensor([0])).tolist() == [3]


@given(
    st.integers(1, 6).flatmap(
        lambda c: st.tuples(
            st.lists(st.lists(values, min_size=c, max_size=c), min_size=1, max_size=5),
            st.integers(0, c - 1),
            st.integers(1, 4),
        )
    )
)
def test_margins(case):
    rows, truth, k = case
    label = torch.full((len(rows),), truth)
    found = margin(torch.tensor(rows), label, k)
    for row, one in zip(rows, found.tolist(), strict=True):
        wrong = sorted((score for i, score in enumerate(row) if i != truth), reverse=True)
        assert one == (wrong[k - 1] - row[truth] if len(wrong) >= k else -math.inf)
    # the loss of the attack and the verdict of the audit agree: >= 0 exactly where the truth has left the top k
    assert (found >= 0).equal(rank_of_truth(torch.tensor(rows), label) > k)


def test_margin_of_few_classes_still_has_a_gradient():
    scores = torch.tensor([[0.3, 0.1]], requires_grad=True)
    found = margin(scores, torch.tensor([0]), 2)
    assert found.tolist() == [-math.inf]
    assert torch.autograd.grad(found.sum(), scores)[0].tolist() == [[0.0, 0.0]]
    assert margin(torch.tensor([[math.nan, 0.1]]), torch.tensor([0]), 2).tolist() == [math.inf]


@given(
    arrays(np.float32, (4, 3), elements=st.floats(-1, 1, width=32)),
    arrays(np.float32, (7, 3), elements=st.floats(-1, 1, width=32)),
    st.permutations([0, 0, 0, 1, 2, 2, 3]),
)
def test_a_class_scores_what_its_best_row_scores(z, rows, label):
    centers = ClassCenters(torch.from_numpy(rows), torch.tensor(label), ("a", "b", "c", "d"))
    found = class_scores(torch.from_numpy(z), centers).numpy()
    for i in range(4):
        for c in range(4):
            assert found[i, c] == pytest.approx(max(float(z[i] @ rows[m]) for m in range(7) if label[m] == c), abs=1e-6)


def test_one_row_per_class_in_any_order():
    rows = torch.eye(3)
    z = torch.tensor([[0.1, 0.2, 0.3]])
    assert class_scores(z, ClassCenters(rows, torch.tensor([0, 1, 2]), ("a", "b", "c"))).tolist() == z.tolist()
    assert torch.allclose(
        class_scores(z, ClassCenters(rows, torch.tensor([2, 0, 1]), ("a", "b", "c"))), torch.tensor([[0.2, 0.3, 0.1]])
    )


def test_a_class_without_rows_never_wins():
    found = class_scores(torch.ones(1, 2), ClassCenters(torch.eye(2), torch.tensor([0, 2]), ("a", "b", "c")))
    assert found.tolist() == [[1.0, -math.inf, 1.0]]


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(case):
    successes, n = case
    found = wilson(successes, n)
    expected = stats.binomtest(successes, n).proportion_ci(confidence_level=0.95, method="wilson")
    assert found.value == successes / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0 <= found.low <= found.value <= found.high <= 1


@given(st.lists(st.floats(1, 100), min_size=2, max_size=30))
def test_mean_interval_is_scipys(sample):
    found = mean_interval(sample)
    mean, error = float(np.mean(sample)), float(stats.sem(sample))
    assert (found.value, found.low, found.high) == pytest.approx(
        (mean, mean - 1.959964 * error, mean + 1.959964 * error), rel=1e-5, abs=1e-6
    )


def test_intervals_of_one_and_of_none():
    assert mean_interval([3.0]) == (3.0, 3.0, 3.0)
    with pytest.raises(ValueError, match="at least one sample"):
        mean_interval([])
    with pytest.raises(ValueError, match="at least one sample"):
        wilson(0, 0)


def test_a_quantile_is_an_order_statistic():
    values = [float(one) for one in (5, 1, 4, 2, 3, 8, 7, 6)]
    assert quantile_interval(values, 0.5).value == 4
    assert quantile_interval(values, 0.25).value == 2
    assert quantile_interval([3.0], 0.5) == (3, 3, 3)
    assert quantile_interval([1.0, 2.0, math.inf, math.inf, math.inf], 0.5).value == math.inf
    with pytest.raises(ValueError, match="at least one"):
        quantile_interval([], 0.5)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_the_interval_of_a_quantile_holds_it_as_often_as_it_says(share):
    draw = torch.Generator().manual_seed(0)
    held = 0
    for _ in range(400):
        at = quantile_interval(torch.rand(60, generator=draw).tolist(), share)
        held += at.low <= share <= at.high
    assert 0.93 < held / 400 < 1.0
