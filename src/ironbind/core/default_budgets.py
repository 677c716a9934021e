"""The default radii of an audit, the headline radius of a space, and the fine radii of a curve. Torch-free.

The defaults are 1, 2, 4 and 8/255, and what is comparable to them where 1/255 would mean something else.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from ironbind.core.budget import L2, SNR, Budget, Linf, budget_of
from ironbind.core.errors import InputError

DEFAULT_RADII = ("1/255", "2/255", "4/255", "8/255")
HEADLINE = "4/255"

# The median absolute amplitude of the built-in world's sounds is 12.5/255 of full scale: 4/255 of full scale is a third
# of the signal and leaves no accuracy (measured, docs/threat-model.md). A fifth of the radii spans the same range of
# outcomes as the default radii do in the other spaces.
SCALE = {"waveform": Fraction(1, 5)}

# Of smoothing noise: 0.25 in a waveform is twice as long as the built-in world's sounds (measured); 0.1 reaches 30 to
# 40 dB below them.
SIGMA = 0.25
SIGMA_SCALE = {"waveform": Fraction(2, 5)}

# what the literature certifies (Cohen et al. 2019: pixels in [0, 1]); of sounds what is added 20 to 40 dB below them
CERTIFIED_RADII = ("0.125", "0.25", "0.5", "0.75", "1.0")
CERTIFIED_DECIBELS = ("20", "25", "30", "35", "40")

CURVE_SHARES = (1, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8, 3 / 32, 1 / 16, 3 / 64, 1 / 32, 3 / 128, 1 / 64)
CURVE_DECIBELS = 3.0  # between two radii of a signal-to-noise ratio: about as much


def comparable(budget: Budget, space: str) -> Budget:
    """The budget that plays the same role in `space`: "4/255" stays, in a waveform it becomes "0.8/255"."""
    if space not in SCALE:
        return budget
    epsilon = budget.epsilon.scaled(SCALE[space])
    return replace(budget, radius=epsilon.value, written=epsilon.written)


def default_budgets(space: str, norm: str = "linf") -> tuple[Budget, ...]:
    """The default budgets of a space. Only linf has some: an l2 length depends on how many coordinates an input has."""
    if norm != "linf":
        raise InputError(
            f"norm {norm!r} has no default epsilons, as a length depends on the size of the input; name them with --eps"
        )
    return tuple(comparable(Linf(radius), space) for radius in DEFAULT_RADII)


def comparable_sigma(space: str, sigma: float = SIGMA) -> float:
    """The standard deviation of smoothing noise that plays the same role in `space`: 0.25 stays, in a waveform it
    becomes 0.1."""
    return sigma * float(SIGMA_SCALE.get(space, 1))


def certified_radii(space: str) -> tuple[Budget, ...]:
    """The default radii of certified accuracy: l2, in a waveform signal-to-noise ratios too."""
    decibels = tuple(SNR(radius) for radius in CERTIFIED_DECIBELS) if space == "waveform" else ()
    return (*(L2(radius) for radius in CERTIFIED_RADII), *decibels)


def headline_index(budgets: Sequence[Budget], space: str) -> int:
    """The index of the budget that headline and gallery show: 4/255 or what is comparable to it, else the last one."""
    written = [budget.written for budget in budgets]
    return written.index(headline_of(written, space))


def headline_of(written: Sequence[str], space: str) -> str:
    """The headline radius among radii as written in a table, in rising order."""
    headline = comparable(Linf(HEADLINE), space).written
    return headline if headline in written else written[-1]


def spanning(largest: Budget) -> tuple[Budget, ...]:
    """Thirteen radii that span a factor of 64 up to `largest`, in rising order, each written as that one is; of an SNR,
    every 3 dB.
    """
    number = largest.epsilon.number()
    if largest.norm == "snr":
        numbers = [number + CURVE_DECIBELS * step for step in range(len(CURVE_SHARES))]
    else:
        numbers = [number * share for share in CURVE_SHARES]
    return (*(_written_like(largest, smaller) for smaller in reversed(numbers[1:])), largest)


def round_up(radius: float, like: Budget) -> Budget:
    """The next larger power of two in that unit, or multiple of 3 dB, so that curves up to different radii share
    theirs.
    """
    number = like.epsilon.number(radius)
    if like.norm == "snr":
        return _written_like(like, CURVE_DECIBELS * math.floor(number / CURVE_DECIBELS))
    return _written_like(like, 2.0 ** math.ceil(math.log2(number)))


def _written_like(like: Budget, number: float) -> Budget:
    unit = like.epsilon.unit
    budget = budget_of(like.norm, f"{number:.0f}{unit}" if number >= 100 else f"{number:.3g}{unit}")
    return replace(budget, space=like.space)
