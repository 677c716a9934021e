"""Which radii to audit when nobody says: 1, 2, 4 and 8/255, and what is comparable to them where 1/255 would mean something else."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from ironbind.types import Budget, InputError, Linf

LADDER = ("1/255", "2/255", "4/255", "8/255")
HEADLINE = "4/255"

# The median absolute amplitude of the built-in world's sounds is 12.5/255 of full scale: 4/255 of full scale is a third of the signal and leaves no
# accuracy (measured, docs/threat-model.md). A fifth of the radii spans the same range of outcomes as the default radii do in the other spaces.
SCALE = {"waveform": Fraction(1, 5)}


def comparable(budget: Budget, space: str) -> Budget:
    """The budget that plays the same role in `space`: "4/255" stays, in a waveform it becomes "0.8/255"."""
    if space not in SCALE:
        return budget
    top, _, bottom = budget.written.partition("/")
    scaled = float(Fraction(top) * SCALE[space])
    return replace(budget, radius=budget.radius * float(SCALE[space]), written=f"{scaled:g}/{bottom}" if bottom else f"{scaled:g}")


def ladder(space: str, norm: str = "linf") -> tuple[Budget, ...]:
    """The default rungs of a space. Only linf has defaults: an l2 length depends on how many coordinates an input has."""
    if norm != "linf":
        raise InputError(f"norm {norm!r} has no default epsilons, as a length depends on the size of the input; name them with --eps")
    return tuple(comparable(Linf(one), space) for one in LADDER)


def headline(budgets: tuple[Budget, ...], space: str) -> int:
    """Which rung the headline and the gallery show: 4/255 or what is comparable to it, else the last one."""
    written = [one.written for one in budgets]
    return written.index(headline_of(written, space))


def headline_of(written: Sequence[str], space: str) -> str:
    """`headline` for radii as they stand in a table, in rising order."""
    wanted = comparable(Linf(HEADLINE), space).written
    return wanted if wanted in written else written[-1]
