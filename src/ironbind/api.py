"""The evaluations as a user calls them: in a run folder of their own, with the black-box search that checks C17b holds
against the attacks; `evaluate` knows no attack by name.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from typing_extensions import Unpack

from ironbind.core.results import Result, write_atomically
from ironbind.evaluate import accuracy_curve
from ironbind.evaluate import audit as evaluation
from ironbind.evaluate import audit_corrupted as corruption
from ironbind.evaluate.attack_variants import AnyAttack
from ironbind.evaluate.protocols.corruption import Corruption
from ironbind.evaluate.replaced_table import warn_of_lost_rows
from ironbind.evaluate.run_context import RunContext, RunOptions, run_context
from ironbind.evaluate.store.verdicts_csv import verdicts_csv
from ironbind.numerics import ranks
from ironbind.runs.defaults import BLACK_BOX
from ironbind.types import Attack, Budget, Task

RUN = """

    Options of the run: `out`, a run folder whose verdict store is reused and extended, so that a killed run goes on
    where it stopped, and that the result is written to; `store`, an open verdict store instead; `fresh` forgets stored
    verdicts; `seed`; `batch_size`; `progress(what, done, total)`; `black_box`, the search without gradients of check
    C17b (None: it is skipped).
    """


def audit(
    task: Task,
    attack: AnyAttack | Sequence[AnyAttack],
    budget: Budget | Sequence[Budget],
    *,
    threat_model: str | None = None,
    keep_examples: bool = False,
    checks: bool = True,
    **run: Unpack[RunOptions],
) -> Result:
    return _in_run(
        lambda context: evaluation.audit(
            task, attack, budget, context, threat_model=threat_model, keep_examples=keep_examples, checks=checks
        ),
        run,
    )


def curve(
    task: Task,
    attack: Attack | Sequence[Attack],
    largest: Budget,
    radii: Sequence[Budget] | None = None,
    *,
    checks: bool = True,
    **run: Unpack[RunOptions],
) -> Result:
    return _in_run(lambda context: accuracy_curve.curve(task, attack, largest, radii, context, checks=checks), run)


def audit_corrupted(
    task: Task,
    corruptions: Sequence[Corruption],
    budget: Budget | Sequence[Budget] = (),
    **run: Unpack[RunOptions],
) -> Result:
    return _in_run(lambda context: corruption.audit_corrupted(task, corruptions, budget, context), run)


audit.__doc__ = (evaluation.audit.__doc__ or "") + RUN
curve.__doc__ = (accuracy_curve.curve.__doc__ or "") + RUN
audit_corrupted.__doc__ = (corruption.audit_corrupted.__doc__ or "") + RUN


def _in_run(evaluate: Callable[[RunContext], Result], run: RunOptions) -> Result:
    """The result, written to the run folder where the caller named one."""
    out = run.get("out")
    options: RunOptions = {"black_box": BLACK_BOX, **run}
    with run_context(**options) as context:
        result = evaluate(context)
        if out is not None:
            result.name = Path(out).name
            verdicts = verdicts_csv(context.store, result.rows)
            ranks.current().from_first(lambda: _write(result, verdicts, Path(out)))
    return result


def _write(result: Result, verdicts: str, folder: Path) -> None:
    warn_of_lost_rows(folder, result)
    result.write(folder)
    write_atomically(folder / "verdicts.csv", verdicts)
