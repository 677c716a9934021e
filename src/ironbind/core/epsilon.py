"""An epsilon: a radius and how it is written. The one place where "4/255", "0.5", "5 %" and "30 dB" are read.
Torch-free.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from ironbind.core.errors import InputError

DECIBELS = (-100, 200)  # range of a usable signal-to-noise ratio


@dataclass(frozen=True)
class Epsilon:
    """`value`: the radius in units of its space; of an SNR the ratio of amplitudes, 10^(-dB/20), so that a larger value
    always allows more. `written`: as the user wrote it, without blanks ("4/255", "5%", "30dB").
    """

    value: float
    written: str

    @classmethod
    def parse(cls, radius: str | float | int) -> "Epsilon":
        """A radius as people write it: "4/255", "0.5", "1e-3", 0.1, "5 %". Raises InputError for anything else."""
        try:
            value = _quotient(radius) if isinstance(radius, str) else float(radius)
        except (ValueError, ZeroDivisionError, OverflowError):
            raise InputError(f"epsilon {radius!r} is not a number; expected something like 4/255 or 0.5") from None
        if not (value >= 0 and math.isfinite(value)):
            raise InputError(f"epsilon {radius!r} must be finite and not negative")
        return cls(value, radius.replace(" ", "") if isinstance(radius, str) else f"{radius:g}")

    @classmethod
    def parse_decibels(cls, decibels: str | float | int) -> "Epsilon":
        """A signal-to-noise ratio: "30 dB", "30", 30. Raises InputError for anything else and beyond -100 to 200 dB."""
        text = str(decibels).strip()
        number = text[:-2].strip() if text.lower().endswith("db") else text
        try:
            value = float(number)
        except ValueError:
            raise InputError(
                f"signal-to-noise ratio {decibels!r} is not a number of decibels; expected something like 30 dB"
            ) from None
        if not (math.isfinite(value) and DECIBELS[0] <= value <= DECIBELS[1]):
            raise InputError(f"signal-to-noise ratio {decibels!r} is out of reach; expected between -100 and 200 dB")
        return cls(10 ** (-value / 20), f"{value:g}dB")

    @classmethod
    def from_table(cls, written: str) -> "Epsilon":
        """The epsilon as written in a table; of infinite value where it is no number ("severity"), so that it sorts
        last.
        """
        try:
            return cls.parse_decibels(written) if written.endswith("dB") else cls.parse(written)
        except InputError:
            return cls(math.inf, written)

    @property
    def unit(self) -> str:
        """What follows the number: "/255", "%", "dB" or nothing."""
        if self.written.endswith("dB"):
            return "dB"
        _, slash, divisor = self.written.partition("/")
        return slash + divisor or ("%" if self.written.endswith("%") else "")

    def number(self, value: float | None = None) -> float:
        """A radius (None: this one) as a number in this unit: 255ths, percent, decibels (200 for radius 0)."""
        value = self.value if value is None else value
        if self.unit == "dB":
            return -20 * math.log10(max(value, 1e-10))
        return value * (100.0 if self.unit == "%" else float(self.unit[1:] or 1))

    def scaled(self, share: Fraction) -> "Epsilon":
        """So many times this radius, written in the same unit: "4/255" times 1/5 is "0.8/255". Not for decibels."""
        number, _, divisor = self.written.partition("/")
        scaled = float(Fraction(number) * share)
        return Epsilon(self.value * float(share), f"{scaled:g}/{divisor}" if divisor else f"{scaled:g}")


def radii(text: str) -> tuple[str, ...]:
    """Epsilons separated by commas, as written. Raises InputError where a comma is a decimal point ("0,03")."""
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    for whole, decimals in pairwise(parts):
        if decimals.isdigit() and (whole == "0" or (whole.isdigit() and decimals.startswith("0") and decimals != "0")):
            raise InputError(
                f"--eps {text}: a comma separates radii; did you mean {whole}.{decimals}? (for radius 0 write 0.0)"
            )
    return parts


def given_radii(text: str | None) -> tuple[str, ...]:
    """The value of --eps, none where it was left out. Raises InputError for one that holds no radius."""
    written = radii(text) if text is not None else ()
    if text is not None and not written:
        raise InputError("--eps is empty; expected radii such as 2/255,4/255")
    return written


def ascending(written: set[str]) -> list[str]:
    """Epsilons as written in a table, in rising order of their radius."""
    return sorted(written, key=lambda eps: (Epsilon.from_table(eps).value, eps))


def _quotient(written: str) -> float:
    """ "4/255", "5 %", and "0.4/255", which Fraction alone would refuse."""
    text = written.replace(" ", "")
    share = text.endswith("%")
    parts = [Fraction(part) for part in text.removesuffix("%").split("/")]
    if len(parts) > 2:
        raise ValueError("more than one division")
    return float((parts[0] / parts[1]) if len(parts) == 2 else parts[0]) / (100 if share else 1)
