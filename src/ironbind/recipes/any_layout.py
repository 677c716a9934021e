"""The recipe for data of one's own, in any layout that `ironbind.data` reads: `ironbind audit data --data DIR`."""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ironbind.data import DATASETS, likeliest
from ironbind.data.inspect.inspection import Inspection
from ironbind.data.listing import UNLABELLED
from ironbind.data.loader_options import loader_options
from ironbind.recipes.paper.grid import COLUMNS
from ironbind.recipes.request import AuditRequest, jobs_for, refuse
from ironbind.recipes.world_and_folder import world
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.job import Job
from ironbind.types import InputError


def data(request: AuditRequest, *, retrieval: bool = False) -> list[Job]:
    """Data of one's own: class folders, a CSV, UniBind's JSON list, or any published layout, in one modality or all
    that are there.

    `--layout` names the layout (None: what `ironbind data check` finds likeliest), `--data-option` what its loader
    takes further: `fold=1`, `columns.image=photo`, `columns.caption=text_1+text_2`. Data without classes are audited by
    retrieval with their captions; `retrieval` (in Python) asks for it beside the classes, among all captions.
    """
    if not request.data:
        raise InputError(
            "--data PATH is missing: the recipe 'data' audits files in any layout (see `ironbind ls datasets`)"
        )
    path = str(Path(request.data))
    layout = request.layout or likeliest(path, request.data_options)
    options = loader_options(layout, request.data_options)
    modalities = request.modalities
    if modalities and "modality" in DATASETS[layout].options:
        options["modality"] = modalities[0] if len(modalities) == 1 else modalities
    spec = DataSpec(layout, path, options, limit=request.limit, whole_gallery=retrieval, seed=request.seed)
    dataset = spec.load()  # raises for faulty data before anything runs
    judged = getattr(dataset, "counterparts", None)
    if judged is not None:
        return judged_jobs(request, spec, judged.modality, dataset.modalities)
    chosen = modalities or dataset.modalities
    absent = next((modality for modality in chosen if modality not in dataset.modalities), None)
    if absent is not None:
        raise InputError(f"--modality {absent}: {path} holds {', '.join(dataset.modalities)}")
    jobs = jobs_for(request, spec, chosen)
    if dataset.classes != UNLABELLED:
        extra_tasks = (ExtraTask("retrieval", limit=spec.attacked, everywhere=True),) if retrieval else ()
        return [job.asking(*extra_tasks) for job in jobs]
    if dataset.captions is None:
        raise InputError(f"{path}: has neither classes nor captions; expected one of them to compare with")
    return [
        replace(job, attacks=(), gallery_items=0).asking(
            ExtraTask("retrieval", ("text",), spec.attacked, everywhere=True, attacks=job.attacks, checked=True)
        )
        for job in jobs
    ]


def judged_jobs(request: AuditRequest, spec: DataSpec, other: str, modalities: tuple[str, ...]) -> list[Job]:
    """Retrieval by the judgements of the data, which match samples with counterparts of the modality `other`: all of
    these stay in the gallery, `limit` says how many queries are asked.
    """
    spec = replace(spec, whole_gallery=True)
    return [
        replace(job, attacks=(), gallery_items=0).asking(
            ExtraTask("judged_retrieval", (other,), spec.attacked, everywhere=True, attacks=job.attacks, checked=True)
        )
        for job in jobs_for(request, spec, modalities)
    ]


def classified(request: AuditRequest, recipe: str = "world") -> list[Job]:
    """Zero-shot jobs over whatever data the user chose, in any layout, or else over the built-in world. `recipe`: whose
    jobs these become, for messages. Raises InputError for data without classes, and for a layout without data.
    """
    if not request.data:
        refuse(request, recipe, "layout")
        return world(request)
    jobs = data(request)
    if any(job.extra_tasks for job in jobs):
        raise InputError(f"--data {request.data}: holds no classes to tell apart; expected data with classes")
    return jobs


def command_for(inspection: Inspection) -> str:
    """The command that audits the data that `ironbind data check` inspected."""
    listing, path = inspection.listing, shlex.quote(str(inspection.path))
    kind = next(iter(listing.modalities))
    columns = [column for column in COLUMNS.values() if column.layout == inspection.layout and column.modality == kind]
    plain_options = {key: value for key, value in inspection.options.items() if key != "modality"}
    fitting = [column for column in columns if ("zero_shot" in column.asks) == (listing.classes != UNLABELLED)]
    if fitting and not plain_options:
        return f"ironbind audit paper/{fitting[0].name}/tiny --data {path} --heads none"
    data_options = "".join(
        f" --data-option {key}={_written(value)}"
        for key, value in plain_options.items()
        if not isinstance(value, Mapping)
    )
    for key, value in plain_options.items():
        if isinstance(value, Mapping):
            data_options += "".join(f" --data-option {key}.{name}={_written(inner)}" for name, inner in value.items())
    modality = f" --modality {kind}" if "modality" in inspection.options or len(listing.modalities) > 1 else ""
    if inspection.layout == "folder" and not plain_options and listing.classes != UNLABELLED:
        return f"ironbind audit folder --data {path} --modality {kind}"
    return f"ironbind audit data --data {path} --layout {inspection.layout}{modality}{data_options}"


def _written(value: Any) -> str:
    return shlex.quote("+".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value))
