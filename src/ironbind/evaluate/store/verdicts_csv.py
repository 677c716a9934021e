"""`verdicts.csv`: the verdict of every sample behind every number of `table.csv`, and which attack decided it. Written
from the verdict store.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

from ironbind.core.results import Row
from ironbind.core.tables.csv_text import csv_text
from ironbind.evaluate.store.verdict_store import Verdict

PLACE = ("encoder", "calibration", "modality", "space", "task", "attack", "norm", "eps", "threat_model")
VERDICT = ("sample", "correct", "rank", "margin", "spent", "won_by", "gradient_passes", "forward_passes")
COLUMNS = (*PLACE, *VERDICT)


def label_of(row: Row) -> tuple[str, ...]:
    """The columns that a row of the table shares with the verdicts behind it: all but the metric and its numbers."""
    return tuple(getattr(row, column) for column in PLACE)


class StoredVerdicts(Protocol):
    """What a store tells of the numbers of a table."""

    def labelled(self, label: Sequence[str]) -> str | None: ...

    def verdicts(self, key: str) -> dict[str, Verdict]: ...


def verdicts_csv(store: StoredVerdicts, rows: Sequence[Row]) -> str:
    """One line per sample and number, in the order of the rows, then of the samples' ids.

    `correct`: 1 where the truth is ranked first. `margin`: best wrong score minus the true one. `spent`: norm of the
    perturbation, in units of the space. `won_by`: the attack and radius that brought the verdict about, "clean" where
    none did worse than no attack. Passes: the cost at this radius.
    """
    return csv_text(COLUMNS, _lines(store, rows))


def _lines(store: StoredVerdicts, rows: Sequence[Row]) -> Iterator[tuple[object, ...]]:
    for label in dict.fromkeys(label_of(row) for row in rows):
        key = store.labelled(label)
        for sample, verdict in sorted(store.verdicts(key).items()) if key else ():
            numbers = (f"{verdict.margin:.6g}", f"{verdict.distance:.6g}")
            yield (
                *label,
                sample,
                int(verdict.rank == 1),
                verdict.rank,
                *numbers,
                verdict.won_by,
                verdict.gradient_passes,
                verdict.forward_passes,
            )
