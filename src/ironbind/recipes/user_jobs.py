"""A function of the user's own that returns jobs: `ironbind audit FILE.py:FUNCTION`."""

import inspect
import sys
from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from ironbind.core.user_code import raised, user_function
from ironbind.recipes.request import AuditRequest
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.job import Job
from ironbind.types import InputError


def user_jobs(name: str, request: AuditRequest) -> list[Job]:
    """The jobs of the function called `name`. It is handed the request where it takes an argument. Raises InputError
    for a function that cannot be imported, that needs other arguments, that returns something else, or that takes no
    request although options were chosen.
    """
    function = user_function(name, "recipe")
    signature = inspect.signature(function)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    arguments = [request] if any(parameter.kind in kinds for parameter in signature.parameters.values()) else []
    try:
        signature.bind(*arguments)
    except TypeError as error:
        raise InputError(
            f"recipe {name}: {error}; expected a function of one argument, the request, or of none"
        ) from None
    chosen = (
        []
        if arguments
        else [*_chosen_options(request.encoder, EncoderSpec()), *_chosen_options(request, AuditRequest())]
    )
    if chosen:
        raise InputError(
            f"recipe {name}: takes no request, so that it cannot use {', '.join(chosen)}; expected a function of one "
            "argument, or none of these options"
        )
    try:
        returned = function(*arguments)
    except SystemExit as error:  # the command would end as if all were well, with nothing run
        raise InputError(f"recipe {name}: ended the program ({error}); expected it to return jobs") from None
    except InputError:
        raise
    except Exception as error:  # whatever the user's function raises
        raise InputError(f"recipe {name}: raised {raised(error)}") from error
    jobs = [returned] if isinstance(returned, Job) else returned
    if not isinstance(jobs, Iterable) or isinstance(jobs, str):
        raise InputError(f"recipe {name}: returns {type(returned).__name__}; expected a list of ironbind.Job")
    jobs = list(jobs)
    wrong = next((job for job in jobs if not isinstance(job, Job)), None)
    if wrong is not None or not jobs:
        what = "no job" if wrong is None else type(wrong).__name__
        raise InputError(f"recipe {name}: returns {what} in its list; expected at least one ironbind.Job")
    others = [job.modality for job in jobs if request.modalities and job.modality not in request.modalities]
    if others:
        print(
            f"ironbind: recipe {name} returns jobs of {', '.join(dict.fromkeys(others))} although --modality is "
            f"{','.join(request.modalities)}; they are run as they are",
            file=sys.stderr,
        )
    return jobs


OPTION = {"modalities": "modality", "data_options": "data-option", "batch_size": "batch-size", "name": "encoder"}
"""Fields whose option on the command line is called otherwise."""


def _chosen_options(value: Any, default: Any) -> list[str]:
    """The options on the command line that differ from what is left out."""
    names = [field.name for field in fields(value) if not isinstance(getattr(value, field.name), EncoderSpec)]
    return [f"--{OPTION.get(name, name)}" for name in names if getattr(value, name) != getattr(default, name)]
