"""How numbers are written on the page: percent, points, intervals, counts."""

from ironbind.core.results import Row
from ironbind.report.panels import SMALLER_IS_BETTER

_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def cell(row: Row | None) -> str:
    """A value of the table with one decimal (a rank with two, a norm with three digits)."""
    return "–" if row is None else _number(row, row.value)


def interval(row: Row | None) -> str:
    """The 95 % interval of a value, "88.1–93.0"."""
    if row is None:
        return ""
    return f"{_number(row, row.ci_low)}–{_number(row, row.ci_high)}"


def _number(row: Row, value: float) -> str:
    if row.metric.endswith("_norm"):
        return f"{value:.3g}"
    if row.metric == "cosine":
        return f"{value:.3f}"
    return f"{value:.2f}" if row.metric in SMALLER_IS_BETTER else f"{value:.1f}"


def alarms(row: Row | None) -> str:
    """Marks beside a number that some checks did not pass for: "✗ C4 C6 ⚠ C13", "unchecked"; "" where all passed."""
    marks = [mark.partition(":") for mark in row.checks.split()] if row else []
    groups = [
        (sign, [code for code, _, given in marks if given == status]) for sign, status in (("✗", "fail"), ("⚠", "warn"))
    ]
    return " ".join(
        [f"{sign} {' '.join(codes)}" for sign, codes in groups if codes]
        + [code for code, _, status in marks if not status]
    )


def rounded(value: float) -> str:
    """A magnitude for a sentence: whole from 10 up, one decimal below; never rounded up to a flattering 100 or down to
    a flattering 0.
    """
    value = abs(value)
    if value == 0:
        return "0"
    if value < 0.05:
        return "under 0.1"
    if round(value, 1) < 10 or 99.5 <= value < 100:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.0f}"


def points(value: float | None) -> str:
    """A gain with its sign, "+41.2"; a true minus sign, "±0.0" for nothing."""
    if value is None:
        return ""
    if abs(value) < 0.05:
        return "±0.0"
    return f"{'+' if value > 0 else '−'}{abs(value):.1f}"


def norm_name(norm: str) -> str:
    """A norm as mathematicians write it."""
    return {"linf": "L∞", "l2": "L2"}.get(norm, norm)


def word(count: int) -> str:
    """A small count as a word."""
    return _WORDS[count] if 0 <= count < len(_WORDS) else f"{count:,}"


def plural(count: int, noun: str, many: str = "") -> str:
    """ "one modality", "six modalities"."""
    return f"{word(count)} {noun if count == 1 else many or noun + 's'}"
