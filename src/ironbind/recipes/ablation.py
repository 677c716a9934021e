"""Several calibrations trained on the same data and audited side by side: `ironbind ablate`."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.core.default_budgets import default_budgets, headline_index
from ironbind.core.index_results import ITSELF, IndexResult, Search, served
from ironbind.core.markdown_tables import markdown_table
from ironbind.core.results import CalibrationRecord, Result, Row, write_atomically
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.calibrations import BATCH
from ironbind.recipes.request import AuditRequest
from ironbind.recipes.world_and_folder import world_or_folder
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.job import Job, TrainingSpec
from ironbind.types import InputError

FILE = "ablation.md"
HEADER = (
    "modality",
    "calibration",
    "parts",
    "clean",
    "replayed",
    "adaptive",
    "cosine",
    "old index",
    "trained",
    "of its tower",
    "of all",
    "samples seen",
    "CPU s",
)


def jobs(
    request: AuditRequest,
    recipes: Sequence[str],
    *,
    data: str | None = None,
    samples: int | None = None,
    steps: int | None = None,
) -> list[Job]:
    """One job per modality, at the headline radius unless radii are chosen.

    `recipes`: names of CALIBRATIONS. `data`: class folders to train on (None: the audited data's training split).
    `samples`: how many each calibration sees, `steps`: of those that train on fresh examples (both None: each recipe's
    own). Raises InputError where no calibration is named, and for whatever `ironbind audit` refuses.
    """
    if not recipes:
        raise InputError("--recipes is empty; expected names from `ironbind ls calibrations`, separated by commas")
    steps = steps or (max(1, samples // BATCH) if samples else None)
    named = tuple(CALIBRATIONS[name]() for name in recipes)
    compared = []
    for job in world_or_folder(request):
        budgets = dict(job.budgets)
        if not request.eps:
            defaults = {space: default_budgets(space) for space in job.spaces}
            budgets = {space: (radii[headline_index(radii, space)],) for space, radii in defaults.items()}
        train = DataSpec("folder", data, {"modality": job.modality}, seed=request.seed) if data else None
        training = TrainingSpec(named, train, samples, steps)
        compared.append(replace(job, budgets=budgets, training=training, gallery_items=0))
    return compared


def table(result: Result) -> str:
    """A Markdown table: one row per modality and calibration, the uncalibrated encoder first; accuracies are zero-shot
    Top-1 in percent.

    cosine: of the new to the old clean embedding; old index: R@10 of the new embedding among the old ones of text,
    where the data has captions, else of its own modality.
    """
    lines = []
    top1, asked = result.select(task="zero_shot", metric="top1"), served(result.rows)
    for modality, space in dict.fromkeys((row.modality, row.space) for row in top1):
        here = [row for row in top1 if (row.modality, row.space) == (modality, space)]
        shown = (
            modality if len({row.space for row in top1 if row.modality == modality}) == 1 else f"{modality} ({space})"
        )
        index = [one for one in asked if (one.modality, one.space) == (modality, space)]
        accuracies = (_value(here, "none", "clean"), "", _value(here, "none", "whitebox"))
        lines.append((shown, "none", "", *accuracies, "", _before(index), "", "", "", "", ""))
        for name in dict.fromkeys(row.calibration for row in here if row.calibration != "none"):
            records = [one for one in result.calibrations if (one.name, one.modality) == (name, modality)]
            accuracies = (_value(here, name, "clean"), _value(here, name, "replayed"), _value(here, name, "adaptive"))
            tower = max((one.tower_parameters for one in result.calibrations if one.modality == modality), default=0)
            lines.append(
                (
                    shown,
                    name,
                    records[-1].parts if records else "",
                    *accuracies,
                    *_after(index, name),
                    *_cost(records, tower),
                )
            )
    return markdown_table(HEADER, lines) + "\n"


def write_table(folder: Path) -> str:
    """Writes `ablation.md` beside the run's result and returns it."""
    written = table(Result.read(folder))
    write_atomically(folder / FILE, written)
    return written


def _value(rows: list[Row], calibration: str, threat_model: str) -> str:
    """The lowest over the radii, of which there is one unless several were chosen."""
    found = [row.value for row in rows if (row.calibration, row.threat_model) == (calibration, threat_model)]
    return f"{min(found):.1f}" if found else "-"


def _search(one: IndexResult) -> Search | None:
    """In the old index of text or, without captions, in that of its own modality."""
    return one.search("text") or one.search(ITSELF)


def _before(index: list[IndexResult]) -> str:
    """R@10 of the original encoder's queries."""
    found = next((search.before for one in index if (search := _search(one))), None)
    return f"{found.value:.1f}" if found else "-"


def _after(index: list[IndexResult], calibration: str) -> tuple[str, str]:
    """Cosine of new to old, and R@10 of the new queries in the old index."""
    one = next((one for one in index if one.calibration == calibration), None)
    search = _search(one) if one else None
    return f"{one.cosine.value:.3f}" if one and one.cosine else "-", f"{search.after.value:.1f}" if search else "-"


def _cost(records: list[CalibrationRecord], tower: int) -> tuple[str, str, str, str, str]:
    """Parameters trained, their share of the tower (as counted by whoever did) and of the encoder, samples seen and CPU
    seconds of all stages.
    """
    if not records:
        return "-", "-", "-", "-", "-"
    trained, whole = records[-1].trainable, records[-1].encoder_parameters
    seen = sum(one.samples_seen for one in records)
    seconds = math.fsum(record.cpu_seconds for record in records)
    return (
        f"{trained:,}",
        f"{100 * trained / tower:.2f} %" if tower else "-",
        f"{100 * trained / whole:.2f} %",
        f"{seen:,}",
        f"{seconds:.0f}",
    )
