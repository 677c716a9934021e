"""Several calibrations trained on the same data and audited side by side: `ironbind ablate`."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.core.default_budgets import default_budgets, headline_index
from ironbind.core.index_results import ITSELF, IndexResult, Search, index_results
from ironbind.core.markdown_tables import markdown_table
from ironbind.core.results import CalibrationRecord, Result, Row, write_atomically
from ironbind.data import table_or_folders
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.any_layout import classified
from ironbind.recipes.calibrations import BATCH
from ironbind.recipes.request import AuditRequest
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
    ablation_jobs = []
    for job in classified(request):
        budgets = dict(job.budgets)
        if not request.eps:
            defaults = {space: default_budgets(space) for space in job.spaces}
            budgets = {space: (radii[headline_index(radii, space)],) for space, radii in defaults.items()}
        train = DataSpec(table_or_folders(data), data, {"modality": job.modality}, seed=request.seed) if data else None
        training = TrainingSpec(named, train, samples, steps)
        ablation_jobs.append(replace(job, budgets=budgets, training=training, gallery_items=0))
    return ablation_jobs


def table(result: Result) -> str:
    """A Markdown table: one row per modality and calibration, the uncalibrated encoder first; accuracies are zero-shot
    Top-1 in percent.

    cosine: of the new to the old clean embedding; old index: R@10 of the new embedding among the old ones of text,
    where the data has captions, else of its own modality.
    """
    lines = []
    top1, by_input = result.select(task="zero_shot", metric="top1"), index_results(result.rows)
    for modality, space in dict.fromkeys((row.modality, row.space) for row in top1):
        rows = [row for row in top1 if (row.modality, row.space) == (modality, space)]
        input_name = (
            modality if len({row.space for row in top1 if row.modality == modality}) == 1 else f"{modality} ({space})"
        )
        index = [entry for entry in by_input if (entry.modality, entry.space) == (modality, space)]
        accuracies = (_value(rows, "none", "clean"), "", _value(rows, "none", "whitebox"))
        lines.append((input_name, "none", "", *accuracies, "", _before(index), "", "", "", "", ""))
        for name in dict.fromkeys(row.calibration for row in rows if row.calibration != "none"):
            records = [record for record in result.calibrations if (record.name, record.modality) == (name, modality)]
            accuracies = (_value(rows, name, "clean"), _value(rows, name, "replayed"), _value(rows, name, "adaptive"))
            tower = max(
                (record.tower_parameters for record in result.calibrations if record.modality == modality), default=0
            )
            lines.append(
                (
                    input_name,
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
    values = [row.value for row in rows if (row.calibration, row.threat_model) == (calibration, threat_model)]
    return f"{min(values):.1f}" if values else "-"


def _search(result: IndexResult) -> Search | None:
    """In the old index of text or, without captions, in that of its own modality."""
    return result.search("text") or result.search(ITSELF)


def _before(index: list[IndexResult]) -> str:
    """R@10 of the original encoder's queries."""
    row = next((search.before for entry in index if (search := _search(entry))), None)
    return f"{row.value:.1f}" if row else "-"


def _after(index: list[IndexResult], calibration: str) -> tuple[str, str]:
    """Cosine of new to old, and R@10 of the new queries in the old index."""
    entry = next((entry for entry in index if entry.calibration == calibration), None)
    search = _search(entry) if entry else None
    return (
        f"{entry.cosine.value:.3f}" if entry and entry.cosine else "-",
        f"{search.after.value:.1f}" if search else "-",
    )


def _cost(records: list[CalibrationRecord], tower: int) -> tuple[str, str, str, str, str]:
    """Parameters trained, their share of the tower (where a record counts it) and of the encoder, samples seen and CPU
    seconds of all stages.
    """
    if not records:
        return "-", "-", "-", "-", "-"
    trained, whole = records[-1].trainable, records[-1].encoder_parameters
    samples_seen = sum(record.samples_seen for record in records)
    seconds = math.fsum(record.cpu_seconds for record in records)
    return (
        f"{trained:,}",
        f"{100 * trained / tower:.2f} %" if tower else "-",
        f"{100 * trained / whole:.2f} %",
        f"{samples_seen:,}",
        f"{seconds:.0f}",
    )
