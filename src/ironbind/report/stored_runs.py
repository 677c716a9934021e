"""A run read back from its folder, and several of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ironbind.core.errors import InputError
from ironbind.core.results import Check, Result, Row
from ironbind.report.panels import Facts


@dataclass(frozen=True)
class Run:
    """A result and the arrays of its gallery."""

    result: Result
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def encoder(self) -> str:
        """The encoder that the gallery was made with: that of the first row."""
        return self.result.rows[0].encoder if self.result.rows else ""

    @property
    def data(self) -> str:
        """The data set that the run is about, "" where it does not say."""
        cell = self.result.record.get("cell")
        return str(cell["dataset"]) if isinstance(cell, dict) else str(self.result.record.get("data", ""))

    @property
    def chance(self) -> dict[str, float]:
        """Modality -> percent that guessing gets, where the record's `classes` (a count, names, or either per modality)
        says so.
        """
        classes = self.result.record.get("classes")
        per_modality = classes if isinstance(classes, dict) else {row.modality: classes for row in self.result.rows}
        counts = {
            modality: names if isinstance(names, int) else len(names) if isinstance(names, (list, tuple)) else 0
            for modality, names in per_modality.items()
        }
        return {modality: 100 / count for modality, count in counts.items() if count > 0}


def read_run(folder: Path) -> Run:
    """The run in `folder`. Raises InputError naming the file; a missing `gallery.npz` is no error."""
    result = Result.read(Path(folder))
    if not result.rows:
        raise InputError(f"{Path(folder) / 'result.json'} holds no rows; expected at least one")
    path = Path(folder) / "gallery.npz"
    if not (result.gallery and path.exists()):
        return Run(result)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return Run(result, {key: stored[key] for key in stored.files})
    except (BadZipFile, ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is not a readable gallery ({error})") from error


def rows_of(runs: Sequence[Run]) -> list[Row]:
    """All rows, in order. A clean row that several runs report alike is there once, with its checks where one of the
    runs ran any.
    """
    whole = Result("")
    for run in runs:
        whole.absorb(Result("", run.result.rows))
    return whole.rows


def facts_of(runs: Sequence[Run]) -> Facts:
    """All rows, indexed."""
    return Facts(rows_of(runs), [record for run in runs for record in run.result.calibrations])


def failures(runs: Sequence[Run]) -> list[Check]:
    """Every check that failed."""
    return [check for run in runs for check in run.result.checks if check.status == "fail"]


def chance_of(runs: Sequence[Run]) -> dict[str, float]:
    """Modality -> chance level, for those on which all runs agree."""
    chances: dict[str, set[float]] = {}
    for run in runs:
        for modality, chance in run.chance.items():
            chances.setdefault(modality, set()).add(chance)
    return {modality: values.pop() for modality, values in chances.items() if len(values) == 1}


def refuse_duplicates(folders: Sequence[Path], runs: Sequence[Run]) -> None:
    """Raises InputError naming the first number that two runs (or one run twice) report. Clean ones may agree: an
    attack and a corruption of the same data begin with the same."""
    seen: dict[tuple[str, ...], tuple[Path, Row]] = {}
    for folder, run in zip(folders, runs, strict=True):
        for row in run.result.rows:
            place = (
                run.data, row.encoder, row.calibration, row.modality, row.space, row.task, row.metric, row.attack,
                row.norm, row.eps, row.threat_model,
            )  # fmt: skip
            before, same = seen.get(place, (folder, row))
            agree = (
                before != folder and row.threat_model == "clean" and replace(row, checks="") == replace(same, checks="")
            )
            if place in seen and not agree:
                both = f"{before} and {folder}" if before != folder else f"{folder} twice"
                raise InputError(f"the row {', '.join(place)} is in {both}; expected runs that do not overlap")
            seen[place] = folder, row
