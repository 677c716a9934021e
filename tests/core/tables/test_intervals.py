"""Intervals against scipy, which the package itself does not need."""

import pytest
from scipy.stats import beta, binom, binomtest

from ironbind.core.tables.intervals import at_least, at_most, clopper_pearson, lower_end, mcnemar, wilson

COUNTS = [(0, 1), (1, 1), (0, 48), (48, 48), (1, 48), (36, 48), (250, 500), (3, 2000)]


@pytest.mark.parametrize(("successes", "n"), COUNTS)
def test_clopper_pearson_and_wilson(successes, n):
    test = binomtest(successes, n)
    for found, method in ((clopper_pearson(successes, n), "exact"), (wilson(successes, n), "wilson")):
        expected = test.proportion_ci(0.95, method)
        assert found == pytest.approx((successes / n, expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (1, 0), (0, 5), (5, 5), (9, 2), (300, 250)])
def test_mcnemar(lost, won):
    expected = binomtest(lost, lost + won).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == mcnemar(won, lost) == pytest.approx(expected, rel=1e-9)


def test_at_most():
    assert at_most(7, 20, 0.3) == pytest.approx(binom.cdf(7, 20, 0.3), rel=1e-10)


@pytest.mark.parametrize("interval", [wilson, clopper_pearson])
def test_no_sample(interval):
    with pytest.raises(ValueError, match="at least one sample"):
        interval(0, 0)


@pytest.mark.parametrize(("successes", "n"), [(1, 1), (1, 48), (36, 48), (48, 48), (600, 1000), (99_900, 100_000)])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_lower_end(successes, n, confidence):
    exact = beta.ppf(1 - confidence, successes, n - successes + 1)
    found = lower_end(successes, n, confidence)
    assert found <= exact
    assert found == pytest.approx(exact, abs=3e-6)


@pytest.mark.parametrize("n", [1, 7, 60])
def test_lower_end_covers(n):
    """Exact coverage, by every outcome: the end lies above the truth in at most the share that confidence leaves."""
    ends = [lower_end(successes, n, 0.95) for successes in range(n + 1)]
    assert ends == sorted(ends)
    for p in (0.001, 0.1, 0.5, 0.7, 0.95, 0.999):
        assert sum(binom.pmf(k, n, p) for k, end in enumerate(ends) if end > p) <= 0.05 * (1 + 1e-9)


def test_at_least():
    assert at_least(16, 20, 0.7) == pytest.approx(binom.sf(15, 20, 0.7), rel=1e-10)
    assert at_least(20, 20, 1.0) == 1.0


@pytest.mark.parametrize(("n", "confidence"), [(0, 0.95), (5, 1.0), (5, 0.0)])
def test_a_lower_end_of_nothing(n, confidence):
    with pytest.raises(ValueError, match="a confidence between 0 and 1"):
        lower_end(0, n, confidence)
