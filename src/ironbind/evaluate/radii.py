"""Ladders of radii: fine ones below a largest, written as that one is ("0.75/255" below "16/255", "33dB" below "30dB")."""

import math

from ironbind.types import Budget, budget_of

RUNGS = (1, 3 / 4, 1 / 2, 3 / 8, 1 / 4, 3 / 16, 1 / 8, 3 / 32, 1 / 16, 3 / 64, 1 / 32, 3 / 128, 1 / 64)  # of the largest radius
DECIBELS = 3.0  # between two rungs of a signal-to-noise ratio: about as much


def in_unit(radius: float, like: Budget) -> float:
    """A radius as a number in the unit that `like` is written in: 255ths, percent, decibels (200, the largest that an SNR may have, for radius 0)."""
    if like.norm == "snr":
        return -20 * math.log10(max(radius, 1e-10))
    return radius * _per_unit(like)


def spanning(largest: Budget) -> tuple[Budget, ...]:
    """Thirteen radii that span a factor of 64 up to `largest`, in rising order; of an SNR, every 3 dB."""
    if largest.norm == "snr":
        numbers = [in_unit(largest.radius, largest) + DECIBELS * step for step in range(len(RUNGS))]
    else:
        numbers = [in_unit(largest.radius, largest) * share for share in RUNGS]
    return (*(_written_like(largest, number) for number in reversed(numbers[1:])), largest)


def round_up(radius: float, like: Budget) -> Budget:
    """The next larger power of two in that unit, or multiple of 3 dB, so that ladders up to different radii share their rungs."""
    number = in_unit(radius, like)
    if like.norm == "snr":
        return _written_like(like, DECIBELS * math.floor(number / DECIBELS))
    return _written_like(like, 2.0 ** math.ceil(math.log2(number)))


def _per_unit(like: Budget) -> float:
    _, _, divisor = like.written.partition("/")
    return float(divisor) if divisor else 100.0 if like.written.endswith("%") else 1.0


def _written_like(like: Budget, number: float) -> Budget:
    _, slash, divisor = like.written.partition("/")
    unit = "dB" if like.norm == "snr" else "%" if like.written.endswith("%") else slash + divisor
    made = budget_of(like.norm, f"{number:.0f}{unit}" if number >= 100 else f"{number:.3g}{unit}")
    return Budget(made.norm, made.radius, made.written, like.space)
