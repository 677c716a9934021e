"""A job: everything ironbind does to one modality of one encoder. Jobs are values, so that they travel to worker
processes and into records.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from ironbind.attacks import PGD, Square
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.calibrate import calibrate
from ironbind.evaluate.checks import marked
from ironbind.evaluate.audit_corrupted import audit_corrupted
from ironbind.evaluate.accuracy_curve import curve
from ironbind.evaluate.gallery_items import gallery
from ironbind.evaluate.audit import Examination, audit, stages_of
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.modalities.corruptions import corruptions_for
from ironbind.recipes import CALIBRATIONS
from ironbind.core.default_budgets import headline_index, default_budgets
from ironbind.runs.center_cache import centers_for
from ironbind.runs.encoder_spec import Options, encoder_for
from ironbind.runs.pretrained import from_pretrained
from ironbind.runs.data_spec import DataSpec, sample_first
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.recipes.tasks import zero_shot
from ironbind.core.results import Check, Result
from ironbind.types import Attack, Budget, Dataset, Encoder, StagedAttack, InputError, AttackFactory

Tell = Callable[[str, int, int], None]
LOADING = "load"
"""What a job tells while encoder, data and trained parts are read."""
DEFAULT_ATTACKS: tuple[Attack, ...] = (PGD(steps=20, loss="margin"), PGD(steps=20, loss="ce"))
BLACK_BOX = Square(queries=100)  # a short search: it sounds an alarm, it does not measure


@dataclass(frozen=True)
class Job:
    """One modality of one encoder on one data set: audit, calibrations, both protocols, retrieval, corruptions,
    gallery.

    `half`: which half of the data is reported, "" for all (see `DataSpec`). `train`: what to train and fit on (None: the
    data set's training split). `spaces`: which to attack (): the default one. `budgets`: per space name; spaces without
    an entry get the default ladder. `attacks`: () for none. `train_samples`: that examples are crafted on once;
    `train_steps`: of stages that live, on fresh samples (None: each recipe's own). `curve`: attacks that seek nearest
    examples, up to the largest budget; accuracy is read off at all of several budgets (see `evaluate.accuracy_curve`).
    `threat_model`: see `audit`. `unchecked`: why the attack checks are not run, "" to run them. `corrupted`: accuracy
    under corruptions too. `calibrations`: recipe names to train and audit. `heads`: trained heads and adapters to audit
    too, as `from_pretrained` names them. `questions`: what is asked besides "which class". `black_box`: what check C17
    searches with. `gallery_items`: samples to show; they need strong examples, as replay does. `prompts`, `centers`:
    see `centers_for`. `about`: facts for the record. `limit`: so many samples are attacked, of every class its share;
    galleries stay whole.
    """

    modality: str
    encoder: str = "tiny"
    encoder_options: Options = ()
    data: str = "world"
    path: str | None = None
    data_options: dict[str, Any] = field(default_factory=dict)
    half: str = ""
    train: DataSpec | None = None
    train_samples: int | None = None
    train_steps: int | None = None
    spaces: tuple[str, ...] = ()
    budgets: dict[str, tuple[Budget, ...]] = field(default_factory=dict)
    attacks: tuple[Attack | StagedAttack | AttackFactory, ...] = DEFAULT_ATTACKS
    curve: tuple[Attack, ...] = ()
    threat_model: str | None = None
    unchecked: str = ""
    corrupted: bool = False
    black_box: Attack | None = BLACK_BOX
    calibrations: tuple[str, ...] = ()
    heads: str | None = None
    questions: tuple[ExtraTask, ...] = ()
    gallery_items: int = 1
    prompts: str | None = None
    centers: str | None = None
    about: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    seed: int = 0
    batch_size: int = 64

    @property
    def label(self) -> str:
        """What to call the job while it runs."""
        return self.modality

    @property
    def origin(self) -> DataSpec:
        """Where the samples that are reported come from."""
        return DataSpec(self.data, self.path, self.data_options, self.half, self.seed)


@dataclass
class Outcome:
    """What a job found: its part of the result, and the arrays of its gallery items."""

    result: Result
    arrays: dict[str, np.ndarray]


def run_job(job: Job, out: Path, tell: Tell = lambda what, done, total: None) -> Outcome:
    """Does the whole job; verdicts, caches and heads go to `out`, so that a killed job continues. Raises InputError for
    what the user got wrong.
    """
    tell(LOADING, 0, 1)
    encoder = encoder_for(job.encoder, job.encoder_options)
    dataset = job.origin.load()
    dataset = dataset if job.limit is None else sample_first(dataset, job.limit, job.seed)
    store = VerdictStore(out)
    tasks = _tasks(job, encoder, dataset, tell)
    calibrated = _calibrated(job, encoder, tasks, out, tell)
    result, arrays = Result(job.modality, checks=_about_data(job, dataset)), {}
    for task in tasks:
        budgets = tuple(sorted(job.budgets.get(task.space.name) or default_budgets(task.space.name), key=lambda one: one.radius))
        kept: dict[str, Any] = {"store": store, "seed": job.seed, "batch_size": job.batch_size, "progress": tell}
        common: dict[str, Any] = {"attack": job.attacks, "threat_model": job.threat_model, **kept}
        tell(f"audit {task.space.name}", 0, 1)
        checked = {**common, "checks": not job.unchecked, "black_box": job.black_box}
        for who in [encoder, *calibrated] if job.attacks else []:
            part = audit(task.on(who), budget=budgets, keep_examples=bool(calibrated) or job.gallery_items > 0, **checked)
            result.absorb(_explained(part, job.unchecked))
        under: Sequence[Encoder] = calibrated or [encoder]
        for who in [encoder, *calibrated] if job.curve else []:  # one call for each, as each has checks of its own
            radii = budgets if len(budgets) > 1 else None
            result.absorb(curve(task.on(who), job.curve, budgets[-1], radii, checks=not job.unchecked, black_box=job.black_box, **kept))
        for who in under if job.corrupted else []:  # a calibrated encoder brings its backbone's rows along
            part = audit_corrupted(task.on(who), corruptions_for(job.modality, task.space), budgets, **kept)
            part.checks = [one for one in part.checks if one not in result.checks]
            result.absorb(part)
        at = headline_index(budgets, task.space.name)
        for question in job.questions:
            rungs = budgets if question.everywhere else (budgets[at],)
            answering: Sequence[Encoder] = (calibrated if question.everywhere else calibrated[-1:]) or [encoder]
            asked = question.tasks(encoder, dataset, job.modality, task.space.name)
            for other, who in product(asked, answering):  # a calibrated audit brings its backbone's rows along
                alone = {"checks": question.checked, "black_box": job.black_box, "attack": question.attacks or job.attacks}
                part = audit(other.on(who), budget=rungs, **{**common, **alone})
                part.checks = part.checks if question.checked else []  # said once below
                result.absorb(part)
            if asked and not question.checked:
                result.checks.append(question.unchecked(f"{job.modality} {task.space.name}"))
        if job.gallery_items:
            attacks = stages_of(job.attacks, task, budgets, store.folder)
            examined = Examination(task, attacks, budgets, store, "whitebox", job.seed, job.batch_size, keep_examples=True)
            items, found = gallery(examined, at, calibrated, job.gallery_items)
            result.gallery += items
            arrays.update(found)
    # once more: what was found of an encoder touches its other tasks too
    result.rows = marked(result.rows, result.checks)
    for one in calibrated:
        # what was loaded may be of several
        result.calibrations += [record for record in one.records if record.modality == job.modality]
        if one.calibration in job.calibrations:
            one.results = tuple(row for row in result.rows if row.calibration in (one.calibration, "none") and row.modality == job.modality)
            one.save(out / "heads" / one.calibration / job.modality)
    store.close()
    result.record.update(job.about)
    tell("done", 1, 1)
    return Outcome(result, arrays)


def _explained(part: Result, unchecked: str) -> Result:
    """The result, its left-out checks with the reason why."""
    part.checks = [replace(one, detail=unchecked) if unchecked and one.status == "skipped" else one for one in part.checks]
    return part


def _tasks(job: Job, encoder: Encoder, dataset: Dataset, tell: Tell) -> list[ZeroShot]:
    spaces: Sequence[str | None] = job.spaces or (None,)
    build = partial(centers_for, modality=job.modality, prompts=job.prompts, centers=job.centers, options=job.encoder_options, tell=tell)
    return [replace(zero_shot(encoder, dataset, job.modality, space=space, limit=job.limit), build=build) for space in spaces]


def _calibrated(job: Job, encoder: Encoder, tasks: list[ZeroShot], out: Path, tell: Tell) -> list[Calibrated]:
    found = [from_pretrained(job.heads, encoder)] if job.heads else []
    for one in found:
        if job.modality not in one.modalities:
            raise InputError(f"--heads {job.heads} holds heads for {', '.join(one.modalities)}, not for {job.modality}")
        if one.calibration in job.calibrations:
            raise InputError(f"--heads {job.heads} were trained by {one.calibration!r}, and so would be others of this run; leave one of them out")
    train = job.train.load() if job.train is not None and job.calibrations else None
    made: list[Calibrated] = []
    for name in job.calibrations:
        recipe = replace(CALIBRATIONS[name](), seed=job.seed)
        recipe = recipe.within(job.train_steps) if job.train_steps else recipe
        samples = None if recipe.lives else job.train_samples
        made.append(calibrate(tasks, recipe, train, samples=samples, cache=out / "cache", batch_size=job.batch_size, progress=tell))
    return [*made, *found]


def _about_data(job: Job, dataset: Dataset) -> list[Check]:
    """What a loader had to say about the files, where it said something."""
    problems, notes = getattr(dataset, "problems", ()), getattr(dataset, "notes", ())
    found = (
        [Check("data", "files that cannot be read were left out", "warn", f"{len(problems)}: {'; '.join(problems)}", job.modality)]
        if problems
        else []
    )
    return found + [Check("data", "how the folder was taken", "pass", one, job.modality) for one in notes]
