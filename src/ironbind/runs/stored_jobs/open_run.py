"""A run folder opened from Python: its result, and the adversarial examples behind its verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.core.default_budgets import default_budgets, headline_index
from ironbind.core.errors import InputError
from ironbind.core.results import Result, Row
from ironbind.evaluate.accuracy_curve import curve_evaluators
from ironbind.evaluate.attack_variants import attacks_for
from ironbind.evaluate.audit import audit_evaluators
from ironbind.evaluate.audit_corrupted import corruption_evaluators, strengths_of
from ironbind.evaluate.audit_defended import defence_evaluators, twin_evaluator
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.run_context import RunContext, run_context
from ironbind.evaluate.store.verdicts_csv import PLACE
from ironbind.evaluate.tasks.caught import Caught
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.evaluate.verdict_examples import Example, examples_behind, only_place
from ironbind.modalities.corruptions import corruptions_for
from ironbind.runs.examined_defences import examined_in
from ironbind.runs.job import Job
from ironbind.runs.run_job import trained_folder, zero_shot_tasks
from ironbind.runs.stored_jobs.jobs_file import StoredJob, read_jobs
from ironbind.types import Budget, Encoder, Task, calibration_of, title_of


def open_run(folder: Path | str, jobs: Sequence[Job] | None = None) -> Result:
    """The result of a finished run; its `example(sample, eps=..., ...)` gives the example behind a verdict.

    `jobs`: those of the run, where they cannot be read from the folder: jobs with attacks of your own, runs of earlier
    versions. Encoder, data and heads are loaded when an example is asked for, from where the run had them: relative
    paths are those of the folder in which it was started. Raises InputError for a folder that holds no result.
    """
    folder = Path(folder)
    result = Result.read(folder)
    given = None if jobs is None else tuple(_stored(job) for job in jobs)
    result.source = _FolderExamples(folder, given)
    return result


def _stored(job: Job) -> StoredJob:
    return StoredJob(job, tuple(recipe.name for recipe in job.training.recipes))


@dataclass(frozen=True)
class _FolderExamples:
    """The examples of a run folder. `jobs`: None for those of its file."""

    folder: Path
    jobs: tuple[StoredJob, ...] | None = None

    def examples(self, rows: Sequence[Row], samples: Sequence[str] | None, **where: Any) -> list[Example]:
        place = dict(zip(PLACE, only_place(rows, where), strict=True))
        jobs = read_jobs(self.folder) if self.jobs is None else self.jobs
        if not (self.folder / "verdicts.sqlite").is_file():
            raise InputError(f"{self.folder} holds no verdicts.sqlite; expected the whole run folder")
        parts = [JobEvaluators(self.folder, job, place) for job in jobs if job.job.modality == place["modality"]]

        def make(context: RunContext) -> list[Evaluator]:
            return [evaluator for part in parts for evaluator in part(context)]

        with run_context(out=self.folder) as context:
            return examples_behind(rows, make, context, samples, **where)


@dataclass(frozen=True)
class JobEvaluators:
    """The evaluators of a job that may have decided one number of the table, as `run_job` makes them."""

    folder: Path
    stored: StoredJob
    place: dict[str, str]

    def __call__(self, context: RunContext) -> list[Evaluator]:
        job, place = self.stored.job, self.place
        context = replace(context, seed=job.seed, batch_size=job.batch_size)
        encoder, dataset = job.towers.load(), job.data.load()
        (task,) = zero_shot_tasks(job, encoder, dataset, (place["space"],))
        calibrated = self._calibrated(encoder)
        # the audit of a calibrated encoder decides its backbone's numbers too
        chosen = [each for each in (encoder, *calibrated) if place["calibration"] in ("none", calibration_of(each))]
        budgets = tuple(sorted(job.budgets.get(task.space.name) or default_budgets(task.space.name), key=_radius))
        keep = bool(calibrated or job.defences) or job.gallery_items > 0
        evaluators: list[Evaluator] = []
        if job.defences and place["encoder"] != title_of(encoder):
            return self._defended(task.on((encoder, *calibrated)[-1]), budgets, context)
        for each in chosen:
            own = task.on(each)
            if place["task"] != task.name:
                for other, attacks, everywhere in self._extra_tasks(encoder, task):
                    at = budgets if everywhere else (budgets[headline_index(budgets, task.space.name)],)
                    evaluators += audit_evaluators(
                        other.on(each), attacks, at, context, job.threat_model, top_k=job.top_k
                    )
            elif place["threat_model"] == "corrupted":
                strengths = strengths_of(corruptions_for(job.modality, task.space), budgets)
                evaluators += corruption_evaluators(own, strengths, context)
            else:
                if job.attacks:
                    evaluators += audit_evaluators(
                        own, job.attacks, budgets, context, job.threat_model, keep, job.top_k
                    )
                if job.curve:
                    radii = budgets if len(budgets) > 1 else None
                    evaluators += curve_evaluators(own, job.curve, budgets[-1], radii, context)
        return evaluators

    def _defended(self, task: ZeroShot, budgets: tuple[Budget, ...], context: RunContext) -> list[Evaluator]:
        """Those of the defence that the number is about, on its first draw, after those of the undefended encoder."""
        job, caught = self.stored.job, self.place["task"] != task.name
        twin = twin_evaluator(task, attacks_for(task, job.attacks, budgets, self.folder), budgets, context)
        evaluators = [twin]
        for each in examined_in(job.defences, task, context)[0]:
            if title_of(each.draws[0]) == self.place["encoder"]:
                own = defence_evaluators(task, [twin], each, budgets, context)
                evaluators += [own.replayed[0], own.adaptive[0]]
                if caught and each.flagging is not None:
                    asked: Any = Caught(task)
                    own = defence_evaluators(asked, [twin, own.adaptive[0]], each.flagging, budgets, context)
                    evaluators += [own.replayed[0], own.adaptive[0]]
        return evaluators

    def _calibrated(self, encoder: Encoder) -> list[Calibrated]:
        """Those that the run trained, from its folder, then the one that it loaded."""
        job = self.stored.job
        folders = [trained_folder(self.folder, name, job.modality) for name in self.stored.trained]
        loaded = job.towers.load_heads()
        return [*(load_calibrated(encoder, folder) for folder in folders), *([loaded] if loaded else [])]

    def _extra_tasks(self, encoder: Encoder, task: Task) -> list[tuple[Task, Any, bool]]:
        job = self.stored.job
        return [
            (other, extra.attacks or job.attacks, extra.everywhere)
            for extra in job.extra_tasks
            for other in extra.tasks(encoder, task.dataset, job.modality, task.space.name)
            if other.name == self.place["task"]
        ]


def _radius(budget: Any) -> float:
    return float(budget.radius)
