"""The same number in two runs, compared sample by sample: what a change has cost on the same samples.

The interval of the difference is exact given how many samples changed their verdict: of those, the share that was lost
has Clopper and Pearson's interval. Two runs with the same verdicts differ by 0, with nothing around it.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ironbind.core.errors import InputError
from ironbind.core.results import Result, Row
from ironbind.core.tables.csv_text import cell_text
from ironbind.core.tables.intervals import Interval, clopper_pearson, mcnemar
from ironbind.gate.findings import SHARES, Compare, Finding

FILE = "verdicts.csv"
PLACE = ("encoder", "calibration", "modality", "space", "task", "attack", "norm", "eps", "threat_model")
"""The columns that a row of the table shares with its verdicts."""
Place = tuple[str, ...]


@dataclass(frozen=True)
class Change:
    """`lost`: samples right in the earlier run and wrong in this one; `won`: the other way round; `n`: all of them."""

    lost: int
    won: int
    n: int

    @property
    def drop(self) -> Interval:
        """Points lost, with the exact 95 % interval given how many samples changed."""
        differ = self.lost + self.won
        if not differ:
            return Interval(0.0, 0.0, 0.0)
        share = clopper_pearson(self.lost, differ)
        return Interval(*(100 * differ * (2 * end - 1) / self.n for end in share))

    @property
    def p(self) -> float:
        """Of McNemar's exact test that nothing changed."""
        return mcnemar(self.lost, self.won)


def drops(
    folder: Path, result: Result, baseline: Path, rows: Sequence[Row], most: float, compare: Compare
) -> list[Finding]:
    """One finding for each of `rows` whose metric is a share and that the run in `baseline` holds too: it is met where
    no more than `most` points were lost, at the upper end of the interval (or as measured). Raises InputError for runs
    of different data or samples, and where they share no number.
    """
    earlier = Result.read(baseline)
    prints = [each.record.get("data_fingerprint") for each in (earlier, result)]
    if None not in prints and prints[0] != prints[1]:
        raise InputError(
            f"--baseline {baseline}: is about other data than {folder}; expected a run on the same samples"
        )
    places = {(*place_of_row(row), row.metric) for row in earlier.rows}
    shared = [row for row in rows if row.metric in SHARES and (*place_of_row(row), row.metric) in places]
    if not shared:
        raise InputError(
            f"--baseline {baseline}: holds none of the numbers that are required of {folder}; expected the same "
            "encoder, calibration, modality, space, task, attack and eps"
        )
    ranks, earlier_ranks = (ranks_of(each, {place_of_row(row) for row in shared}) for each in (folder, baseline))
    found = []
    for row in shared:
        own, before = ranks[place_of_row(row)], earlier_ranks[place_of_row(row)]
        if own.keys() != before.keys():
            both = len(own.keys() & before.keys())
            raise InputError(
                f"--baseline {baseline}: shares {both} of {len(own)} samples with {folder}, of "
                f"{' '.join(row_words(row))}; expected the same samples"
            )
        found.append(_finding(row, change_of(before, own, SHARES[row.metric]), most, compare))
    return found


def change_of(before: Mapping[str, int], after: Mapping[str, int], k: int) -> Change:
    """How the verdicts of the same samples changed; right is a rank of at most k."""
    lost = sum(rank <= k < after[sample] for sample, rank in before.items())
    won = sum(after[sample] <= k < rank for sample, rank in before.items())
    return Change(lost, won, len(before))


def _finding(row: Row, change: Change, most: float, compare: Compare) -> Finding:
    drop = change.drop
    compared = drop.value if compare is Compare.value else drop.high
    reason = (
        f"{drop.value:+.1f} points lost (95 %: {drop.low:+.1f} to {drop.high:+.1f}): {change.lost} samples lost, "
        f"{change.won} won of {change.n}, McNemar p = {change.p:.2g}"
    )
    met = compared <= most
    if not met and drop.value <= most:
        reason += "; too few samples to show that no more is lost"
    return Finding(f"at most {most:g} points lost", met, reason, row, compared)


def place_of_row(row: Row) -> Place:
    """The columns that a row shares with its verdicts."""
    return tuple(getattr(row, column) for column in PLACE)


def row_words(row: Row) -> list[str]:
    """A row in few words, for messages."""
    return [word for word in (row.modality, row.space, row.eps, row.threat_model, row.calibration) if word != "none"]


def ranks_of(folder: Path, places: set[Place]) -> dict[Place, dict[str, int]]:
    """The rank of the truth of every sample, by place, from `verdicts.csv`. Raises InputError for a file that is
    missing, is no such table, or lacks one of the places.
    """
    path = folder / FILE
    ranks: dict[Place, dict[str, int]] = {place: {} for place in places}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                place = tuple(cell_text(line[column]) for column in PLACE)
                if place in ranks:
                    ranks[place][line["sample"]] = int(line["rank"])
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path} does not exist; expected the verdicts of a finished run") from None
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{path} is no table of verdicts ({error}); expected what a run writes") from error
    lacking = next((place for place, samples in ranks.items() if not samples), None)
    if lacking is not None:
        raise InputError(f"{path} holds no verdicts of {', '.join(lacking)}; expected those of every number")
    return ranks
