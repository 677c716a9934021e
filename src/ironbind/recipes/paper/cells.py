"""One audit per cell of the paper's grid (arXiv 2505.11895): `ironbind audit paper/esc50/imagebind`. Which cells there
are says `recipes.paper.grid`.

A cell is one encoder on one data set: clean, 2/255 and 4/255 (in a waveform what is comparable), uncalibrated and under
each calibration of the grid, replayed and adaptive. How the paper prompts is not known; cells use LanguageBind's
published prompts (80 templates, one for sounds), for points the modality's own, and for UniBind its own centers where
it has published some.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ironbind.core.default_budgets import comparable
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.paper.grid import CALIBRATIONS as OF_THE_GRID
from ironbind.recipes.paper.grid import CELLS, EPS, Cell, centers_file, data_folder, has_centers, weights_file
from ironbind.recipes.world_and_folder import Choices, jobs_for, refuse
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.run_job import Job
from ironbind.types import InputError, Linf

TRAIN_SAMPLES = 1000
NONE = ("none",)  # --calibration none


def audit_cell(cell: Cell, choices: Choices) -> list[Job]:
    """The job of a cell. Raises InputError saying why a cell cannot be, and what this machine lacks, before anything
    runs.

    `--data` and `--weights` stand in for IRONBIND_DATA and IRONBIND_WEIGHTS. `--limit`: so many samples, of each class
    its share; retrieval keeps its whole gallery. `--calibration`: some of the grid's, or none.
    """
    column, model = cell.column, cell.model
    if cell.impossible:
        raise InputError(f"{cell.recipe} cannot be: {cell.impossible}")
    encoder, file = model.for_modality(column.modality)
    if choices.encoder not in ("tiny", encoder):
        raise InputError(f"--encoder {choices.encoder}: the recipe {cell.recipe!r} is about {encoder}; leave it out")
    if choices.modalities not in ((), (column.modality,)):
        raise InputError(
            f"--modality {','.join(choices.modalities)}: the recipe {cell.recipe!r} is about {column.modality}; leave it out"
        )
    refuse(choices, cell.recipe, "layout", "data_options", "retrieval", "surrogate", "surrogate_weights")
    folder = data_folder(column, choices.data)
    if folder is None:
        raise InputError(
            f"{cell.recipe}: {column.title} is not there; expected it in IRONBIND_DATA/{column.name}, or --data DIR (docs/paper.md)"
        )
    weights = weights_file(model, column.modality, choices.weights)
    if weights is None and not model.without_file:
        raise InputError(
            f"{cell.recipe}: {model.title}'s weights are not there; expected IRONBIND_WEIGHTS/{file}, or --weights FILE (ironbind weights)"
        )
    prompts, centers = _compared_with(cell, choices)
    path, seed = str(folder), choices.seed
    options: dict[str, Any] = dict(column.options)
    options |= {"skip_unreadable": True} if choices.skip_unreadable else {}
    half = "" if column.train is not None else "second"
    whole = "retrieval" in column.asks or bool(half)  # a gallery, or what is halved, must not be cut before
    loaded = options if whole or choices.limit is None else {**options, "limit": choices.limit, "seed": seed}
    reported = DataSpec(column.layout, path, loaded, half, seed)
    reported.load()  # what is wrong with the data shows now
    calibrations = (
        ()
        if choices.heads or choices.calibrations == NONE
        else choices.calibrations or tuple(one for one in OF_THE_GRID if one in CALIBRATIONS)
    )
    train = _training(cell, choices, reported) if calibrations else None
    made = replace(
        choices,
        encoder=encoder,
        weights=None if weights is None else str(weights),
        calibrations=calibrations,
        limit=None,
        train_data=None,
    )
    (job,) = jobs_for(made, column.layout, path, loaded, (column.modality,))
    limit = choices.limit if whole else None
    attacks = job.attacks
    if "retrieval" in column.asks:
        alone = "zero_shot" not in column.asks
        question = ExtraTask(
            "retrieval", ("text",), limit, everywhere=True, attacks=attacks if alone else (), checked=alone
        )
        job = replace(job, questions=(question,), attacks=() if alone else attacks, gallery_items=0 if alone else 1)
    if not choices.eps:
        job = replace(job, budgets={space: tuple(comparable(Linf(one), space) for one in EPS) for space in job.spaces})
    about = {
        "recipe": cell.recipe, "dataset": column.name, "dataset_title": column.title, "modality": column.modality, "model": model.name,
        "model_title": model.title, "sees": list(model.sees), "asks": list(column.asks),
        "prompts": prompts or "" if centers is None else "", "centers": centers or "",
    }  # fmt: skip
    return [replace(job, half=half, train=train, limit=limit, prompts=prompts, centers=centers, about={"cell": about})]


def _training(cell: Cell, choices: Choices, reported: DataSpec) -> DataSpec:
    """What heads are trained on: never what is reported. Raises InputError where it is not there."""
    column, limit = cell.column, choices.train_samples or TRAIN_SAMPLES
    if choices.train_data:
        made = DataSpec("folder", choices.train_data, {"modality": column.modality}, seed=choices.seed, limit=limit)
    elif column.train is None:
        made = replace(reported, half="first", limit=limit)
    else:
        other = CELLS[f"paper/{column.train_from or column.name}/{cell.model.name}"].column
        folder = data_folder(other, None if column.train_from else choices.data)
        if folder is None:
            raise InputError(
                f"{cell.recipe} trains heads on {other.title}, which is not there; expected IRONBIND_DATA/{other.name}, --train-data DIR with class "
                "folders, or --calibration none"
            )
        options = {**column.train, **({"skip_unreadable": True} if choices.skip_unreadable else {})}
        made = DataSpec(other.layout, str(folder), options, seed=choices.seed, limit=limit)
    try:
        made.load()
    except InputError as error:
        raise InputError(
            f"{error} ({cell.recipe} trains heads on this; --train-data DIR names other data, --calibration none trains none)"
        ) from error
    return made


def _compared_with(cell: Cell, choices: Choices) -> tuple[str | None, str | None]:
    """Prompts and a file of centers, one of them None."""
    if choices.centers or choices.prompts:
        return choices.prompts, choices.centers
    if not has_centers(cell.model, cell.column):
        return cell.column.prompts or None, None
    file = centers_file(cell.model, cell.column)
    if file is None:
        name = f"centre_embs/{cell.column.unibind}_center_embeddings.pkl"
        raise InputError(
            f"{cell.recipe}: UniBind's own centers are not there; expected IRONBIND_WEIGHTS/{name}, --centers FILE, or --prompts NAME"
        )
    return None, str(file)


def __getattr__(name: str) -> Callable[[Choices], list[Job]]:
    """The recipe of each cell, under its own name: `getattr(paper, "paper/esc50/imagebind")`."""
    if name not in CELLS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    cell = CELLS[name]

    def recipe(choices: Choices) -> list[Job]:
        return audit_cell(cell, choices)

    recipe.__doc__ = (
        f"{cell.model.title} on {cell.column.title} ({cell.column.modality}): {cell.impossible or audit_cell.__doc__}"
    )
    return recipe
