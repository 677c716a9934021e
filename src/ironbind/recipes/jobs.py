"""A job: everything ironbind does to one modality of one encoder. Jobs are values, so that they travel to worker processes and into records."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ironbind.attacks import PGD
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.calibration.run import calibrate, training_split
from ironbind.data import load_dataset
from ironbind.evaluate.gallery import gallery
from ironbind.evaluate.run import Examination, audit
from ironbind.evaluate.tasks import Retrieval, ZeroShot, retrieval
from ironbind.evaluate.verdicts import VerdictStore
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.budgets import headline, ladder
from ironbind.recipes.encoders import Options, encoder_for
from ironbind.recipes.tasks import zero_shot
from ironbind.results import Check, Result
from ironbind.types import Attack, Budget, Dataset, Encoder, InputError

Tell = Callable[[str, int, int], None]
DEFAULT_ATTACKS: tuple[Attack, ...] = (PGD(steps=20, loss="margin"), PGD(steps=20, loss="ce"))


@dataclass(frozen=True)
class Job:
    """One modality of one encoder on one data set: audit, calibrations, both protocols, retrieval, gallery.

    `spaces`: which to attack (): the default one. `budgets`: per space name; spaces without an entry get the default ladder.
    `calibrations`: recipe names to train and audit. `heads`: folder of trained heads to audit instead. `retrieval_with`: other modalities
    to retrieve to and from; `retrieval_limit` queries are attacked (the gallery stays whole); `retrieval_all`: at all radii and for every
    calibration rather than at the headline radius for the last one. `gallery_items`: samples to show; they need strong examples, as replay does.
    """

    modality: str
    encoder: str = "tiny"
    encoder_options: Options = ()
    data: str = "world"
    path: str | None = None
    data_options: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] | None = None  # {"data": ..., "path": ..., "options": ...}; None: the data set's own training split
    train_samples: int = 1000
    spaces: tuple[str, ...] = ()
    budgets: dict[str, tuple[Budget, ...]] = field(default_factory=dict)
    attacks: tuple[Attack, ...] = DEFAULT_ATTACKS
    calibrations: tuple[str, ...] = ()
    heads: str | None = None
    retrieval_with: tuple[str, ...] = ()
    retrieval_limit: int | None = None
    retrieval_all: bool = False
    gallery_items: int = 1
    limit: int | None = None
    seed: int = 0
    batch_size: int = 64

    @property
    def label(self) -> str:
        """What to call the job while it runs."""
        return self.modality


@dataclass
class Outcome:
    """What a job found: its part of the result, and the arrays of its gallery items."""

    result: Result
    arrays: dict[str, np.ndarray]


def run_job(job: Job, out: Path, tell: Tell = lambda what, done, total: None) -> Outcome:
    """Does the whole job; verdicts, caches and heads go to `out`, so that a killed job continues. Raises InputError for what the user got wrong."""
    tell("load", 0, 1)
    encoder = encoder_for(job.encoder, job.encoder_options)
    dataset = load_dataset(job.data, job.path, **job.data_options)
    store = VerdictStore(out)
    tasks = _tasks(job, encoder, dataset)
    calibrated = _calibrated(job, encoder, tasks, out, tell)
    result, arrays = Result(job.modality, checks=_about_data(job, dataset)), {}
    for task in tasks:
        budgets = tuple(sorted(job.budgets.get(task.space.name) or ladder(task.space.name), key=lambda one: one.radius))
        common: dict[str, Any] = {"attack": job.attacks, "store": store, "seed": job.seed, "batch_size": job.batch_size, "progress": tell}
        tell(f"audit {task.space.name}", 0, 1)
        result.absorb(audit(task, budget=budgets, keep_examples=bool(calibrated) or job.gallery_items > 0, **common))
        for one in calibrated:
            result.absorb(audit(task.on(one), budget=budgets, **common))
        at = headline(budgets, task.space.name)
        questions = _retrievals(job, encoder, dataset, task.space.name)
        for question in questions:
            rungs = budgets if job.retrieval_all else (budgets[at],)
            answering: Sequence[Encoder] = (calibrated if job.retrieval_all else calibrated[-1:]) or [encoder]
            for asked in answering:  # a calibrated audit brings its backbone's rows along
                part = audit(question.on(asked), budget=rungs, checks=False, **common)
                part.checks.clear()  # said once below
                result.absorb(part)
        if questions:
            said = "not run for retrieval: the same attacks on the same encoder were checked on the zero-shot task"
            result.checks.append(Check("C1-C17", "attack checks", "skipped", said, f"{job.modality} {task.space.name} retrieval"))
        if job.gallery_items:
            examined = Examination(task, job.attacks, budgets, store, "whitebox", job.seed, job.batch_size, keep_examples=True)
            items, found = gallery(examined, at, calibrated, job.gallery_items)
            result.gallery += items
            arrays.update(found)
    for one in calibrated:
        result.calibrations += one.records
        if not job.heads:
            one.save(out / "heads" / one.calibration / job.modality, [row for row in result.rows if row.calibration == one.calibration])
    store.close()
    tell("done", 1, 1)
    return Outcome(result, arrays)


def _tasks(job: Job, encoder: Encoder, dataset: Dataset) -> list[ZeroShot]:
    spaces: Sequence[str | None] = job.spaces or (None,)
    return [zero_shot(encoder, dataset, job.modality, space=space, limit=job.limit) for space in spaces]


def _calibrated(job: Job, encoder: Encoder, tasks: list[ZeroShot], out: Path, tell: Tell) -> list[Calibrated]:
    if job.heads:
        found = load_calibrated(encoder, job.heads)
        if job.modality not in found.heads:
            raise InputError(f"--heads {job.heads} holds heads for {', '.join(found.heads)}, not for {job.modality}")
        return [found]
    if not job.calibrations:
        return []
    if job.train is not None:
        train = load_dataset(job.train["data"], job.train["path"], **job.train["options"])
    else:
        train = training_split(tasks[0].dataset, job.train_samples)
    recipes = [replace(CALIBRATIONS[name](), seed=job.seed) for name in job.calibrations]
    return [calibrate(tasks, recipe, train, cache=out / "cache", batch_size=job.batch_size, progress=tell) for recipe in recipes]


def _retrievals(job: Job, encoder: Encoder, dataset: Dataset, space: str) -> list[Retrieval]:
    """Both directions between the job's modality and each other one that the data pairs it with."""
    able = [one for one in job.retrieval_with if one != job.modality]
    able = [one for one in able if (dataset.captions is not None if one == "text" else one in dataset.modalities and one in encoder.inputs)]
    asked = [{way: one} for one in able for way in ("to", "of")]
    return [retrieval(encoder, dataset, job.modality, space=space, limit=job.retrieval_limit, **one) for one in asked]


def _about_data(job: Job, dataset: Dataset) -> list[Check]:
    """What a loader had to say about the files, where it said something."""
    problems, notes = getattr(dataset, "problems", ()), getattr(dataset, "notes", ())
    found = (
        [Check("data", "files that cannot be read were left out", "warn", f"{len(problems)}: {'; '.join(problems)}", job.modality)]
        if problems
        else []
    )
    return found + [Check("data", "how the folder was taken", "pass", one, job.modality) for one in notes]
