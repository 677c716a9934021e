"""`jobs.json` of a run folder: its jobs as values, so that they can be built again."""

import dataclasses
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ironbind.core.errors import InputError
from ironbind.core.results import write_atomically
from ironbind.runs.job import Job, TrainingSpec

FILE = "jobs.json"
OWN = "ironbind."
"""Only classes of this package are built from a file: a run folder may come from anybody."""


@dataclasses.dataclass(frozen=True)
class StoredJob:
    """A job without its training, and the names of the calibrations that it trained: those lie in the run folder."""

    job: Job
    trained: tuple[str, ...] = ()


def write_jobs(jobs: Sequence[Job], folder: Path) -> None:
    """Writes the jobs; of one that holds objects of the user's own, why it cannot be built from a file."""
    entries = []
    for job in jobs:
        bare = dataclasses.replace(job, training=TrainingSpec(), about={})
        trained = tuple(recipe.name for recipe in job.training.recipes)
        try:
            entries.append(_encoded(StoredJob(bare, trained)))
        except TypeError as error:
            entries.append({"left_out": f"the {job.label} job holds {error}"})
    write_atomically(folder / FILE, json.dumps(entries, indent=1))


def read_jobs(folder: Path) -> list[StoredJob]:
    """The jobs of a run folder. Raises InputError where there is no such file, or one that does not hold them."""
    path = Path(folder) / FILE
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        left_out = [entry["left_out"] for entry in entries if "left_out" in entry]
        if left_out:
            raise InputError(f"{path}: {left_out[0]}; expected jobs=, the list that your function returns")
        jobs = [_decoded(entry) for entry in entries]
    except FileNotFoundError:
        raise InputError(
            f"{path} does not exist: the run is of an earlier version or of Python code; expected jobs=, or example() "
            "of the result that ironbind.audit returns"
        ) from None
    except (KeyError, TypeError, AttributeError, ImportError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} does not hold the jobs of a run of this version of ironbind ({error})") from error
    if not all(isinstance(job, StoredJob) for job in jobs):
        raise InputError(f"{path} does not hold the jobs of a run of this version of ironbind")
    return jobs


def _encoded(value: Any) -> Any:
    """The value as JSON. Raises TypeError for one that is made of something else than this package's values."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        return {"items": [_encoded(item) for item in value], "list": isinstance(value, list)}
    if isinstance(value, Mapping):
        return {"entries": [[_encoded(key), _encoded(item)] for key, item in value.items()]}
    kind = type(value)
    if dataclasses.is_dataclass(value) and kind.__module__.startswith(OWN):
        given = {each.name: _encoded(getattr(value, each.name)) for each in dataclasses.fields(value) if each.init}
        return {"class": f"{kind.__module__}:{kind.__qualname__}", "fields": given}
    raise TypeError(f"{kind.__module__}.{kind.__qualname__}, which is not a value of ironbind")


def _decoded(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "items" in value:
        items = [_decoded(item) for item in value["items"]]
        return items if value["list"] else tuple(items)
    if "entries" in value:
        return {_decoded(key): _decoded(item) for key, item in value["entries"]}
    module, _, name = value["class"].partition(":")
    kind = getattr(importlib.import_module(module), name) if module.startswith(OWN) and name.isidentifier() else None
    if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
        raise TypeError(f"{value['class']} is not a value of ironbind")
    return kind(**{key: _decoded(item) for key, item in value["fields"].items()})
