"""The recipe that examines test-time defences."""

from dataclasses import replace

from ironbind.core.default_budgets import HEADLINE, comparable
from ironbind.defences import DEFENCES
from ironbind.recipes.any_layout import classified
from ironbind.recipes.request import AuditRequest, refuse
from ironbind.runs.examined_defences import ExaminedDefence
from ironbind.runs.job import Job
from ironbind.types import Linf


def defences(request: AuditRequest, *, names: tuple[str, ...] = tuple(DEFENCES)) -> list[Job]:
    """Every defence of DEFENCES around the encoder (with `--heads` around the calibrated one), on the built-in world in
    all six modalities, or with `--data` on class folders or any `--layout`: clean, replayed, and against an adaptive
    attacker whom the audit chooses for each; at the headline radius, unless `--eps` names others. `--steps`: of every
    gradient attack (25). In Python, `names` chooses among the defences.
    """
    refuse(request, "defences", "attack")
    knobs = {} if request.steps is None else {"steps": request.steps}
    examined = tuple(ExaminedDefence(DEFENCES[name](), **knobs) for name in names)
    jobs = []
    for job in classified(request):
        budgets = job.budgets
        if not request.eps:
            budgets = {space: (comparable(Linf(HEADLINE), space),) for space in job.spaces}
        jobs.append(replace(job, budgets=budgets, defences=examined, gallery_items=0))
    return jobs
