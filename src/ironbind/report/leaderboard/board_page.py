"""The leaderboard as one page: sorted by a click on a column's head, whole without a script."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ironbind.core.results import THREAT_MODELS
from ironbind.core.tables.shares import share
from ironbind.report.leaderboard.entries import RULES, Entry, ranked
from ironbind.report.number_format import norm_name
from ironbind.report.pivots import calibration_label
from ironbind.report.templates_env import environment


class Cell(NamedTuple):
    """`text` as shown, `small` beneath it, `key` to sort by ("" for nothing, which sorts last)."""

    text: str
    small: str = ""
    key: str = ""


class Column(NamedTuple):
    """A column: its head, what a cell of it holds, whether cells are numbers (sorted from the largest)."""

    head: str
    cell: Callable[[Entry], Cell]
    number: bool = False
    kind: str = ""  # a class of the style sheet


def _percent(value: float | None, small: str = "") -> Cell:
    return Cell("–") if value is None else Cell(f"{value:.1f}", small, f"{value:.6f}")


def _attacked(entry: Entry) -> Cell:
    if entry.attacked is None or entry.attacked_low is None or entry.attacked_high is None:
        return Cell("not measured")
    return _percent(entry.attacked, f"{entry.attacked_low:.1f}–{entry.attacked_high:.1f}")


def _budget(entry: Entry) -> str:
    return f"{norm_name(entry.norm)} {entry.eps}"


def _encoder(entry: Entry) -> Cell:
    return Cell(entry.encoder, calibration_label(entry.calibration))


def _input(entry: Entry) -> Cell:
    where = entry.space if entry.task == "zero_shot" else f"{entry.space}, {entry.task}"
    return Cell(f"{entry.modality} {_budget(entry)}", where)


def _trained(entry: Entry) -> Cell:
    if entry.trainable is None or entry.trainable_percent is None:
        return Cell("–")
    return Cell(share(entry.trainable_percent, 100), f"{entry.trainable:,}", f"{entry.trainable_percent:.6f}")


def _cost(entry: Entry) -> Cell:
    seconds = entry.cpu_seconds
    return Cell("–") if seconds is None else Cell(f"{seconds:,.0f}", "", f"{seconds:.1f}")


def _checks(entry: Entry) -> Cell:
    return Cell("; ".join(entry.reasons) or entry.checks or "all passed")


COLUMNS = (
    Column("encoder", _encoder),
    Column("input", _input),
    Column("under attack", _attacked, True, "adaptive"),
    Column("clean", lambda entry: _percent(entry.clean), True),
    Column("replayed", lambda entry: _percent(entry.replayed), True, "replayed"),
    Column("trained", _trained, True),
    Column("training, CPU s", _cost, True),
    Column("n", lambda entry: Cell(f"{entry.n:,}", "", str(entry.n)), True),
    Column("attack", lambda entry: Cell(entry.attack, entry.threat_model)),
    Column("data", lambda entry: Cell(entry.data, entry.run)),
    Column("checks", _checks),
)


def board_page(entries: Sequence[Entry]) -> str:
    """The whole page as text."""
    order = ranked(entries)
    groups = [
        ("Admitted", "admitted", [entry for entry in order if not entry.reasons]),
        ("Not admitted", "apart", [entry for entry in order if entry.reasons]),
    ]
    samples = sorted({entry.n for entry in entries})
    return (
        environment()
        .get_template("leaderboard.html")
        .render(
            title="Robustness leaderboard",
            groups=groups,
            columns=COLUMNS,
            rules=RULES,
            threat_models=THREAT_MODELS,
            encoders=len({entry.encoder for entry in entries}),
            runs=len({entry.run for entry in entries}),
            modalities=list(dict.fromkeys(entry.modality for entry in order)),
            budgets=list(dict.fromkeys(_budget(entry) for entry in order)),
            budget=_budget,
            samples=f"{samples[0]:,}" if len(samples) == 1 else f"{samples[0]:,} to {samples[-1]:,}",
        )
    )
