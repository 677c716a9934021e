"""The recipes for the built-in world and for class folders."""

from pathlib import Path
from typing import Any

from ironbind.data import load_dataset, table_or_folders
from ironbind.data.listing import UNLABELLED
from ironbind.data.loader_options import loader_options
from ironbind.modalities import MODALITIES
from ironbind.recipes.request import SIX, AuditRequest, jobs_for, refuse
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.job import Job
from ironbind.types import InputError

WORLD_SAMPLES = 300


def world(request: AuditRequest) -> list[Job]:
    """The built-in procedural world, all six modalities unless some are named. `--data-option split=...`: another split
    than "test"."""
    refuse(request, "world", "layout", "data")
    options: dict[str, Any] = {"split": "test", "n": request.limit or WORLD_SAMPLES, "seed": request.seed}
    given = loader_options("world", request.data_options)
    if request.limit is not None and "n" in given:
        raise InputError(f"--limit {request.limit} and --data-option n={given['n']} both say how many; leave one out")
    options |= given
    load_dataset("world", **{**options, "n": 1})  # raises for an unknown split before anything runs
    return jobs_for(request, DataSpec("world", None, options), request.modalities or SIX)


def folder(request: AuditRequest) -> list[Job]:
    """A tree of class folders (`DIR/<class>/<file>`, or an exported world's root) in one modality or several; or files
    with labels in a table, as parquet.
    """
    refuse(request, "folder", "layout")
    if not request.data:
        raise InputError(
            "--data DIR is missing: the recipe 'folder' audits a tree of class folders, DIR/<class>/<file>"
        )
    if not request.modalities:
        kinds = ", ".join(name for name in MODALITIES if name != "text")
        raise InputError(f"--modality is missing: say what {request.data} holds (one of {kinds})")
    path = str(Path(request.data))
    layout = table_or_folders(path)
    options = loader_options(layout, request.data_options)
    specs = {}
    for modality in request.modalities:
        MODALITIES[modality]  # raises with near misses
        specs[modality] = DataSpec(
            layout, path, {**options, "modality": modality}, limit=request.limit, seed=request.seed
        )
        # raises for a wrong folder before anything runs
        listing = load_dataset(layout, path, **{**options, "modality": modality, "skip_unreadable": False})
        if listing.classes == UNLABELLED:
            raise InputError(f"{path}: holds no classes to tell apart; expected class folders, or the recipe 'data'")
    return jobs_for(request, specs[request.modalities[0]], request.modalities, specs)
