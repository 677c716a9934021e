"""An audit: a task, attacks, budgets -> a result with rows, checks, and the record behind them."""

from collections.abc import Sequence
from functools import partial

from ironbind.core.results import Result
from ironbind.evaluate.attack_variants import AnyAttack, attacks_for
from ironbind.evaluate.checks import CheckContext, checks_of, scope_of, skipped_checks
from ironbind.evaluate.checks.check_context import Twin
from ironbind.evaluate.checks.extent import allowance, extent_within, passes_of
from ironbind.evaluate.evaluator import Evaluator, backbone_first
from ironbind.evaluate.index_compatibility import compatibility
from ironbind.evaluate.protocols.replay import Replay
from ironbind.evaluate.protocols.white_box import WhiteBox
from ironbind.evaluate.provenance import threat_model_record
from ironbind.evaluate.rows import clean_rows, rows_at
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.run_record import recorded_result
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.numerics.networks import parameter_count
from ironbind.types import Budget, InputError, Task, calibration_of


def audit(
    task: Task,
    attack: AnyAttack | Sequence[AnyAttack],
    budget: Budget | Sequence[Budget],
    context: RunContext | None = None,
    *,
    threat_model: str | None = None,
    keep_examples: bool = False,
    checks: bool = True,
    top_k: bool = False,
) -> Result:
    """How much of a task survives an attack: rows for clean data and for every budget, with 95 % intervals, and the
    record behind them.

    For an uncalibrated encoder the attacked rows are "whitebox". For a calibrated one they are "replayed" (crafted on
    its backbone) *and* "adaptive" (white-box through everything), never one without the other; the backbone's own rows
    come along, and for zero-shot tasks those of an index that the backbone built (`evaluate.index_compatibility`).
    `threat_model="transfer"` is for attacks that look into another encoder only: this one is evaluated as it is, and so
    is its backbone.

    `attack`: one or several, or an ensemble such as `bindattack("standard")`; the verdict of a sample is the worst over
    them, and names the one that won. `top_k`: attack and report top-5, or R@5 and R@10, as well, with the first of
    them; otherwise only the first metric has rows under attack. `budget`: one or several of the same norm. `context`:
    store, seed, batch size. `keep_examples` stores strong examples of every sample. `checks` tests the audit itself on
    a few samples (docs/checks.md); left out, every row says so. Same seed, same machine: same bits; with one torch
    thread also whatever the batch size. Raises InputError for budgets that do not fit the task's space, and for samples
    or embeddings that are not finite.
    """
    context = context or RunContext()
    attacks = tuple(attack) if isinstance(attack, Sequence) else (attack,)
    budgets = sorted_budgets(budget, task)
    with recorded_result(task, context) as result:
        evaluators = audit_evaluators(task, attacks, budgets, context, threat_model, keep_examples, top_k)
        source = evaluators[0] if any(isinstance(each.protocol, Replay) for each in evaluators) else None
        for evaluator in evaluators:
            if evaluator.protocol.threat_model != "adaptive":  # its clean rows are those of the replayed ones
                result.rows += clean_rows(evaluator)
            for index in range(len(budgets)):
                result.rows += rows_at(evaluator, index)
        if isinstance(task, ZeroShot) and len(evaluators) > 1:
            result.rows += compatibility(task, context.store)
        last = evaluators[-1]
        scope = scope_for(last)
        if checks:
            twin = partial(source.examples, _middle_index(last)) if source else None
            result.checks += checks_of(check_context(last, twin), scope, result.record)
        else:
            result.checks.append(skipped_checks(scope))
        knowledge = (threat_model,) if threat_model else ()
        record = threat_model_record(task, last.protocol.attacks, last.strengths, knowledge, top_k)
        result.threat_models.append(record)
    return result


def audit_evaluators(
    task: Task,
    attacks: Sequence[AnyAttack],
    budgets: Sequence[Budget],
    context: RunContext,
    threat_model: str | None = None,
    keep_examples: bool = False,
    top_k: bool = False,
) -> list[Evaluator]:
    """The evaluators of an audit (see `audit`), each after those that it takes examples from: of a calibrated encoder
    the backbone's, the replayed one and the adaptive one. `budgets`: in rising order.
    """
    label = "+".join(stage.name for stage in attacks)
    # for the task, and for the backbone's where there is one
    *_, own = tasks = backbone_first(task)
    stages = {id(each): attacks_for(each, attacks, budgets, context.store.folder) for each in tasks}

    def white_box(each: Task, name: str, keep: bool, replay: Evaluator | None = None) -> Evaluator:
        protocol = WhiteBox(stages[id(each)], budgets, name, keep, replay, label, top_k)
        return Evaluator(each, protocol, context)

    if threat_model is not None:
        return [white_box(each, threat_model, False) for each in tasks]
    if len(tasks) == 1:
        return [white_box(own, "whitebox", keep_examples)]
    source = white_box(tasks[0], "whitebox", True)
    replayed = Evaluator(own, Replay(source, label=label), context)
    return [source, replayed, white_box(own, "adaptive", False, replayed)]


def sorted_budgets(budget: Budget | Sequence[Budget], task: Task) -> tuple[Budget, ...]:
    """In rising order. Raises InputError for none, for those of another space, and for several norms."""
    budgets = [budget] if isinstance(budget, Budget) else list(budget)
    if not budgets:
        raise InputError("an audit needs at least one budget, such as Linf('4/255')")
    for budget in budgets:
        budget.check_plausible(task.space)
    norms = sorted({budget.norm for budget in budgets})
    if len(norms) != 1:
        raise InputError(f"the budgets of one audit must share one norm, not {', '.join(norms)}")
    return tuple(sorted(budgets, key=lambda budget: budget.radius))


def scope_for(evaluator: Evaluator) -> str:
    """What the checks of an evaluation are about."""
    task, threat_model = evaluator.task, evaluator.protocol.threat_model
    calibration = calibration_of(task.encoder)
    return scope_of(task.modality, task.space.name, task.name, calibration, threat_model, evaluator.middle.written)


def check_context(evaluator: Evaluator, twin: Twin | None, search: Evaluator | None = None) -> CheckContext:
    """The checks look at the middle radius: at the largest one everything is broken, so that there is nothing to
    check. `twin`: the examples that were crafted on the backbone, within that radius. `search`: the evaluation that
    spent the passes, where it was another one.
    """
    clean, attacked = evaluator.clean(), evaluator.verdicts_at(_middle_index(evaluator))
    attacks, context, paid = evaluator.protocol.attacks, evaluator.context, search or evaluator
    spent = passes_of(clean) + sum(passes_of(paid.verdicts_at(index)) for index in range(len(paid.strengths)))
    correct = {sample: attacked[sample] for sample, verdict in clean.items() if verdict.rank == 1}
    allowed = allowance(spent, parameter_count(evaluator.task.encoder))
    extent = extent_within(allowed, correct, attacks, context.black_box)
    return CheckContext(evaluator.task, attacks, evaluator.middle, clean, attacked, context, twin=twin, extent=extent)


def _middle_index(evaluator: Evaluator) -> int:
    return list(evaluator.strengths).index(evaluator.middle)
