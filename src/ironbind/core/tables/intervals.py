"""Intervals around shares, without torch: what tables give and what a gate compares."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

NORMAL_QUANTILE = 1.959963984540054  # of 97.5 %
TAIL = 0.025


class Interval(NamedTuple):
    """An estimate with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """Share of successes with Wilson's score interval at 95 % (Wilson 1927). Shares in [0, 1]; raises ValueError for n
    = 0.
    """
    if n <= 0:
        raise ValueError("an interval needs at least one sample")
    share = successes / n
    low, high = wilson_ends(share, n)
    return Interval(share, low, high)


def wilson_ends(share: float, n: float) -> tuple[float, float]:
    """The ends of Wilson's interval of a share in [0, 1] of n samples."""
    z = NORMAL_QUANTILE
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return min(share, max(0.0, center - half)), max(share, min(1.0, center + half))


def clopper_pearson(successes: int, n: int) -> Interval:
    """Share of successes with the exact interval at 95 % (Clopper and Pearson 1934). Shares in [0, 1]; raises
    ValueError for n = 0.
    """
    if n <= 0:
        raise ValueError("an interval needs at least one sample")
    low = 0.0 if successes == 0 else _root(lambda p: 1 - at_most(successes - 1, n, p) - TAIL)
    high = 1.0 if successes == n else _root(lambda p: TAIL - at_most(successes, n, p))
    return Interval(successes / n, low, high)


def lower_end(successes: int, n: int, confidence: float) -> float:
    """The one-sided lower end of the exact interval of a share (Clopper and Pearson 1934): the probability of success
    lies above it with at least this confidence, whatever it is. Never above the exact value, as the tail is allowed a
    millionth less than it may have. Raises ValueError for n = 0 and for a confidence outside of (0, 1).
    """
    if n <= 0 or not 0 < confidence < 1:
        raise ValueError("an interval needs at least one sample and a confidence between 0 and 1")
    if successes == 0:
        return 0.0
    doubt = (1 - confidence) * (1 - 1e-6)  # more than lgamma loses on millions of draws
    low, high = 0.0, successes / n  # the tail beyond the mean of so many successes is at least about a half
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if at_least(successes, n, middle) > doubt else (middle, high)
    return low


def at_least(successes: int, n: int, p: float) -> float:
    """Probability of at least so many successes among n of probability p, for p in (0, successes / n], where the terms
    fall from the first on: those below 1e-20 of it are left out, which changes no digit.
    """
    whole, odds = math.lgamma(n + 1), math.log(p) - math.log1p(-p) if p < 1 else math.inf
    if odds == math.inf:
        return 1.0
    first = whole - math.lgamma(successes + 1) - math.lgamma(n - successes + 1) + successes * odds + n * math.log1p(-p)
    terms = [1.0]
    for k in range(successes, n):
        terms.append(terms[-1] * (n - k) / (k + 1) * math.exp(odds))
        if terms[-1] < 1e-20:
            break
    return min(1.0, math.exp(first) * math.fsum(terms))


def mcnemar(lost: int, won: int) -> float:
    """Two-sided exact p value of McNemar's test (McNemar 1947): the probability that pairs which differ split at least
    as unevenly if either outcome were as likely. 1 where no pair differs.
    """
    differ = lost + won
    tail = sum(math.comb(differ, count) for count in range(min(lost, won) + 1))
    return float(min(Fraction(1), Fraction(2 * tail, 2**differ)))


def at_most(successes: int, n: int, p: float) -> float:
    """Probability of at most so many successes among n of probability p in (0, 1)."""
    whole = math.lgamma(n + 1)
    return math.fsum(
        math.exp(whole - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * math.log(p) + (n - k) * math.log1p(-p))
        for k in range(successes + 1)
    )


def _root(rising: Callable[[float], float]) -> float:
    """Where a function that rises on (0, 1) is zero."""
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > 0 else (middle, high)
    return (low + high) / 2
