"""The tail against samples of known tails, and against hubs among them."""

import numpy as np
import pytest

from ironbind.index_guard.natural_tail import natural_tail


@pytest.mark.parametrize("shape", [1.0, 0.5], ids=["exponential", "stretched"])
def test_the_tail_of_a_known_law_is_continued(shape):
    """P(X > x) = exp(-x^shape) at a thousandth of what the sample reaches."""
    values = np.random.default_rng(0).exponential(size=20_000) ** (1 / shape)
    tail = natural_tail(values, len(values), 100)
    far = np.array([-np.log(1e-7)]) ** (1 / shape)
    assert 1e-9 < tail.probability(far)[0] < 1e-5
    near = np.quantile(values, 0.999)
    assert tail.probability(np.array([near]))[0] == pytest.approx(1e-3, rel=0.4)


def test_hubs_do_not_make_themselves_normal():
    values = np.random.default_rng(1).exponential(size=10_000)
    poisoned = np.concatenate([values[:-20], np.full(20, 60.0)])
    before = natural_tail(values, 10_000, 50).probability(np.array([60.0]))[0]
    after = natural_tail(poisoned, 10_000, 50).probability(np.array([60.0]))[0]
    assert before < 1e-12
    assert after < 1e-12


def test_small_counts_do_not_make_a_thin_tail():
    """Nearly all counts are 1: what few values say allows no probability below a power of e per step."""
    counts = np.array([1.0] * 900 + [2.0] * 8 + [3.0])
    tail = natural_tail(counts, 20_000, 3)
    assert tail.probability(np.array([4.0]))[0] > tail.share * np.exp(-3.01)


def test_the_value_at_a_probability_is_the_inverse():
    values = np.random.default_rng(2).exponential(size=5_000)
    tail = natural_tail(values, 5_000, 25)
    for probability in (1e-3, 1e-6, 1e-12):
        assert tail.probability(np.array([tail.value_at(probability)]))[0] == pytest.approx(probability)
    assert tail.value_at(0.5) == tail.start
    ordered = tail.probability(np.linspace(0, 40, 200))
    assert (np.diff(ordered) <= 0).all()
