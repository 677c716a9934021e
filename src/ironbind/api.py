"""The evaluations as a user calls them: in a run folder of their own, with the black-box search that checks C17b holds
against the attacks; `evaluate` knows no attack by name.
"""

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from ironbind.certification.smoothing import Smoothing
from ironbind.core.default_budgets import certified_radii
from ironbind.core.results import Result, Row, write_atomically
from ironbind.evaluate import accuracy_curve
from ironbind.evaluate import audit as evaluation
from ironbind.evaluate import audit_corrupted as corruption
from ironbind.evaluate.attack_variants import AnyAttack
from ironbind.evaluate.protocols.certified import certified, certified_evaluators
from ironbind.evaluate.protocols.corruption import Corruption
from ironbind.evaluate.replaced_table import warn_of_lost_rows
from ironbind.evaluate.run_context import RunContext, RunOptions, open_store, run_context
from ironbind.evaluate.store.verdicts_csv import verdicts_csv
from ironbind.evaluate.verdict_examples import Example, MakeEvaluators, examples_behind
from ironbind.numerics import ranks
from ironbind.report import write_report
from ironbind.runs.defaults import BLACK_BOX, CERTIFICATE_ATTACK
from ironbind.types import Attack, Budget, Certifier, Task

RUN = """

    `result.example(sample, eps="4/255", ...)` gives the example behind a verdict, bit for bit (docs/run-folders.md).

    Options of the run: `out`, a run folder whose verdict store is reused and extended, so that a killed run goes on
    where it stopped, and that result, tables and report are written to; `store`, an open verdict store instead;
    `fresh` forgets stored verdicts; `seed`; `batch_size`; `progress(what, done, total)`; `black_box`, the search
    without gradients of check C17b (None: it is skipped).
    """


def audit(
    task: Task,
    attack: AnyAttack | Sequence[AnyAttack],
    budget: Budget | Sequence[Budget],
    *,
    threat_model: str | None = None,
    keep_examples: bool = False,
    checks: bool = True,
    top_k: bool = False,
    **run: Unpack[RunOptions],
) -> Result:
    attacks = tuple(attack) if isinstance(attack, Sequence) else (attack,)
    return _in_run(
        lambda context: evaluation.audit(
            task,
            attack,
            budget,
            context,
            threat_model=threat_model,
            keep_examples=keep_examples,
            checks=checks,
            top_k=top_k,
        ),
        lambda context: evaluation.audit_evaluators(
            task, attacks, evaluation.sorted_budgets(budget, task), context, threat_model, keep_examples, top_k
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
    attacks = tuple(attack) if isinstance(attack, Sequence) else (attack,)
    return _in_run(
        lambda context: accuracy_curve.curve(task, attack, largest, radii, context, checks=checks),
        lambda context: accuracy_curve.curve_evaluators(task, attacks, largest, radii, context),
        run,
    )


def audit_corrupted(
    task: Task,
    corruptions: Sequence[Corruption],
    budget: Budget | Sequence[Budget] = (),
    **run: Unpack[RunOptions],
) -> Result:
    budgets = [budget] if isinstance(budget, Budget) else list(budget)
    return _in_run(
        lambda context: corruption.audit_corrupted(task, corruptions, budget, context),
        lambda context: corruption.corruption_evaluators(task, corruption.strengths_of(corruptions, budgets), context),
        run,
    )


def certify(
    task: Task,
    certifier: Certifier | None = None,
    radii: Budget | Sequence[Budget] = (),
    *,
    attack: Attack | None = CERTIFICATE_ATTACK,
    **run: Unpack[RunOptions],
) -> Result:
    by = Smoothing() if certifier is None else certifier
    radii = radii or certified_radii(task.space.name)
    return _in_run(
        lambda context: certified(task, by, radii, context, attack=attack),
        lambda context: [each for pair in certified_evaluators(task, by, (), context) for each in pair],
        run,
    )


audit.__doc__ = (evaluation.audit.__doc__ or "") + RUN
curve.__doc__ = (accuracy_curve.curve.__doc__ or "") + RUN
audit_corrupted.__doc__ = (corruption.audit_corrupted.__doc__ or "") + RUN
certify.__doc__ = (
    (certified.__doc__ or "")
    + "\n    `certifier`: None for `Smoothing()`. `radii`: () for l2 0.125 to 1.0, of a waveform 20 to 40 dB too."
    + RUN
)


def _in_run(evaluate: Callable[[RunContext], Result], make: MakeEvaluators, run: RunOptions) -> Result:
    """The result, written to the run folder, with a report, where the caller named one."""
    out = run.get("out")
    options: RunOptions = {"black_box": BLACK_BOX, **run}
    own = open_store() if out is None and run.get("store") is None else None
    if own is not None:
        options["store"] = own
    with run_context(**options) as context:
        result = evaluate(context)
        if out is not None:
            result.name = Path(out).name
            verdicts = verdicts_csv(context.store, result.rows)
            ranks.current().from_first(lambda: _write(result, verdicts, Path(out)))
    result.source = _RunExamples(make, options)
    if own is not None:  # a store without a folder lasts as long as the result: its examples may be asked for
        weakref.finalize(result.source, own.close)
    return result


def _write(result: Result, verdicts: str, folder: Path) -> None:
    warn_of_lost_rows(folder, result)
    result.write(folder)
    write_atomically(folder / "verdicts.csv", verdicts)
    write_report(folder)


@dataclass(frozen=True)
class _RunExamples:
    """The examples of a result that was computed in this process: in the context of its run, crafted by the evaluators
    that computed it.
    """

    make: MakeEvaluators
    options: RunOptions

    def examples(self, rows: Sequence[Row], samples: Sequence[str] | None, **where: Any) -> list[Example]:
        options: RunOptions = {**self.options, "fresh": False}
        with run_context(**options) as context:
            return examples_behind(rows, self.make, context, samples, **where)
