"""A requirement as people write it, "image 4/255 adaptive >= 40", and the rows of a table that it is about."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from ironbind.core.epsilon import Epsilon
from ironbind.core.errors import InputError
from ironbind.core.results import METRICS, THREAT_MODELS, Row
from ironbind.modalities import MODALITIES

EXAMPLE = "image 4/255 adaptive >= 40"
FORM = (
    "MODALITY[/SPACE] EPS THREAT_MODEL OPERATOR VALUE, with task=, metric=, norm=, attack=, encoder=, calibration= "
    "before the operator where needed"
)
COLUMNS = ("task", "metric", "norm", "attack", "encoder", "calibration")
"""Columns that a requirement may name, as column=value."""
HEADLINES = {
    "zero_shot": "top1", "retrieval": "R@1", "index": "R@1", "illusion": "resists", "hub": "resists",
    "caught": "caught_or_right",
}  # fmt: skip
"""The metric of a task where a requirement names none."""
_SIGN = re.compile(r"^(?P<about>.*?)\s*(?P<operator>>=|<=|>|<)\s*(?P<value>[+-]?[\d.]+(?:[eE][+-]?\d+)?)\s*%?\s*$")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda number, threshold: number >= threshold,
    ">": lambda number, threshold: number > threshold,
    "<=": lambda number, threshold: number <= threshold,
    "<": lambda number, threshold: number < threshold,
}


@dataclass(frozen=True)
class Requirement:
    """One threshold. `space`: None for every space that was measured. `eps`: as written, "0" for clean rows. `named`:
    the further columns that the user named, task and metric always among them.
    """

    written: str
    modality: str
    space: str | None
    eps: str
    threat_model: str
    operator: str
    value: float
    named: tuple[tuple[str, str], ...]

    def fits(self, row: Row) -> bool:
        """Whether the requirement is about this number."""
        return self.fits_but_threat_model(row) and row.threat_model == self.threat_model

    def fits_but_threat_model(self, row: Row) -> bool:
        """Whether it is about this number or the same one of another attacker."""
        return (
            row.modality == self.modality
            and self.space in (None, row.space)
            and _same_radius(row.eps, self.eps)
            and all(getattr(row, column) == value for column, value in self.named)
        )

    @property
    def lower_bound(self) -> bool:
        """Whether the number has to be large."""
        return self.operator.startswith(">")

    def holds(self, number: float) -> bool:
        """Whether a number meets the threshold."""
        return _COMPARE[self.operator](number, self.value)


def requirement(written: str) -> Requirement:
    """The requirement behind `modality[/space] eps threat_model op value`. Further columns are named before the
    operator: `metric=top5`, `task=retrieval:image->text`, `norm=l2`, `calibration=hardened`, ... Clean numbers need no
    eps: `image clean >= 90`. Raises InputError naming the text and the part that cannot be read.
    """
    sign = _SIGN.match(written.strip())
    if sign is None:
        raise _unreadable(written, "it ends in no operator (>=, >, <=, <) and number")
    words = sign["about"].split()
    named = dict(word.split("=", 1) for word in words if _names_column(word, written))
    words = [word for word in words if not _names_column(word, written)]
    if len(words) < 2:
        raise _unreadable(written, "it names no modality and threat model")
    modality, _, space = words[0].partition("/")
    if modality not in MODALITIES:
        raise _unreadable(written, f"modality {modality!r} is not known{_near(modality, MODALITIES)}")
    threat_model, radius = words[-1], "".join(words[1:-1])
    if threat_model not in THREAT_MODELS:
        raise _unreadable(written, f"threat model {threat_model!r} is none of {', '.join(THREAT_MODELS)}")
    if not radius and threat_model != "clean":
        raise _unreadable(written, "it names no eps")
    if radius and Epsilon.from_table(radius).value == float("inf"):
        raise _unreadable(written, f"eps {radius!r} is not a number; expected something like 4/255 or 30dB")
    task = named.setdefault("task", "zero_shot")
    if (kind := task.partition(":")[0]) not in HEADLINES:
        raise _unreadable(written, f"task {task!r} is none of {', '.join(HEADLINES)}")
    proof = "certified_" if threat_model == "certified" else ""
    if named.setdefault("metric", f"{proof}{HEADLINES[kind]}") not in METRICS:
        raise _unreadable(written, f"metric {named['metric']!r} is none of {', '.join(METRICS)}")
    try:
        value = float(sign["value"])
    except ValueError:
        raise _unreadable(written, f"{sign['value']!r} is not a number") from None
    return Requirement(
        " ".join(written.split()),
        modality,
        space or None,
        "0" if threat_model == "clean" else radius,
        threat_model,
        sign["operator"],
        value,
        tuple(named.items()),
    )


def _names_column(word: str, written: str) -> bool:
    column, equals, value = word.partition("=")
    if equals and (column not in COLUMNS or not value):
        raise _unreadable(written, f"{word!r} is no column and value; expected one of {', '.join(COLUMNS)}")
    return bool(equals)


def _same_radius(first: str, second: str) -> bool:
    """ "4/255" and "4.0/255", not "30dB" and "0.0316"."""
    one, other = Epsilon.from_table(first), Epsilon.from_table(second)
    both_or_neither = (one.unit == "dB") == (other.unit == "dB")
    return first == second or (both_or_neither and abs(one.value - other.value) < 1e-12)


def _near(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else f"; expected one of {', '.join(names)}"


def _unreadable(written: str, reason: str) -> InputError:
    return InputError(f"requirement {written!r} cannot be read: {reason}; expected {FORM}, as in {EXAMPLE!r}")
