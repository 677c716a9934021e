"""Intervals against scipy, which the package itself does not need."""

import pytest
from scipy.stats import binom, binomtest

from ironbind.core.tables.intervals import at_most, clopper_pearson, mcnemar, wilson

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
