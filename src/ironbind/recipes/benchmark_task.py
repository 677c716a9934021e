"""The recipe for a task of the benchmark library mteb: `ironbind audit mteb/TASK`."""

from ironbind.data.hubs.mteb_files import part_of, task_named, written_task
from ironbind.data.loader_options import loader_options
from ironbind.recipes.any_layout import judged_jobs
from ironbind.recipes.request import AuditRequest, jobs_for, refuse
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.job import Job
from ironbind.types import InputError

PREFIX = "mteb/"


def mteb_task(request: AuditRequest, name: str) -> list[Job]:
    """A task of the installed mteb: zero-shot classification among its candidate labels, or retrieval by its
    judgements, of pictures, sounds or clips.

    The data come from where mteb loads them, once, and are kept in the cache. `--data-option split=...`, `subset=...`
    choose a part where a task has several. Raises InputError, also for tasks of other kinds.
    """
    recipe = f"{PREFIX}{name}"
    refuse(request, recipe, "data", "layout")
    options = loader_options("mteb", request.data_options)
    if "revision" in options:
        raise InputError(f"--data-option revision={options['revision']}: {recipe} is read at mteb's own; leave it out")
    task = task_named(name)
    part = part_of(task, options.get("split"), options.get("subset"))
    written_task(task, part)
    options |= part._asdict()  # with all of it said, worker processes do not load mteb
    spec = DataSpec("mteb", name, options, limit=request.limit, seed=request.seed)
    dataset = spec.load()
    (modality,) = dataset.modalities
    if request.modalities not in ((), (modality,)):
        raise InputError(f"--modality {','.join(request.modalities)}: {recipe} is a task of {modality}")
    judged = getattr(dataset, "counterparts", None)
    return (
        jobs_for(request, spec, (modality,))
        if judged is None
        else judged_jobs(request, spec, judged.modality, (modality,))
    )
