"""Accuracy at every radius from one run: a sample falls at all radii from that of its nearest example on, so that one
search of each says it all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.default_budgets import round_up, spanning
from ironbind.core.results import Check, Result, Row
from ironbind.evaluate.audit import Examination, Progress, calibration_of, rows_of
from ironbind.evaluate.checks import CheckContext, run_checks, scope_of
from ironbind.evaluate.provenance import threat_model_record
from ironbind.evaluate.run_record import recorded
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.numerics.batching import batches
from ironbind.numerics.metrics import quantile_interval
from ironbind.numerics.norms import SLACK, distance, enforce, per_row, project
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Attack, Attacked, Budget, CalibratedEncoder, InputError, Task

QUANTILES = {"quartile1_norm": 0.25, "median_norm": 0.5, "quartile3_norm": 0.75}
OUTWARDS = (1e-3, 1e-2)  # by how much an example that a second pass does not confirm is moved beyond the boundary


# ------------------------------------------------------------------------------------------------------------ searching


@dataclass
class Search(Examination):
    """The nearest example of every sample within `ladder[0]`, over all attacks: its verdict, whose `distance` is the
    distance. A sample that nothing reaches keeps the worst point that was met; one that is wrong when clean has
    distance 0.

    `keep_examples` stores the nearest examples too. `twin`: a search of the same samples on another encoder, whose
    examples are tried here as well.
    """

    twin: "Search | None" = None

    def description(self, rungs: int) -> dict[str, Any]:
        found = super().description(rungs)
        return {**found, "search": "nearest", "twin": self.twin.key(1) if self.twin else ""} if rungs else found

    def rung(self, number: int = 0) -> dict[str, Verdict]:
        if self.twin:
            self.twin.rung()  # crafts what is missing
        return self._complete(1, f"{self.threat_model} nearest", self._search, self.clean())

    def _search(self, indices: list[int], before: list[Verdict]) -> list[Verdict]:
        task, budget = self.task, self.ladder[0]
        ids, x = [task.dataset.ids[index] for index in indices], task.load(indices)
        nearest = [replace(one, gradient_passes=0, forward_passes=0) for one in before]
        examples = x.clone()
        rows = [row for row, one in enumerate(before) if one.rank == 1]
        if not rows:
            return nearest
        some = [indices[row] for row in rows]

        def judged(y: Float[Tensor, "r ..."], by: str, gradients: Sequence[int], forwards: Sequence[int]) -> list[bool]:
            """Takes over what is nearer; says which of these examples fall."""
            enforce(y, x[rows], task.space, budget)
            found = self._judge(some, y, Verdict(0, 0.0, won_by=by), x[rows])
            for position, (row, one) in enumerate(zip(rows, found, strict=True)):
                old, better = nearest[row], _nearer(one, nearest[row])
                if better:
                    examples[row] = y[position]
                nearest[row] = replace(
                    one if better else old,
                    gradient_passes=old.gradient_passes + gradients[position],
                    forward_passes=old.forward_passes + forwards[position] + 1,
                )
            return [one.rank > 1 for one in found]

        nothing = [0] * len(rows)
        for attack in self.attacks:
            rng = PerSample.of(self.seed, [ids[row] for row in rows], f"{attack.name} {budget} nearest")
            attacked: Attacked = attack(task.embed, x[rows], task.goal(some), task.space, budget, rng)
            by = f"{attack.name} {budget.written}"
            falls = judged(attacked.x, by, attacked.gradient_passes.tolist(), attacked.forward_passes.tolist())
            for share in (
                OUTWARDS
            ):  # where the encoder's last bits differ from pass to pass, a point on the boundary is on either side
                doubtful = attacked.reached & ~torch.tensor(falls, device=x.device)
                if not doubtful.any():
                    break
                moved = project(
                    x[rows] + (1 + per_row(share * doubtful.to(x), x)) * (attacked.x - x[rows]),
                    x[rows],
                    task.space,
                    budget,
                )
                falls = judged(torch.where(per_row(doubtful, x), moved, attacked.x), by, nothing, nothing)
        if self.twin:
            judged(self.twin.examples(0, some), f"{self.attacks[0].name} {budget.written} replayed", nothing, nothing)
        if self.keep_examples:
            self.store.add_examples(self.key(1), ids, examples)
        return nearest

    def _craft(self, number: int, indices: list[int]) -> None:
        """Examples alone, for samples whose verdicts are known but whose examples were deleted."""
        clean, ids = self.clean(), self.task.dataset.ids
        for batch in batches(indices, self.batch_size):
            self._search(batch, [clean[ids[index]] for index in batch])


def _nearer(one: Verdict, other: Verdict) -> bool:
    if (one.rank > 1) != (other.rank > 1):
        return one.rank > 1
    return one.distance < other.distance if one.rank > 1 else one.worse_than(other)


def seeks_nearest(attack: Attack) -> bool:
    """Whether an attack looks for the nearest example rather than for any within its budget; one that wraps another
    does what that one does.
    """
    inner = getattr(attack, "attack", None)
    return seeks_nearest(inner) if isinstance(inner, Attack) else getattr(attack, "minimum_norm", False)


# ------------------------------------------------------------------------------------------------------- reading it off


@dataclass
class ReadOff(Examination):
    """Verdicts at every radius of `ladder`, from what `search` found: the nearest example where the radius allows it,
    else the clean sample.
    """

    search: Search | None = None

    def description(self, rungs: int) -> dict[str, Any]:
        assert self.search is not None
        clean = super().description(0)
        radius = repr(self.ladder[rungs - 1].radius)
        return (
            {**clean, "threat_model": self.threat_model, "nearest": self.search.key(1), "radius": radius}
            if rungs
            else clean
        )

    def rung(self, number: int) -> dict[str, Verdict]:
        assert self.search is not None
        nearest, clean, ids = self.search.rung(), self.clean(), self.task.dataset.ids
        allowed = self.ladder[number].radius + SLACK

        def judge(indices: list[int], _: list[Verdict]) -> list[Verdict]:
            found = [
                nearest[ids[index]] if _fallen(nearest[ids[index]], allowed) else clean[ids[index]] for index in indices
            ]
            return [replace(one, gradient_passes=0, forward_passes=0) for one in found]

        return self._complete(number + 1, f"{self.threat_model} {self.ladder[number].written}", judge)


def _fallen(one: Verdict, allowed: float) -> bool:
    return one.rank > 1 and one.distance <= allowed


def curve(
    task: Task,
    attack: Attack | Sequence[Attack],
    largest: Budget,
    radii: Sequence[Budget] | None = None,
    *,
    out: Path | str | None = None,
    store: VerdictStore | None = None,
    seed: int = 0,
    batch_size: int = 64,
    fresh: bool = False,
    checks: bool = True,
    black_box: Attack | None = None,
    progress: Progress | None = None,
) -> Result:
    """Accuracy at every radius from one search per sample: rows for clean data and for each of `radii`, and the
    quartiles of the distances.

    `attack`: one that seeks the nearest example, such as `attacks.FMN()`, or several, of which the nearer one counts.
    `largest`: how far it searches. `radii`: up to `largest`; None: thirteen that span a factor of 64, up to where
    everything has fallen. Rows "quartile1_norm", "median_norm" and "quartile3_norm" hold the norms that a quarter, half
    and three quarters of the samples fall to (0 for those wrong when clean), in the unit that `eps` is written in, with
    distribution-free 95 % intervals; a quartile beyond `largest` has no row.

    The rows of an uncalibrated encoder are "whitebox". A calibrated one is searched white-box through everything
    ("adaptive"), its backbone's nearest examples included; the backbone's own rows come along. Nothing is called
    replayed: an example that is as near as can be says little about another encoder. Options as in `audit`; a killed
    run goes on where it stopped. Checks are those of `audit`, at the middle radius. Raises InputError for attacks that
    seek something else, tasks without a metric of the first place, and budgets that do not fit each other or the task's
    space.
    """
    attacks = tuple(attack) if isinstance(attack, Sequence) else (attack,)
    _refuse(task, attacks, largest, radii)
    tell = progress or (lambda what, done, total: None)
    with recorded(task, out=out, store=store, seed=seed, fresh=fresh) as (result, kept):
        options: dict[str, Any] = {"store": kept, "seed": seed, "batch_size": batch_size, "progress": tell}
        if isinstance(task.encoder, CalibratedEncoder):
            below = Search(
                task.on(task.encoder.backbone),
                attacks,
                (largest,),
                threat_model="whitebox",
                keep_examples=True,
                **options,
            )
            searches = [below, Search(task, attacks, (largest,), threat_model="adaptive", twin=below, **options)]
        else:
            searches = [Search(task, attacks, (largest,), threat_model="whitebox", **options)]
        label, everywhere = "+".join(one.name for one in attacks), set(radii or ())
        for search in searches:
            ladder = tuple(sorted(radii or _fitting(search), key=lambda one: one.radius))
            read = ReadOff(
                search.task, attacks, ladder, threat_model=search.threat_model, label=label, search=search, **options
            )
            result.rows += _rows(read)
            everywhere |= set(ladder)
        result.checks += _checked(read, black_box, result) if checks else [_left_out(read)]
        knowledge = [search.threat_model for search in searches]
        record = threat_model_record(task, attacks, sorted(everywhere, key=lambda one: one.radius), knowledge)
        goal = f"{task.name} among {len(task.centers)}: the nearest example that drives the truth out of the first place, within {largest.written}"
        result.threat_models.append(replace(record, goal=goal))
    return result


def _refuse(task: Task, attacks: Sequence[Attack], largest: Budget, radii: Sequence[Budget] | None) -> None:
    for one in attacks:
        if not seeks_nearest(one):
            raise InputError(
                f"attack {one.name!r} seeks an example within a budget, not the nearest one; expected FMN or CarliniWagner"
            )
    if all(k != 1 for _, k in task.metrics):
        raise InputError(
            f"task {task.name!r} has no metric of the first place, so that no distance decides it; audit it instead"
        )
    for budget in (largest, *(radii or ())):
        budget.check(task.space)
        if budget.norm != largest.norm:
            raise InputError(
                f"radius {budget.written!r} is of norm {budget.norm}, but the search is of norm {largest.norm}"
            )
        if budget.radius > largest.radius:
            raise InputError(f"radius {budget.written!r} lies beyond {largest.written!r}, the largest that is searched")
    if not largest.radius:
        raise InputError(f"epsilon {largest.written!r} leaves nothing to search")


def _fitting(search: Search) -> tuple[Budget, ...]:
    """Radii up to where everything has fallen, or to the largest where something stands."""
    largest = search.ladder[0]
    far = max(one.distance if one.rank > 1 else largest.radius for one in search.rung().values())
    return spanning(round_up(far, largest) if 0 < far < largest.radius else largest)


def _first(task: Task) -> str:
    """The metric that asks for the first place."""
    return next(name for name, k in task.metrics if k == 1)


def _rows(read: ReadOff) -> list[Row]:
    """Clean, every radius, the quartiles; the store learns which of its verdicts they speak of."""
    rows, metric = [], _first(read.task)
    for number, budget in enumerate((None, *read.ladder)):
        verdicts, model = (read.rung(number - 1), read.threat_model) if budget else (read.clean(), "clean")
        rows += [row for row in rows_of(read, verdicts, model, budget) if row.metric == metric]
        read.store.label(read.key(number), label_of(rows[-1]))
    return rows + _quartiles(read, rows[-1])


def _quartiles(read: ReadOff, last: Row) -> list[Row]:
    """In the unit that radii are written in. An end of an interval that lies beyond the search is given as its largest
    radius.
    """
    assert read.search is not None
    largest = read.search.ladder[0]
    found = [one.distance if one.rank > 1 else torch.inf for one in read.search.rung().values()]
    rows = []
    for metric, share in QUANTILES.items():
        at = quantile_interval(found, share)
        if at.value <= largest.radius + SLACK:
            value, *ends = (largest.epsilon.number(min(one, largest.radius)) for one in at)
            rows.append(replace(last, metric=metric, value=value, ci_low=min(ends), ci_high=max(ends)))
    return rows


# --------------------------------------------------------------------------------------------------------------- checks


def _scope(read: ReadOff) -> str:
    task, (_, calibration) = read.task, calibration_of(read.task.encoder)
    return scope_of(task.modality, task.space.name, task.name, calibration, read.threat_model, read.middle.written)


def _left_out(read: ReadOff) -> Check:
    return Check("C1-C22", "attack checks", "skipped", "left out by the caller", _scope(read))


def _checked(read: ReadOff, black_box: Attack | None, result: Result) -> list[Check]:
    """Those of an audit, at the middle radius."""
    task, budget = read.task, read.middle
    twin = read.search.twin if read.search else None

    def within(indices: Sequence[int]) -> Float[Tensor, "b ..."]:
        """The backbone's nearest examples where the middle radius allows them, else the clean samples."""
        assert twin is not None
        y, x = twin.examples(0, indices), task.load(indices)
        return torch.where(per_row(distance(y, x, task.space, budget.norm) <= budget.radius, x), y, x)

    scene = CheckContext(
        task, read.attacks, budget, read.clean(), read.rung(read.ladder.index(budget)), read.seed, read.batch_size, black_box=black_box,
        twin=within if twin else None,
    )  # fmt: skip
    read.progress("checks", 0, 1)
    found = run_checks(scene, _scope(read))
    result.record.update({f"check_{kind}_passes": scene.passes[kind] for kind in ("gradient", "forward")})
    read.progress("checks", 1, 1)
    return found
