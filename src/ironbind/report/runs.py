"""A run read back from its folder, and several of them together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ironbind.errors import InputError
from ironbind.report.facts import Facts
from ironbind.results import Check, Result, Row


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
    def chance(self) -> dict[str, float]:
        """Modality -> percent that guessing gets, where the record's `classes` (a count, names, or either per modality) says so."""
        classes = self.result.record.get("classes")
        per_modality = classes if isinstance(classes, dict) else {row.modality: classes for row in self.result.rows}
        counts = {
            modality: one if isinstance(one, int) else len(one) if isinstance(one, (list, tuple)) else 0 for modality, one in per_modality.items()
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
    """All rows, in order."""
    return [row for run in runs for row in run.result.rows]


def facts_of(runs: Sequence[Run]) -> Facts:
    """All rows, indexed."""
    return Facts(rows_of(runs), [one for run in runs for one in run.result.calibrations])


def failures(runs: Sequence[Run]) -> list[Check]:
    """Every check that failed."""
    return [one for run in runs for one in run.result.checks if one.status == "fail"]


def chance_of(runs: Sequence[Run]) -> dict[str, float]:
    """Modality -> chance level, for those on which all runs agree."""
    found: dict[str, set[float]] = {}
    for run in runs:
        for modality, chance in run.chance.items():
            found.setdefault(modality, set()).add(chance)
    return {modality: values.pop() for modality, values in found.items() if len(values) == 1}


def refuse_duplicates(folders: Sequence[Path], runs: Sequence[Run]) -> None:
    """Raises InputError naming the first number that two runs (or one run twice) report."""
    seen: dict[tuple[str, ...], Path] = {}
    for folder, run in zip(folders, runs, strict=True):
        for row in run.result.rows:
            place = (
                row.encoder, row.calibration, row.modality, row.space, row.task, row.metric, row.attack, row.norm, row.eps, row.threat_model,
            )  # fmt: skip
            if place in seen:
                both = f"{seen[place]} and {folder}" if seen[place] != folder else f"{folder} twice"
                raise InputError(f"the row {', '.join(place)} is in {both}; expected runs that do not overlap")
            seen[place] = folder
