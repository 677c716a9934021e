"""The page of a run that has not ended: what is finished so far, marked as unfinished."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ironbind.core.results import Result
from ironbind.numerics import ranks
from ironbind.runs.job import Job
from ironbind.runs.run_job import Outcome


class GrowingPage:
    """Rewrites `report.html` in `out` with every job that ends but the last one, after which the run writes its own.

    The page names the jobs that are missing. No other file is written: tables hold whole runs only.
    """

    def __init__(self, out: Path, jobs: Sequence[Job]) -> None:
        self.out, self.jobs = out, jobs
        self._done: dict[int, Outcome] = {}

    def add(self, number: int, outcome: Outcome) -> Outcome:
        """The outcome of `jobs[number]`, which is on the page from now on. A page that cannot be written is left out:
        it must not end a run.
        """
        if number in self._done or ranks.current().rank:  # the first of several ranks writes
            return outcome
        self._done[number] = outcome
        if len(self._done) < len(self.jobs):
            from ironbind.report import write_unfinished

            result, arrays = Result(self.out.name), dict[str, np.ndarray]()
            for _, done in sorted(self._done.items()):
                result.absorb(done.result)
                arrays.update(done.arrays)
            missing = [job.label for number, job in enumerate(self.jobs) if number not in self._done]
            try:
                write_unfinished(result, arrays, missing, self.out)
            except Exception:  # noqa: BLE001 - whatever it is, the run's own report says it in the end
                return outcome
        return outcome
