"""Jobs -> one run folder. Runs jobs side by side in worker processes, merges their outcomes, writes result, table,
gallery and report.
"""

import io
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np

from ironbind.core.errors import InputError, writing
from ironbind.core.results import Result, write_atomically
from ironbind.evaluate.inputs.decode_workers import decoders
from ironbind.evaluate.provenance import about_run
from ironbind.evaluate.run_context import open_store
from ironbind.evaluate.store.verdicts_csv import verdicts_csv
from ironbind.numerics import ranks
from ironbind.runs.growing_page import GrowingPage
from ironbind.runs.job import Job
from ironbind.runs.progress import WHOLE, Listener, Progress, no_listener
from ironbind.runs.run_job import LOADING, Outcome, run_job
from ironbind.runs.stored_jobs.jobs_file import write_jobs
from ironbind.runs.used_folder import digest, used_folder


def run_jobs(
    jobs: Sequence[Job], out: Path, *, workers: int = 1, fresh: bool = False, listener: Listener = no_listener
) -> Path:
    """Runs the jobs, writes `result.json`, `table.csv`, `jobs.json`, `gallery.npz`, `report.html` and `report.md` into
    `out`, returns the report's path.

    With `workers` > 1 each job runs in a process of its own with one thread; a single job has its files decoded by so
    many processes. A run that is killed and started again continues from the verdicts stored in `out`; `fresh` forgets
    them. The first job that fails stops the run with its error; what was stored stays. Under a launcher of several
    ranks every rank calls this: each job's samples are dealt to them, the first rank writes the folder.
    """
    started, cpu, group = time.perf_counter(), time.process_time(), ranks.current()
    if len(set(group.gather(digest(jobs)))) > 1:
        raise InputError(f"the {group.size} ranks were asked for different audits; expected one command for all")
    workers = 1 if group.size > 1 else workers  # the ranks share every modality already
    store = open_store(out, fresh=fresh)  # raises for an unusable folder here, not in a worker
    stored, passes_before = store.counts()[0], store.passes()
    store.close()
    before = group.from_first(lambda: used_folder(out, jobs, stored))
    listener = _after_lines(before.lines, listener) if group.rank == 0 else no_listener
    try:
        if workers > 1 and len(jobs) > 1:
            outcomes, worker_cpu = _in_processes(jobs, out, min(workers, len(jobs)), listener)
        else:
            page = GrowingPage(out, jobs)
            with decoders(workers):
                outcomes = [
                    page.add(number, run_job(job, out, _progress_callback(job, listener)))
                    for number, job in enumerate(jobs)
                ]
                worker_cpu = 0.0
    except BrokenProcessPool as error:
        raise InputError(
            f"--workers {workers}: a worker process was ended from outside, mostly for want of memory; what was "
            "computed is stored, run the same command to continue, with fewer workers or a smaller --batch-size"
        ) from error
    result, arrays = Result(out.name), {}
    for outcome in outcomes:
        result.absorb(outcome.result)
        arrays.update(outcome.arrays)
    store = open_store(out)
    # passes of another audit whose verdicts lie in the same store are not this one's
    counted = passes_before if "replaced" in before.record else (0, 0)
    passes = zip(("gradient_passes", "forward_passes"), store.passes(), counted, strict=True)
    result.record.update({name: total - earlier for name, total, earlier in passes})
    result.record.update(about_run(jobs[0].seed), wall_seconds=round(time.perf_counter() - started, 2))
    result.record.update(before.record)
    seconds = group.gather(time.process_time() - cpu + worker_cpu)
    result.record["cpu_seconds"] = round(sum(seconds), 2)
    if group.size > 1:
        result.record["ranks"] = {
            "size": group.size, "backend": group.backend, "cpu_seconds": [round(each, 2) for each in seconds],
        }  # fmt: skip
    verdicts = verdicts_csv(store, result.rows)
    store.close()
    return group.from_first(lambda: _write(out, jobs, result, verdicts, arrays))


def _write(out: Path, jobs: Sequence[Job], result: Result, verdicts: str, arrays: dict[str, np.ndarray]) -> Path:
    """Writes everything that a run leaves beside its store, the numbers first: whatever fails afterwards costs a page,
    not a run. Returns the report's path.
    """
    from ironbind.report import write_report

    with writing(out):
        (out / "gallery.npz").unlink(missing_ok=True)  # pictures of an earlier run do not belong to these numbers
    result.write(out)
    write_atomically(out / "verdicts.csv", verdicts)
    write_jobs(jobs, out)
    try:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        write_atomically(out / "gallery.npz", buffer.getvalue())
        return write_report(out)
    except Exception as error:
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        raise InputError(
            f"{out}: result.json, table.csv and verdicts.csv are written, but the report failed ({reason}); "
            f"write it again with: ironbind report {out}"
        ) from error


def _after_lines(lines: Sequence[str], listener: Listener) -> Listener:
    """`listener`, and the lines on stderr once loading is done: where encoder, data or heads cannot be loaded, nothing
    is replaced, so that nothing is printed.
    """
    pending = [f"ironbind: {line}" for line in lines]

    def listen(progress: Progress) -> None:
        if progress.what != LOADING:
            while pending:
                print(pending.pop(0), file=sys.stderr, flush=True)
        listener(progress)

    return listen


def _progress_callback(job: Job, listener: Listener) -> Callable[[str, int, int], None]:
    return lambda what, done, total: listener(Progress(job.label, what, done, total))


# ------------------------------------------------------------------------------------------------------- processes

_events: Any = None  # in a worker: the queue its progress goes to


def _in_processes(jobs: Sequence[Job], out: Path, workers: int, listener: Listener) -> tuple[list[Outcome], float]:
    """Outcomes in the order of the jobs, and the CPU seconds of the workers. Raises InputError for a job that
    cannot travel to another process.
    """
    for job in jobs:
        try:
            pickle.dumps(job)
        except Exception as error:  # an object of the user's own may raise anything
            raise InputError(
                f"--workers {workers}: the {job.label} job cannot be handed to another process ({error}); expected "
                "classes and functions at the top level of a file, or --workers 1"
            ) from error
    context = multiprocessing.get_context("spawn")  # fork and torch's thread pools do not mix
    events: Any = context.Queue()
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_begin_worker, initargs=(events, os.getpid()))
    try:
        with _interrupts_held():
            futures = [pool.submit(_work, job, out) for job in jobs]
        page = GrowingPage(out, jobs)
        while not all(future.done() for future in futures):
            _drain(events, listener)
            for number, future in enumerate(futures):
                if future.done():
                    page.add(number, future.result()[0])  # a failed job ends the run now, not after the others
            time.sleep(0.1)
        _drain(events, listener)
        results = [future.result() for future in futures]
        return [outcome for outcome, _ in results], sum(seconds for _, seconds in results)
    except BaseException:
        for process in list((getattr(pool, "_processes", None) or {}).values()):
            process.terminate()  # what they have stored stays; the rest is not needed any more
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes that are started within the block never see Ctrl-C, which a terminal sends to all of them: this process
    ends them, and says so once.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # one that came meanwhile is delivered here


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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be held back; see _interrupts_held
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
        if done == total or what == WHOLE or now - last[0] > 0.2:
            last[0] = now
            _events.put(Progress(job.label, what, done, total))

    outcome = run_job(job, out, tell)
    return outcome, time.process_time() - cpu
