"""A function of the user's own that returns jobs: `ironbind audit FILE.py:FUNCTION`."""

import inspect
from collections.abc import Iterable
from dataclasses import fields

from ironbind.core.user_code import user_function
from ironbind.recipes.request import AuditRequest
from ironbind.runs.job import Job
from ironbind.types import InputError


def user_jobs(name: str, request: AuditRequest) -> list[Job]:
    """The jobs of the function called `name`. It is handed the request where it takes an argument. Raises InputError
    for a function that cannot be imported, that returns something else, or that takes no request although options were
    chosen.
    """
    function = user_function(name, "recipe")
    takes = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if not takes and request != AuditRequest():
        plain = AuditRequest()
        chosen = [field.name for field in fields(plain) if getattr(request, field.name) != getattr(plain, field.name)]
        raise InputError(
            f"recipe {name}: takes no request, so that it cannot use {', '.join(chosen)}; expected a function of one "
            "argument, or none of these options"
        )
    returned = function(request) if takes else function()
    jobs = [returned] if isinstance(returned, Job) else returned
    if not isinstance(jobs, Iterable) or isinstance(jobs, str):
        raise InputError(f"recipe {name}: returns {type(returned).__name__}; expected a list of ironbind.Job")
    jobs = list(jobs)
    wrong = next((job for job in jobs if not isinstance(job, Job)), None)
    if wrong is not None or not jobs:
        what = "no job" if wrong is None else type(wrong).__name__
        raise InputError(f"recipe {name}: returns {what} in its list; expected at least one ironbind.Job")
    return jobs
