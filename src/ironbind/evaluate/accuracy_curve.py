"""Accuracy at every radius from one run. A sample is broken at every radius that reaches its nearest adversarial
example, so that one search per sample decides all radii.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.default_budgets import round_up, spanning
from ironbind.core.results import Result, Row
from ironbind.evaluate.attack_variants import seeks_nearest
from ironbind.evaluate.audit import check_context, scope_for
from ironbind.evaluate.checks import checks_of, skipped_checks
from ironbind.evaluate.checks.check_context import Twin
from ironbind.evaluate.evaluator import Evaluator, backbone_first
from ironbind.evaluate.protocols.nearest_example import NearestExample, WithinRadius
from ironbind.evaluate.provenance import threat_model_record
from ironbind.evaluate.rows import clean_rows, rows_at
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.run_record import recorded_result
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.numerics.metrics import quantile_interval
from ironbind.numerics.norms import SLACK, distance, per_row
from ironbind.types import Attack, Budget, InputError, Task

QUANTILES = {"quartile1_norm": 0.25, "median_norm": 0.5, "quartile3_norm": 0.75}


def curve(
    task: Task,
    attack: Attack | Sequence[Attack],
    largest: Budget,
    radii: Sequence[Budget] | None = None,
    context: RunContext | None = None,
    *,
    checks: bool = True,
) -> Result:
    """Accuracy at every radius from one search per sample: rows for clean data and for each of `radii`, and the
    quartiles of the distances.

    `attack`: one that seeks the nearest example, such as `attacks.FMN()`, or several, of which the nearer one counts.
    `largest`: how far it searches. `radii`: up to `largest`; None: thirteen that span a factor of 64, up to where
    everything is broken. Rows "quartile1_norm", "median_norm" and "quartile3_norm" hold the norms at which a quarter,
    half and three quarters of the samples are broken (0 for those wrong when clean), in the unit of `eps`, with
    distribution-free 95 % intervals; a quartile beyond `largest` has no row.

    The rows of an uncalibrated encoder are "whitebox". A calibrated one is searched white-box through everything
    ("adaptive"), its backbone's nearest examples included; the backbone's own rows come along. There are no
    replayed rows: the nearest example of one encoder says little about another. Checks are those of `audit`, at
    the middle radius. Raises InputError for attacks that seek something else, tasks without a metric of the first
    place, and budgets that do not fit each other or the task's space.
    """
    context = context or RunContext()
    attacks = tuple(attack) if isinstance(attack, Sequence) else (attack,)
    _refuse(task, attacks, largest, radii)
    everywhere = set(radii or ())
    with recorded_result(task, context) as result:
        evaluators = curve_evaluators(task, attacks, largest, radii, context)
        searches, (*_, at_radii) = evaluators[0::2], evaluators
        for search, read_off in zip(searches, evaluators[1::2], strict=True):
            budgets = read_off.strengths
            rows = [*clean_rows(read_off), *(row for index in range(len(budgets)) for row in rows_at(read_off, index))]
            result.rows += [row for row in rows if row.metric == _first_place_metric(task)]
            result.rows += _quartiles(search, largest, result.rows[-1])
            everywhere |= set(budgets)
        scope = scope_for(at_radii)
        if checks:
            below = _within_radius(at_radii, searches[-2]) if len(searches) > 1 else None
            result.checks += checks_of(check_context(at_radii, below, search), scope, result.record)
        else:
            result.checks.append(skipped_checks(scope))
        knowledge = [search.protocol.threat_model for search in searches]
        record = threat_model_record(task, attacks, sorted(everywhere, key=lambda budget: budget.radius), knowledge)
        goal = (
            f"{task.name} among {len(task.centers)}: the nearest example that drives the truth out of the first place, "
            f"within {largest.written}"
        )
        result.threat_models.append(replace(record, goal=goal))
    return result


def curve_evaluators(
    task: Task,
    attacks: Sequence[Attack],
    largest: Budget,
    radii: Sequence[Budget] | None,
    context: RunContext,
) -> list[Evaluator]:
    """The evaluators of a curve (see `curve`), in pairs: one that searches the nearest examples, one that reads its
    radii off; of a calibrated encoder first its backbone's. Without `radii` it searches, to see how far they reach.
    """
    label = "+".join(seeker.name for seeker in attacks)
    evaluators: list[Evaluator] = []
    tasks = backbone_first(task)
    for each in tasks:
        twin, calibrated = (evaluators[0], True) if evaluators else (None, False)
        protocol = NearestExample(
            attacks, largest, "adaptive" if calibrated else "whitebox", len(tasks) > 1 and not calibrated, twin
        )
        search = Evaluator(each, protocol, context)
        budgets = tuple(sorted(radii or _curve_radii(search, largest), key=lambda budget: budget.radius))
        evaluators += [search, Evaluator(each, WithinRadius(search, budgets, label), context)]
    return evaluators


def _refuse(task: Task, attacks: Sequence[Attack], largest: Budget, radii: Sequence[Budget] | None) -> None:
    for seeker in attacks:
        if not isinstance(seeker, Attack) or not seeks_nearest(seeker):  # one made for the task wraps it unseen
            raise InputError(
                f"attack {seeker.name!r} seeks an example within a budget, not the nearest one; expected FMN "
                "or CarliniWagner"
            )
    if all(k != 1 for _, k in task.metrics):
        raise InputError(
            f"task {task.name!r} has no metric of the first place, so that no distance decides it; audit it instead"
        )
    for budget in (largest, *(radii or ())):
        budget.check_plausible(task.space)
        if budget.norm != largest.norm:
            raise InputError(
                f"radius {budget.written!r} is of norm {budget.norm}, but the search is of norm {largest.norm}"
            )
        if budget.radius > largest.radius:
            raise InputError(f"radius {budget.written!r} lies beyond {largest.written!r}, the largest that is searched")
    if not largest.radius:
        raise InputError(f"epsilon {largest.written!r} leaves nothing to search")


def _curve_radii(search: Evaluator, largest: Budget) -> tuple[Budget, ...]:
    """Radii up to where everything is broken, or to the largest where something is robust."""
    distances = [_distance(verdict, largest.radius) for verdict in search.verdicts_at(0).values()]
    far = max(distances)
    return spanning(round_up(far, largest) if 0 < far < largest.radius else largest)


def _distance(verdict: Verdict, otherwise: float) -> float:
    """To the nearest example; `otherwise` where none was found."""
    return verdict.distance if verdict.rank > 1 else otherwise


def _first_place_metric(task: Task) -> str:
    """The metric that asks for the first place."""
    return next(name for name, k in task.metrics if k == 1)


def _quartiles(search: Evaluator, largest: Budget, last: Row) -> list[Row]:
    """In the unit that radii are written in. An end of an interval that lies beyond the search is given as its largest
    radius.
    """
    distances = [_distance(verdict, torch.inf) for verdict in search.verdicts_at(0).values()]
    rows = []
    for metric, share in QUANTILES.items():
        at = quantile_interval(distances, share)
        if at.value <= largest.radius + SLACK:
            value, *ends = (largest.epsilon.number(min(radius, largest.radius)) for radius in at)
            rows.append(replace(last, metric=metric, value=value, ci_low=min(ends), ci_high=max(ends)))
    return rows


def _within_radius(at_radii: Evaluator, search: Evaluator) -> Twin:
    """What `search` found on the backbone: its nearest examples where the middle radius allows them, else the clean
    samples.
    """
    task, budget = at_radii.task, at_radii.middle

    def within(indices: Sequence[int]) -> Float[Tensor, "b ..."]:
        y, x = search.examples(0, indices), task.load(indices)
        return torch.where(per_row(distance(y, x, task.space, budget.norm) <= budget.radius, x), y, x)

    return within
