"""Jobs -> one run folder. Runs jobs side by side in worker processes, merges what they found, writes result, table,
gallery and report.
"""

import io
import multiprocessing
import os
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np

from ironbind.core.results import Result, write_atomically
from ironbind.evaluate.inputs.decode_workers import decoders
from ironbind.evaluate.provenance import about_run
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.store.verdicts_csv import write_verdicts
from ironbind.runs.job import Job
from ironbind.runs.progress import Listener, Progress, unheard
from ironbind.runs.run_job import Outcome, run_job
from ironbind.types import InputError


def run_jobs(
    jobs: Sequence[Job], out: Path, *, workers: int = 1, fresh: bool = False, listener: Listener = unheard
) -> Path:
    """Runs the jobs, writes `result.json`, `table.csv`, `gallery.npz`, `report.html` and `report.md` into `out`,
    returns the report's path.

    With `workers` > 1 each job runs in a process of its own with one thread; a single job has its files decoded by so
    many processes. A run that is killed and started again continues from the verdicts stored in `out`; `fresh` forgets
    them. The first job that fails stops the run with its error; what was stored stays.
    """
    from ironbind.report import write_report

    started, cpu = time.perf_counter(), time.process_time()
    VerdictStore(out, fresh=fresh).close()  # a folder that cannot be used shows now, not in a worker
    if workers > 1 and len(jobs) > 1:
        outcomes, worker_cpu = _in_processes(jobs, out, min(workers, len(jobs)), listener)
    else:
        with decoders(workers):
            outcomes, worker_cpu = [run_job(job, out, _teller(job, listener)) for job in jobs], 0.0
    result, arrays = Result(out.name), {}
    for outcome in outcomes:
        result.absorb(outcome.result)
        arrays.update(outcome.arrays)
    store = VerdictStore(out)
    result.record["gradient_passes"], result.record["forward_passes"] = store.passes()
    write_verdicts(store, result.rows, out)
    store.close()
    result.record.update(about_run(jobs[0].seed), wall_seconds=round(time.perf_counter() - started, 2))
    result.record["cpu_seconds"] = round(time.process_time() - cpu + worker_cpu, 2)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    write_atomically(out / "gallery.npz", buffer.getvalue())
    result.write(out)
    return write_report(out)


def _teller(job: Job, listener: Listener) -> Callable[[str, int, int], None]:
    return lambda what, done, total: listener(Progress(job.label, what, done, total))


# ------------------------------------------------------------------------------------------------------- processes

_events: Any = None  # in a worker: the queue its progress goes to


def _in_processes(jobs: Sequence[Job], out: Path, workers: int, listener: Listener) -> tuple[list[Outcome], float]:
    """Outcomes in the order of the jobs, and the CPU seconds that the workers spent. Raises InputError for a job that
    cannot travel to another process.
    """
    for job in jobs:
        try:
            pickle.dumps(job)
        except Exception as error:  # whatever an object of the user's own raises
            raise InputError(
                f"--workers {workers}: the {job.label} job cannot be handed to another process ({error}); expected "
                "classes and functions at the top level of a file, or --workers 1"
            ) from error
    context = multiprocessing.get_context("spawn")  # fork and torch's thread pools do not mix
    events: Any = context.Queue()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(events, os.getpid()))
    try:
        futures = [pool.submit(_work, job, out) for job in jobs]
        while not all(one.done() for one in futures):
            _drain(events, listener)
            for one in futures:
                if one.done():
                    one.result()  # a failed job ends the run now, not after the others
            time.sleep(0.1)
        _drain(events, listener)
        found = [one.result() for one in futures]
        return [outcome for outcome, _ in found], sum(seconds for _, seconds in found)
    except BaseException:
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()  # what they have stored stays; the rest is not wanted any more
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _drain(events: Any, listener: Listener) -> None:
    while True:
        try:
            listener(events.get_nowait())
        except Empty:
            return


def _begin_worker(events: Any, parent: int) -> None:
    """One thread per worker, progress to the queue, and no orphan: a worker ends when the process that started it is
    gone.
    """
    import torch

    global _events
    _events = events
    torch.set_num_threads(1)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _work(job: Job, out: Path) -> tuple[Outcome, float]:
    """Runs in a worker: the outcome and the CPU seconds it took."""
    cpu = time.process_time()
    last = [0.0]

    def tell(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - last[0] > 0.2:
            last[0] = now
            _events.put(Progress(job.label, what, done, total))

    outcome = run_job(job, out, tell)
    return outcome, time.process_time() - cpu
