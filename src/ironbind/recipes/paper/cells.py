"""One audit per cell of the paper's grid (arXiv 2505.11895): `ironbind audit paper/esc50/imagebind`.
`recipes.paper.grid` lists the cells.

A cell is one encoder on one data set: clean, 2/255 and 4/255 (in a waveform what is comparable), uncalibrated and under
each calibration of the grid, replayed and adaptive. How the paper prompts is not known; cells use LanguageBind's
published prompts (80 templates, one for sounds), for points the modality's own, and for UniBind its own centers where
it has published some.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ironbind.core.default_budgets import comparable
from ironbind.data.loader_options import loader_options
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.paper.grid import CALIBRATIONS as OF_THE_GRID
from ironbind.recipes.paper.grid import CELLS, EPS, Cell, centers_file, data_folder, has_centers, weights_file
from ironbind.recipes.request import AuditRequest, jobs_for, refuse
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.job import CenterSpec, Job, TrainingSpec
from ironbind.types import InputError, Linf

TRAINING_SAMPLES = 1000
READING = ("skip_unreadable",)  # options of a layout that choose neither samples nor classes
NONE = "none"  # --heads none: neither train heads nor load some


def audit_cell(
    cell: Cell,
    request: AuditRequest,
    *,
    calibrations: tuple[str, ...] | None = None,
    train: DataSpec | None = None,
    centers: CenterSpec | None = None,
) -> list[Job]:
    """The job of a cell. Raises InputError saying why a cell cannot be, and what this machine lacks, before anything
    runs.

    `--data` and `--weights` stand in for IRONBIND_DATA and IRONBIND_WEIGHTS. `--limit`: so many samples, of each class
    its share; retrieval keeps its whole gallery. `--heads`: trained ones instead of the grid's calibrations, or "none".
    In Python, `calibrations` names some of the grid's, `train` is what they train on, `centers` other prompts or class
    centers.
    """
    column, model = cell.column, cell.model
    if cell.impossible:
        raise InputError(f"{cell.recipe} cannot be: {cell.impossible}")
    encoder, file = model.for_modality(column.modality)
    if request.encoder.name not in ("tiny", encoder):
        raise InputError(
            f"--encoder {request.encoder.name}: the recipe {cell.recipe!r} is about {encoder}; leave it out"
        )
    if request.modalities not in ((), (column.modality,)):
        named = ",".join(request.modalities)
        raise InputError(f"--modality {named}: the recipe {cell.recipe!r} is about {column.modality}; leave it out")
    refuse(request, cell.recipe, "layout")
    folder = data_folder(column, request.data)
    if folder is None:
        raise InputError(
            f"{cell.recipe}: {column.title} is not there; expected it in IRONBIND_DATA/{column.name}, or "
            "--data DIR (docs/paper.md)"
        )
    weights = weights_file(model, column.modality, request.encoder.weights)
    if weights is None and not model.without_file:
        raise InputError(
            f"{cell.recipe}: {model.title}'s weights are not there; expected IRONBIND_WEIGHTS/{file}, or "
            "--weights FILE (ironbind weights)"
        )
    source = centers or _center_spec(cell)
    options = {**column.options, **_reading_options(cell, request)}
    half = "" if column.train is not None else "second"
    whole = "retrieval" in column.asks or bool(half)  # a gallery, or what is halved, must not be cut before
    reported = DataSpec(column.layout, str(folder), options, half, request.limit, whole, request.seed)
    reported.load()  # raises for faulty data before anything runs
    heads = None if request.encoder.heads == NONE else request.encoder.heads
    names = tuple(name for name in OF_THE_GRID if name in CALIBRATIONS) if calibrations is None else calibrations
    names = () if request.encoder.heads else names
    training = TrainingSpec()
    if names:
        data = _training(cell, request, reported, train)
        training = TrainingSpec(tuple(CALIBRATIONS[name]() for name in names), data)
    spec = replace(request.encoder, name=encoder, weights=None if weights is None else str(weights), heads=heads)
    (job,) = jobs_for(replace(request, encoder=spec), reported, (column.modality,))
    if "retrieval" in column.asks:
        alone = "zero_shot" not in column.asks
        attacks = job.attacks if alone else ()
        extra = ExtraTask("retrieval", ("text",), reported.attacked, everywhere=True, attacks=attacks, checked=alone)
        job = replace(job, attacks=() if alone else job.attacks, gallery_items=0 if alone else 1).asking(extra)
    if not request.eps:
        radii = {space: tuple(comparable(Linf(radius), space) for radius in EPS) for space in job.spaces}
        job = replace(job, budgets=radii)
    about = {
        "recipe": cell.recipe,
        "dataset": column.name,
        "dataset_title": column.title,
        "modality": column.modality,
        "model": model.name,
        "model_title": model.title,
        "sees": list(model.sees),
        "asks": list(column.asks),
        "prompts": source.prompts or "" if source.file is None else "",
        "centers": source.file or "",
    }
    return [replace(job, training=training, centers=source, about={"cell": about})]


def _training(cell: Cell, request: AuditRequest, reported: DataSpec, given: DataSpec | None) -> DataSpec:
    """What heads are trained on: never what is reported. Raises InputError where it is not there."""
    column = cell.column
    if given is not None:
        data = given
    elif column.train is None:
        data = reported.first_half(TRAINING_SAMPLES)
    else:
        other = CELLS[f"paper/{column.train_from or column.name}/{cell.model.name}"].column
        folder = data_folder(other, None if column.train_from else request.data)
        if folder is None:
            raise InputError(
                f"{cell.recipe} trains heads on {other.title}, which is not there; expected "
                f"IRONBIND_DATA/{other.name}, "
                "or --heads none"
            )
        options = {**column.train, **loader_options(other.layout, request.data_options)}
        data = DataSpec(other.layout, str(folder), options, limit=TRAINING_SAMPLES, seed=request.seed)
    try:
        data.load()
    except InputError as error:
        raise InputError(f"{error} ({cell.recipe} trains heads on this; --heads none trains none)") from error
    return data


def _reading_options(cell: Cell, request: AuditRequest) -> dict[str, Any]:
    """How files are read, which samples that train heads share. Raises InputError for an option that would choose other
    samples or classes than the cell's: some of them could then be trained on and reported."""
    options = loader_options(cell.column.layout, request.data_options)
    fixed = next((name for name in options if name not in READING), None)
    if fixed is not None:
        raise InputError(
            f"--data-option {fixed}=...: the recipe {cell.recipe!r} chooses its samples itself; expected only "
            f"{', '.join(f'{name}=...' for name in READING)}, or the recipe 'data'"
        )
    return options


def _center_spec(cell: Cell) -> CenterSpec:
    """Prompts or a file of centers."""
    if not has_centers(cell.model, cell.column):
        return CenterSpec(cell.column.prompts or None)
    file = centers_file(cell.model, cell.column)
    if file is None:
        name = f"centre_embs/{cell.column.unibind}_center_embeddings.pkl"
        raise InputError(f"{cell.recipe}: UniBind's own centers are not there; expected IRONBIND_WEIGHTS/{name}")
    return CenterSpec(file=str(file))


def __getattr__(name: str) -> Callable[..., list[Job]]:
    """The recipe of each cell, under its own name: `getattr(paper, "paper/esc50/imagebind")`."""
    if name not in CELLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    cell = CELLS[name]

    def recipe(request: AuditRequest, **options: Any) -> list[Job]:
        return audit_cell(cell, request, **options)

    recipe.__doc__ = (
        f"{cell.model.title} on {cell.column.title} ({cell.column.modality}): {cell.impossible or audit_cell.__doc__}"
    )
    return recipe
