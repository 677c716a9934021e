"""A run folder that is not empty: what a run keeps of it, and what it replaces, reported before the run starts.

Stored verdicts are never mixed up, as each lies under a hash of everything that decides it. Table, report and gallery
are of one run only: the latest.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, NamedTuple

from ironbind.core.errors import InputError
from ironbind.core.results import Result
from ironbind.runs.job import Job


class UsedFolder(NamedTuple):
    """What the run folder held before. `lines`: for the user, before the run starts; `record`: facts for the record of
    the run."""

    lines: tuple[str, ...]
    record: dict[str, Any]


def used_folder(out: Path, jobs: Sequence[Job], verdicts: int) -> UsedFolder:
    """What `jobs` find in the folder `out`, whose store holds so many `verdicts`.

    The same jobs as those of its result, or a run that was stopped before its first result: they are continued. Other
    jobs: their result replaces the one that is there.
    """
    jobs_sha256 = digest(jobs)
    record: dict[str, Any] = {"jobs_sha256": jobs_sha256}
    if verdicts:
        record["verdicts_stored_before"] = verdicts
    kept_line = f"{verdicts:,} stored verdicts stay, and those that apply are not computed again" if verdicts else ""
    if not (out / "result.json").exists():
        return UsedFolder((f"{out}: {kept_line}",) if kept_line else (), record)
    try:
        before = Result.read(out)
    except InputError as error:
        what = f"a result that cannot be read ({error})"
    else:
        if before.record.get("jobs_sha256") == jobs_sha256:
            return UsedFolder((f"{out}: the same audit as before; {kept_line}",) if kept_line else (), record)
        what = describe(before)
    record["replaced"] = what
    line = f"{out} holds {what}; this run replaces table, report and gallery when it ends"
    return UsedFolder((f"{line}; {kept_line}" if kept_line else line,), record)


def describe(result: Result) -> str:
    """What a result is about, in a few words."""
    encoders = ", ".join(dict.fromkeys(row.encoder for row in result.rows))
    modalities = ", ".join(dict.fromkeys(row.modality for row in result.rows))
    budgets = list(dict.fromkeys(row.eps for row in result.rows if row.eps != "0"))
    data = result.record.get("data", "unnamed data")
    attacked = f" at {', '.join(budgets) if len(budgets) < 5 else f'{budgets[0]} to {budgets[-1]}'}" if budgets else ""
    origin = "another audit" if "jobs_sha256" in result.record else "an audit of an earlier version or of Python code"
    date = str(result.record.get("date", "no date"))[:10]
    return f"{origin} ({len(result.rows)} rows of {date}: {encoders} on {data}, {modalities}{attacked})"


def digest(jobs: Sequence[Job]) -> str:
    """A hash of everything that decides the results of the jobs, the same in every process."""
    # device and batch size change how long a job takes, never its result
    anywhere = [replace(job, batch_size=0, encoder=replace(job.encoder, device=None)) for job in jobs]
    descriptions = [{field.name: _written(getattr(job, field.name)) for field in fields(job)} for job in anywhere]
    return hashlib.sha256(json.dumps(descriptions, sort_keys=True).encode()).hexdigest()[:16]


def _written(value: Any) -> str:
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))  # addresses of functions differ from process to process
