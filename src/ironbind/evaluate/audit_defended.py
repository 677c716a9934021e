"""An audit of test-time defences: the undefended encoder, and behind each defence what is left of a task clean, against
replayed examples and against an attacker who knows the defence.
"""

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from ironbind.core.results import Check, Result, Row
from ironbind.core.tables.intervals import wilson_ends
from ironbind.evaluate.audit import check_context
from ironbind.evaluate.checks import checks_of, scope_of, skipped_checks
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.protocols.against_defence import AgainstDefence
from ironbind.evaluate.protocols.replay import Replay
from ironbind.evaluate.protocols.white_box import WhiteBox
from ironbind.evaluate.provenance import threat_model_record
from ironbind.evaluate.rows import rows_of
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.run_record import recorded_result
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.evaluate.tasks.caught import Caught
from ironbind.numerics.batching import batches, in_full_batches
from ironbind.numerics.metrics import mean_interval
from ironbind.types import Attack, Budget, Encoder, Task, calibration_of, title_of

DRAWS = (
    "not run: they compare single verdicts, and this defence draws afresh for every query; its attack was judged on "
    "draws that it did not climb"
)


@dataclass(frozen=True)
class Examined:
    """A defence as it is evaluated. `draws`: the deployed encoder, one for each draw that a verdict is averaged over
    (one where nothing is drawn). `estimates`: what its attacker computes, for draws of his own. `attacks`: that
    attacker's. `flagging`: the same for its detector at a threshold; None for a defence that detects nothing.
    `record`: facts for the record, such as passes per query.
    """

    draws: Sequence[Encoder]
    estimates: Sequence[Encoder]
    attacks: Sequence[Attack]
    flagging: "Examined | None" = None
    record: dict[str, object] | None = None


def audit_defended(
    task: Task,
    attacks: Sequence[Attack],
    budgets: Sequence[Budget],
    examined: Sequence[Examined],
    context: RunContext | None = None,
    checks: bool = True,
) -> Result:
    """Rows of each defence, named by encoder and defence ("tiny+ttc"): "clean", "replayed" (examples of the undefended
    encoder of `task`, crafted by the first of `attacks`) and "adaptive" (the worst that a defence's own attacks and
    those examples do, by the attacker's estimate, as the deployed defence answers it).

    Of a defence that draws, a number is the mean share of right answers over its draws; Wilson's interval counts
    samples, not draws, so that it is wider than it need be rather than narrower. verdicts.csv holds the first draw. A
    detector has rows of the task "caught:...": the share that is flagged or answered right, the share flagged, the
    area under its ROC curve. `task`: on the undefended encoder; `budgets`: in rising order; `checks`: whether to test
    the adaptive audits of defences that do not draw.
    """
    context = context or RunContext()
    with recorded_result(task, context) as result:
        twin = twin_evaluator(task, attacks, budgets, context)
        for each in examined:
            evaluators = defence_evaluators(task, [twin], each, budgets, context)
            result.rows += _examined_rows(evaluators, budgets, context)
            result.checks += _checks(each, evaluators.adaptive[0], twin, result if checks else None)
            record = threat_model_record(task, each.attacks, budgets, ("replayed", "adaptive"))
            result.threat_models.append(record)
            if each.flagging:
                sources = [twin, evaluators.adaptive[0]]
                result.rows += _caught_rows(task, sources, each.flagging, budgets, context)
    return result


@dataclass(frozen=True)
class DefenceEvaluators:
    """Of one defence, one evaluator for each of its draws: against replayed examples, and against its own attacker."""

    replayed: Sequence[Evaluator]
    adaptive: Sequence[Evaluator]


def twin_evaluator(task: Task, attacks: Sequence[Attack], budgets: Sequence[Budget], context: RunContext) -> Evaluator:
    """The evaluator of the undefended encoder, which keeps an example of every sample for replay."""
    model = "whitebox" if calibration_of(task.encoder) == "none" else "adaptive"
    return Evaluator(task, WhiteBox(attacks, budgets, model, True), context)


def defence_evaluators(
    task: Task, sources: Sequence[Evaluator], each: Examined, budgets: Sequence[Budget], context: RunContext
) -> DefenceEvaluators:
    """The evaluators of one defence around the encoder of `task`. `sources`: whose examples its attacker tries too, the
    undefended encoder's first, whose are replayed.
    """
    label = "+".join(attack.name for attack in each.attacks)
    tasks = [task.on(encoder) for encoder in each.draws]
    protocol = AgainstDefence(each.attacks, budgets, [task.on(one) for one in each.estimates], sources, label=label)
    first = Evaluator(tasks[0], protocol, context)
    others = [Evaluator(own, Replay(first, "adaptive", label), context) for own in tasks[1:]]
    return DefenceEvaluators([Evaluator(own, Replay(sources[0]), context) for own in tasks], [first, *others])


def _examined_rows(evaluators: DefenceEvaluators, budgets: Sequence[Budget], context: RunContext) -> list[Row]:
    """Clean, replayed and adaptive rows of one defence."""
    first = evaluators.adaptive[0]
    rows = _shares([(each, each.clean()) for each in evaluators.adaptive], "clean", None)
    context.store.label(first.key(0), label_of(rows[0]))
    for of_model, threat_model in ((evaluators.replayed, "replayed"), (evaluators.adaptive, "adaptive")):
        for index, budget in enumerate(budgets):
            rows += _shares([(each, each.verdicts_at(index)) for each in of_model], threat_model, budget)
            context.store.label(of_model[0].key(index + 1), label_of(rows[-1]))
    return rows


def _checks(each: Examined, adaptive: Evaluator, twin: Evaluator, result: Result | None) -> list[Check]:
    """The checks of the adaptive audit, on the defence as its attacker computes it: how it is differentiated is what
    they ask about, and its answers are those of the deployed one. None of them can tell chance from fault where the
    defence draws. `result`: whose record their passes go into; None leaves them out.
    """
    task, eps = adaptive.task, adaptive.middle.written
    scope = scope_of(task.modality, task.space.name, task.name, title_of(task.encoder), "adaptive", eps)
    if result is None:
        return [skipped_checks(scope)]
    if len(each.draws) > 1:
        return [skipped_checks(scope, DRAWS)]
    examples = partial(twin.examples, list(adaptive.strengths).index(adaptive.middle))
    context = replace(check_context(adaptive, examples), task=task.on(each.estimates[0]))
    return checks_of(context, scope, result.record)


def _shares(
    draws: Sequence[tuple[Evaluator, dict[str, Verdict]]], threat_model: str, strength: Budget | None
) -> list[Row]:
    """The rows of the first draw, their numbers those of all draws together."""
    (evaluator, verdicts), count = draws[0], len(draws)
    rows = rows_of(evaluator, verdicts, threat_model, strength)
    if count == 1:
        return rows
    every = [own for _, own in draws]
    place = dict(evaluator.task.metrics)
    shares = []
    for row in rows:
        if row.metric in place:
            right = sum(verdict.rank <= place[row.metric] for own in every for verdict in own.values())
            share = right / (count * len(verdicts))
            low, high = wilson_ends(share, len(verdicts))
            shares.append(replace(row, value=100 * share, ci_low=100 * low, ci_high=100 * high))
        else:
            mean = mean_interval([sum(own[sample].rank for own in every) / count for sample in verdicts])
            shares.append(replace(row, value=mean.value, ci_low=mean.low, ci_high=mean.high))
    return shares


# --------------------------------------------------------------------------------------------------------- detectors


def _caught_rows(
    task: Task, sources: Sequence[Evaluator], each: Examined, budgets: Sequence[Budget], context: RunContext
) -> list[Row]:
    """Of a detector at its threshold: caught or right, flagged, and the area under its ROC curve."""
    caught = Caught(task)
    evaluators = defence_evaluators(caught, sources, each, budgets, context)
    adaptive, indices = evaluators.adaptive[0], list(range(len(task)))
    rows = [row for row in _examined_rows(evaluators, budgets, context) if row.metric == "caught_or_right"]
    tasks = [evaluator.task for evaluator in evaluators.adaptive]

    def excesses(x: torch.Tensor) -> list[float]:
        """Of every sample, on every draw."""
        return [float(z) for own in tasks for batch in x.split(context.batch_size) for z in _excess(own, batch)]

    clean = excesses(tasks[0].load(indices))
    counted = [_flagged_row(rows[0], clean)]
    for index, budget in enumerate(budgets):
        for threat_model, source in (("replayed", sources[0]), ("adaptive", adaptive)):
            like = next(row for row in rows if (row.threat_model, row.eps) == (threat_model, budget.written))
            attacked = excesses(source.examples(index, indices))
            counted.append(_flagged_row(like, attacked))
            counted.append(_share_row(like, "auroc", roc_area(clean, attacked)))
    return [*rows, *counted]


def _excess(task: Task, x: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return in_full_batches(task.embed)(x)[:, -1]


def scores_of(task: Task, score: Callable[[torch.Tensor], torch.Tensor], context: RunContext) -> list[float]:
    """What a detector says of every clean sample of a task."""
    found: list[float] = []
    for indices in batches(range(len(task)), context.batch_size):
        with torch.no_grad():
            found += in_full_batches(score)(task.load(indices)).tolist()
    return found


def _flagged_row(like: Row, excesses: Sequence[float]) -> Row:
    return _share_row(like, "flagged", sum(excess > 0 for excess in excesses) / len(excesses))


def _share_row(like: Row, metric: str, share: float) -> Row:
    """A share as a row beside `like`; its interval counts samples."""
    low, high = wilson_ends(share, like.n)
    return replace(like, metric=metric, value=100 * share, ci_low=100 * low, ci_high=100 * high)


def roc_area(clean: Sequence[float], attacked: Sequence[float]) -> float:
    """The chance that an attacked sample scores above a clean one, ties counting half (Mann-Whitney)."""
    ordered = sorted(clean)
    twice = sum(bisect_left(ordered, score) + bisect_right(ordered, score) for score in attacked)
    return twice / (2 * len(clean) * len(attacked))


def threshold_at(clean: Sequence[float], false_alarms: float) -> float:
    """The score above which at most that share of these clean samples lies."""
    ordered = sorted(clean)
    return ordered[min(len(ordered) - 1, len(ordered) - 1 - math.floor(false_alarms * len(ordered)))]
