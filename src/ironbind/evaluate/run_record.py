"""What every audit has around it, whatever it asks."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ironbind.core.results import Result
from ironbind.evaluate.checks import marked
from ironbind.evaluate.provenance import about_encoder, about_run, stopwatch
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.evaluate.store.verdicts_csv import write_verdicts
from ironbind.evaluate.tasks.class_centers import center_checks
from ironbind.numerics.networks import frozen
from ironbind.types import InputError, Task


@contextmanager
def recorded(
    task: Task, *, out: Path | str | None, store: VerdictStore | None, seed: int, fresh: bool
) -> Iterator[tuple[Result, VerdictStore]]:
    """What every audit has around it: a result to fill, the store of its verdicts, an encoder that holds still;
    afterwards the marks of checks on rows, versions, seconds, passes, and the files of the run folder. Raises
    InputError for data without samples, or without an id for each."""
    if not len(task):
        raise InputError(f"data set {task.dataset.name!r} holds no sample to audit")
    if len(set(task.dataset.ids)) != len(task.dataset):
        twice = next(one for one, count in Counter(task.dataset.ids).items() if count > 1)
        raise InputError(
            f"data set {task.dataset.name!r} calls several samples {twice!r}; verdicts need an id of its own for every sample"
        )
    own = store is None
    kept = store or VerdictStore(Path(out) if out is not None else None, fresh=fresh)
    result = Result(name=Path(out).name if out else task.name)
    with stopwatch(result.record), frozen(task.encoder):
        yield result, kept
        result.checks += center_checks(task)
    result.rows = marked(result.rows, result.checks)
    gradient, forward = kept.passes()
    result.record.update(
        about_run(seed), encoder=about_encoder(task.encoder), gradient_passes=gradient, forward_passes=forward
    )
    result.record.update(
        data=task.dataset.name, data_fingerprint=task.dataset.fingerprint, classes=len(task.dataset.classes)
    )
    if out is not None:
        result.write(Path(out))
        write_verdicts(kept, result.rows, Path(out))
    if own:
        kept.close()
