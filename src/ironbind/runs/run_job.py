"""Runs a job: loads, calibrates, audits every encoder of it in every space, and collects the results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from ironbind.calibration.calibrate import calibrate, training_split
from ironbind.calibration.calibrated import Calibrated
from ironbind.core.default_budgets import default_budgets, headline_index, headline_of
from ironbind.core.results import Check, Result
from ironbind.evaluate.accuracy_curve import curve
from ironbind.evaluate.attack_variants import attacks_for
from ironbind.evaluate.audit import audit
from ironbind.evaluate.audit_corrupted import audit_corrupted
from ironbind.evaluate.checks import with_check_codes
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.gallery_items import gallery
from ironbind.evaluate.protocols.certified import certified
from ironbind.evaluate.protocols.white_box import WhiteBox
from ironbind.evaluate.run_context import ProgressCallback, RunContext, no_progress, run_context
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.modalities.corruptions import corruptions_for
from ironbind.numerics import ranks
from ironbind.numerics.networks import device_of
from ironbind.runs.center_cache import centers_for
from ironbind.runs.defaults import CERTIFICATE_ATTACK
from ironbind.runs.examined_defences import defended_part
from ironbind.runs.job import Job
from ironbind.runs.progress import WHOLE
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.types import Budget, CalibrationRecipe, Dataset, Encoder, InputError, Task

LOADING = "load"
"""The progress message while encoder, data and trained parts are loaded."""


@dataclass
class Outcome:
    """The outcome of a job: its part of the result, and the arrays of its gallery items."""

    result: Result
    arrays: dict[str, np.ndarray]


def run_job(job: Job, out: Path, progress: ProgressCallback = no_progress) -> Outcome:
    """Runs the whole job; verdicts, caches and heads go to `out`, so that a killed job continues. Raises InputError for
    a mistake of the user.
    """
    progress(LOADING, 0, 1)
    encoder, dataset = job.towers.load(), job.data.load()
    ranks.refuse_unlike(weights=encoder.weights_sha256, data=dataset.fingerprint)
    loaded, training = _loaded(job), _training_data(job, dataset)  # whatever is wrong with them ends the job now
    options = {"seed": job.seed, "batch_size": _batch_size(job, encoder), "black_box": job.checks.black_box}
    with run_context(out=out, progress=progress, **options) as context:  # type: ignore[arg-type]
        tasks = zero_shot_tasks(job, encoder, dataset, job.spaces or (None,), progress)
        parts = _Parts(
            len(tasks) * (2 + len(job.training.recipes) + bool(loaded) + bool(job.defences))
            + len(job.training.recipes),
            progress,
        )
        # the uncalibrated encoder first: its numbers need no training
        uncalibrated: list[Result] = []
        for task in tasks if job.attacks else ():
            uncalibrated.append(_audited(job, task, task.encoder, context, parts))
            progress(_first_number(task, uncalibrated[-1]), 0, 0)
        calibrated = _calibrated(job, tasks, training, context, parts)
        calibrated += [loaded] if loaded else []
        outcome = Outcome(Result(job.modality, checks=_data_checks(job, dataset)), {})
        for task in tasks:
            audited = [uncalibrated.pop(0)] if uncalibrated else []
            _evaluate(job, task, audited, calibrated, outcome, context, parts)
        result = outcome.result
        # once more: the checks of an encoder concern its other tasks too
        result.rows = with_check_codes(result.rows, result.checks)
        trained = {recipe.name for recipe in job.training.recipes}
        for each in calibrated:
            # loaded heads may be of several modalities
            result.calibrations += [record for record in each.records if record.modality == job.modality]
            if each.calibration in trained:
                own = (each.calibration, "none")
                each.results = tuple(
                    row for row in result.rows if row.calibration in own and row.modality == job.modality
                )
                folder = trained_folder(out, each.calibration, job.modality)
                ranks.current().from_first(lambda each=each, folder=folder: each.save(folder))  # type: ignore[misc]
        result.record.update(job.about)
    progress("done", 1, 1)
    return outcome


def _batch_size(job: Job, encoder: Encoder) -> int:
    """The job's, or on a CPU the largest that the encoder gains from. It changes no result."""
    largest = getattr(encoder, "rows_at_once", None)
    return min(job.batch_size, largest) if largest and device_of(encoder).type == "cpu" else job.batch_size


def trained_folder(out: Path, calibration: str, modality: str) -> Path:
    """Where a run keeps what it trained."""
    return out / "heads" / calibration / modality


class _Parts:
    """Counts the parts of a job that are done, for estimates of how long it takes."""

    def __init__(self, total: int, progress: ProgressCallback) -> None:
        self.done, self.total, self.progress = 0, total, progress

    def finished(self) -> None:
        self.done = min(self.done + 1, self.total)
        self.progress(WHOLE, self.done, self.total)


def _audited(job: Job, task: ZeroShot, encoder: Encoder, context: RunContext, parts: _Parts) -> Result:
    """The zero-shot audit of one encoder in one space. Strong examples are kept where replay or the gallery wants
    them.
    """
    budgets = _budgets(job, task)
    context.progress(f"audit {task.space.name}", 0, 1)
    keep = bool(job.training.recipes or job.defences) or job.encoder.heads is not None or job.gallery_items > 0
    part = audit(
        task.on(encoder), job.attacks, budgets, context,
        threat_model=job.threat_model, keep_examples=keep, checks=not job.checks.left_out, top_k=job.top_k,
    )  # fmt: skip
    part.checks = [_with_reason(check, job.checks.left_out) for check in part.checks]
    parts.finished()
    return part


def _budgets(job: Job, task: ZeroShot) -> tuple[Budget, ...]:
    space = task.space.name
    return tuple(sorted(job.budgets.get(space) or default_budgets(space), key=lambda budget: budget.radius))


def _first_number(task: ZeroShot, part: Result) -> str:
    """What an audit of the uncalibrated encoder found, in one line."""
    rows = [row for row in part.rows if row.metric == task.metrics[0][0]]
    clean, attacked = ([row for row in rows if (row.threat_model == "clean") == without] for without in (True, False))
    eps = headline_of([row.eps for row in attacked], task.space.name)
    (at,) = [row for row in attacked if row.eps == eps]
    interval = f"{at.ci_low:.0f} to {at.ci_high:.0f}"
    return (
        f"{task.space.name}: {clean[0].value:.1f} % clean, {at.value:.1f} % ({interval}) attacked at {eps}, n = {at.n}"
    )


def _evaluate(
    job: Job,
    task: ZeroShot,
    uncalibrated: Sequence[Result],
    calibrated: Sequence[Calibrated],
    outcome: Outcome,
    context: RunContext,
    parts: _Parts,
) -> None:
    """All evaluations of the job in one space, of which `uncalibrated` are done already."""
    result, space, checks = outcome.result, task.space.name, not job.checks.left_out
    budgets = _budgets(job, task)
    encoders: Sequence[Encoder] = [task.encoder, *calibrated]
    for part in uncalibrated:
        result.absorb(part)
    for each in calibrated if job.attacks else ():
        result.absorb(_audited(job, task, each, context, parts))
    for encoder in encoders if job.curve else ():  # one call for each, as each has checks of its own
        radii = budgets if len(budgets) > 1 else None
        result.absorb(curve(task.on(encoder), job.curve, budgets[-1], radii, context, checks=checks))
    for encoder in (calibrated or encoders) if job.corrupted else ():  # calibrated ones bring their backbone's rows
        part = audit_corrupted(task.on(encoder), corruptions_for(job.modality, task.space), budgets, context)
        part.checks = [check for check in part.checks if check not in result.checks]
        result.absorb(part)
    for asked, encoder in product(_to_certify(job, task), calibrated or encoders):  # as above
        result.absorb(_certified(job, asked.on(encoder), context))
    if job.defences:
        result.absorb(defended_part(job.defences, task.on(encoders[-1]), job.attacks, budgets, context, checks))
        parts.finished()
    at = headline_index(budgets, space)
    _ask_extra_tasks(job, task, calibrated, (budgets, budgets[at]), result, context)
    if job.gallery_items:
        attacks = attacks_for(task, job.attacks, budgets, context.store.folder)
        evaluator = Evaluator(task, WhiteBox(attacks, budgets, keep_examples=True, top_k=job.top_k), context)
        items, arrays = gallery(evaluator, at, calibrated, job.gallery_items)
        result.gallery += items
        outcome.arrays.update(arrays)
    parts.finished()


def _to_certify(job: Job, task: ZeroShot) -> list[Task]:
    """What the job certifies: its zero-shot task, and others of the same data."""
    if job.certificate is None:
        return []
    others = [
        asked
        for extra in job.certificate.extra_tasks
        for asked in extra.tasks(task.encoder, task.dataset, job.modality, task.space.name)
    ]
    return [*([task] if job.certificate.classes else []), *others]


def _certified(job: Job, task: Task, context: RunContext) -> Result:
    assert job.certificate is not None
    spec = job.certificate
    return certified(task, spec.certifier, spec.radii[task.space.name], context, attack=CERTIFICATE_ATTACK)


def _ask_extra_tasks(
    job: Job,
    task: ZeroShot,
    calibrated: Sequence[Calibrated],
    budgets: tuple[tuple[Budget, ...], Budget],
    result: Result,
    context: RunContext,
) -> None:
    """`budgets`: all of them, and the headline one."""
    for extra in job.extra_tasks:
        strengths = budgets[0] if extra.everywhere else (budgets[1],)
        encoders: Sequence[Encoder] = (calibrated if extra.everywhere else calibrated[-1:]) or [task.encoder]
        tasks = extra.tasks(task.encoder, task.dataset, job.modality, task.space.name)
        for other, encoder in product(tasks, encoders):  # a calibrated audit brings its backbone's rows along
            attacks = extra.attacks or job.attacks
            part = audit(
                other.on(encoder),
                attacks,
                strengths,
                context,
                threat_model=job.threat_model,
                checks=extra.checked,
                top_k=job.top_k,
            )
            part.checks = part.checks if extra.checked else []  # one entry for all, below
            result.absorb(part)
        if tasks and not extra.checked:
            result.checks.append(extra.skipped_check(f"{job.modality} {task.space.name}"))


def _with_reason(check: Check, why: str) -> Check:
    """A check that was left out, with the reason."""
    return replace(check, detail=why) if why and check.status == "skipped" else check


def zero_shot_tasks(
    job: Job,
    encoder: Encoder,
    dataset: Dataset,
    spaces: Sequence[str | None],
    progress: ProgressCallback = no_progress,
) -> list[ZeroShot]:
    """The zero-shot task of a job in each of these spaces (None: the encoder's default one)."""
    build = partial(
        centers_for, modality=job.modality, prompts=job.centers.prompts, centers=job.centers.file,
        options=job.encoder.options, progress=progress,
    )  # fmt: skip
    return [
        replace(zero_shot(encoder, dataset, job.modality, space=space, limit=job.data.attacked), build=build)
        for space in spaces
    ]


def _loaded(job: Job) -> Calibrated | None:
    """The calibrated encoder that the job loads. Raises InputError where it does not fit the job."""
    loaded, heads = job.towers.load_heads(), job.encoder.heads
    if loaded is not None and job.modality not in loaded.modalities:
        raise InputError(f"--heads {heads} holds heads for {', '.join(loaded.modalities)}, not for {job.modality}")
    if loaded is not None and loaded.calibration in [recipe.name for recipe in job.training.recipes]:
        raise InputError(
            f"--heads {heads} were trained by {loaded.calibration!r}, and so would be others of this run; "
            "leave one of them out"
        )
    return loaded


def _recipes(job: Job) -> list[CalibrationRecipe]:
    """Those that the job trains, with its seed and as short as it says."""
    training = job.training
    recipes = [replace(named, seed=job.seed) for named in training.recipes]
    return [recipe.within(training.steps) if training.steps else recipe for recipe in recipes]


def _training_data(job: Job, dataset: Dataset) -> list[Dataset]:
    """What each recipe trains on; those that want as many samples of the data set's training split share them. Raises
    InputError where there is none.
    """
    training, splits = job.training, dict[int, Dataset]()
    data = training.data.load() if training.data is not None and training.recipes else None
    every: list[Dataset] = []
    for recipe in _recipes(job):
        own = recipe.uses_adversarial_training and not training.shared
        count = recipe.samples if own else training.samples or recipe.samples
        if data is None and count not in splits:
            splits[count] = training_split(dataset, count)
        every.append(splits[count] if data is None else data)
    return every


def _calibrated(
    job: Job, tasks: Sequence[ZeroShot], data: Sequence[Dataset], context: RunContext, parts: _Parts
) -> list[Calibrated]:
    """Those that the job trains."""
    trained: list[Calibrated] = []
    for recipe, dataset in zip(_recipes(job), data, strict=True):
        cache = context.store.folder / "cache"
        trained.append(
            calibrate(
                tasks, recipe, dataset, cache=cache, batch_size=context.batch_size, progress=context.progress
            )
        )  # fmt: skip
        parts.finished()
    return trained


def _data_checks(job: Job, dataset: Dataset) -> list[Check]:
    """The notes and problems of a loader, as checks; [] where it has none."""
    problems, notes = getattr(dataset, "problems", ()), getattr(dataset, "notes", ())
    checks = [Check("data", "how the folder was taken", "pass", note, job.modality) for note in notes]
    if not problems:
        return checks
    detail = f"{len(problems)}: {'; '.join(problems)}"
    return [Check("data", "files that look like samples were left out", "warn", detail, job.modality), *checks]
