"""What scripts share that train many small encoders and measure them by the quick look (PGD-20 on margin and on
cross-entropy): each training and each result in a folder of its own, so that a killed script goes on where it was, and
the options of such a script.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ironbind as ib
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.core.default_budgets import HEADLINE, comparable
from ironbind.core.results import Result
from ironbind.evaluate.audit import audit
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.runs.defaults import QUICK_LOOK
from ironbind.types import CalibrationRecipe, Dataset, Decoded, Task

BATCH = 50


def measured(place: Path) -> bool:
    """Whether a result lies there."""
    return (place / "result.json").exists()


def measure_into(place: Path, task: Task, store: VerdictStore) -> Result:
    """The audit of the task's encoder at the headline radius, written to `place`."""
    result = audit(task, QUICK_LOOK, comparable(ib.Linf(HEADLINE), task.space.name), RunContext(store, 0), checks=False)
    place.mkdir(parents=True, exist_ok=True)
    result.write(place)
    return result


class Kept:
    """A data set whose samples are decoded once, for several trainings on the same ones."""

    def __init__(self, data: Dataset) -> None:
        self.data = data
        self._decoded: dict[tuple[str, int], Decoded] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)

    def __len__(self) -> int:
        return len(self.data)

    def decode(self, modality: str, indices: Sequence[int]) -> list[Decoded]:
        missing = [index for index in indices if (modality, index) not in self._decoded]
        for index, decoded in zip(missing, self.data.decode(modality, missing), strict=True):
            self._decoded[modality, index] = decoded
        return [self._decoded[modality, index] for index in indices]


def trained_into(folder: Path, recipe: CalibrationRecipe, modality: str, data: Dataset, cache: Path) -> Calibrated:
    """The built-in encoder hardened by a recipe of one stage, in batches of BATCH of the `data`, trained where it does
    not lie in the `folder` yet.
    """
    encoder = ib.load_encoder("tiny")
    if not (folder / "calibration.json").exists():
        (stage,) = recipe.stages
        made = replace(recipe, stages=(replace(stage, batch_size=BATCH),), samples=len(data))
        ib.calibrate(ib.zero_shot(encoder, data, modality), made, data, cache=cache, workers=0).save(folder)
    return load_calibrated(encoder, folder)


def options(about: str, out: Path, samples: int, inputs: str) -> argparse.ArgumentParser:
    """Those that every such script has; `out`, `samples` and `inputs` are defaults."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--samples", type=int, default=samples)
    parser.add_argument("--only", default=inputs, help="inputs, separated by commas")
    parser.add_argument("--read", action="store_true", help="measure nothing")
    parser.add_argument("--no-write", action="store_true", help="print instead of writing the page")
    return parser
