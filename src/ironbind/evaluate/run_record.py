"""What every evaluation records beside its numbers: time, versions, passes, checks of the data."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from ironbind.core.results import Result
from ironbind.evaluate.checks import with_check_codes
from ironbind.evaluate.data_remarks import remark_checks
from ironbind.evaluate.preparation import changed_preparation
from ironbind.evaluate.provenance import about_encoder, about_run, stopwatch
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.tasks.class_centers import center_checks
from ironbind.numerics.batching import counted_padding
from ironbind.numerics.networks import frozen
from ironbind.types import InputError, Task


@contextmanager
def recorded_result(task: Task, context: RunContext) -> Iterator[Result]:
    """A result to fill while the encoder is frozen; afterwards the marks of checks on rows, versions, seconds, passes,
    and `padding_rows`, the rows that were computed beside those passes to fill batches. Raises InputError for data
    without samples, or without an id for each.
    """
    if not len(task):
        raise InputError(f"data set {task.dataset.name!r} holds no sample to audit")
    if len(set(task.dataset.ids)) != len(task.dataset):
        twice = next(sample for sample, count in Counter(task.dataset.ids).items() if count > 1)
        raise InputError(
            f"data set {task.dataset.name!r} calls several samples {twice!r}; verdicts need an id of its own "
            "for every sample"
        )
    result = Result(name=task.name)
    with stopwatch(result.record), frozen(task.encoder), counted_padding() as padding:
        yield result
        result.checks += center_checks(task)
        result.checks += [*remark_checks(task, context), *changed_preparation(task, context)]
    result.rows = with_check_codes(result.rows, result.checks)
    gradient, forward = context.store.passes()
    result.record.update(
        about_run(context.seed),
        encoder=about_encoder(task.encoder),
        gradient_passes=gradient,
        forward_passes=forward,
        padding_rows=padding.rows,
        data=task.dataset.name,
        data_fingerprint=task.dataset.fingerprint,
        classes=len(task.dataset.classes),
    )
