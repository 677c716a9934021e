"""The adversarial example behind a verdict: read from the store, or crafted again as the audit crafted it, and checked
against the stored verdict.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.results import INDEX, Row
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.run_context import AnyStore, RunContext
from ironbind.evaluate.store.hidden_verdicts import HiddenVerdicts
from ironbind.evaluate.store.verdict_store import Verdict
from ironbind.evaluate.store.verdicts_csv import PLACE, label_of
from ironbind.numerics.networks import frozen
from ironbind.types import InputError, Space

MakeEvaluators = Callable[[RunContext], Sequence[Evaluator]]
"""The evaluators of an audit in a context, each after those that it takes examples from."""

ROUNDING = 1e-4  # largest difference in margin and distance off the CPU, whose kernels give other bits in other batches


@dataclass(frozen=True, eq=False)
class Example:
    """One sample as the attacker left it: the input on which the stored `verdict` was decided.

    `adversarial` and `clean` lie in the attacked `space`, float32, on the CPU, without a batch axis; where no attack
    did worse than none, they are the same (`verdict.won_by` is "clean"). `place`: the columns of the table that say
    which number the verdict belongs to.
    """

    sample: str
    adversarial: Float[Tensor, "..."]
    clean: Float[Tensor, "..."]
    verdict: Verdict
    space: Space
    place: Mapping[str, str]

    def __repr__(self) -> str:
        at = " ".join(self.place[column] for column in ("modality", "space", "norm", "eps", "threat_model"))
        return (
            f"Example({self.sample!r}, {at}, {tuple(self.adversarial.shape)}, rank {self.verdict.rank}, "
            f"distance {self.verdict.distance:.5g}, by {self.verdict.won_by})"
        )


def examples_behind(
    rows: Sequence[Row], make: MakeEvaluators, context: RunContext, samples: Sequence[str] | None, **where: Any
) -> list[Example]:
    """The examples behind the verdicts of these samples (None: all of them) in one number of the table.

    `where`: columns of the table that pick the number out of `rows` (modality, space, task, calibration, eps,
    threat_model, ...), as many as it takes. Examples that the store keeps are read, others are crafted again by
    attacking these samples as the audit did; each is checked against the stored verdict: the same rank, margin and
    distance, to the bit on the CPU (elsewhere up to ROUNDING).

    Raises InputError for columns that fit no number or several, for a sample that has no verdict there, where encoder
    or data are no longer those of the audit, and where the example that is crafted again is not the one of the verdict.
    """
    place = only_place(rows, where)
    evaluators = make(context)
    position, index, evaluator = _evaluator_of(place, evaluators, context.store)
    task, key = evaluator.task, evaluator.key(index + 1)
    stored, ids = context.store.verdicts(key), list(task.dataset.ids[: len(task)])
    samples = [sample for sample in ids if sample in stored] if samples is None else samples
    for sample in samples:
        if sample not in stored or sample not in ids:
            near = get_close_matches(str(sample), ids, 3) or ids[:3]
            raise InputError(
                f"sample {sample!r} has no verdict in {task.dataset.name!r}; expected an id such as {', '.join(near)}"
            )
    found: dict[str, Tensor] = {}
    groups: dict[tuple[int, int], list[str]] = {}
    for sample in samples:
        if stored[sample].won_by == "clean":
            found[sample] = task.load([ids.index(sample)])[0].cpu()
        else:
            groups.setdefault(_origin(evaluators, (position, index), sample, stored[sample]), []).append(sample)
    for origin, group in groups.items():
        found.update(_recovered(make, evaluators, context, origin, {sample: stored[sample] for sample in group}))
    return [
        Example(
            sample,
            found[sample],
            task.load([ids.index(sample)])[0].cpu(),
            stored[sample],
            task.space,
            dict(zip(PLACE, place, strict=True)),
        )
        for sample in samples
    ]


def only_place(rows: Sequence[Row], where: Mapping[str, Any]) -> tuple[str, ...]:
    """The one number that `where` picks out of a table, as its label. Clean numbers and those of an old index count
    only where they are asked for. Raises InputError where none or several fit.
    """
    unknown = [column for column in where if column not in PLACE]
    if unknown:
        raise InputError(f"{unknown[0]}={where[unknown[0]]!r}: expected columns out of {', '.join(PLACE)}")
    wanted = {column: str(value) for column, value in where.items() if value is not None}
    fitting = [row for row in rows if all(getattr(row, column) == value for column, value in wanted.items())]
    if "threat_model" not in wanted and wanted.get("eps") != "0":
        fitting = [row for row in fitting if row.threat_model != "clean"]
    if "task" not in wanted:
        fitting = [row for row in fitting if not row.task.startswith(INDEX)]
    places = list(dict.fromkeys(label_of(row) for row in fitting))
    said = ", ".join(f"{column}={value!r}" for column, value in wanted.items()) or "nothing"
    if not places:
        has = "; ".join(
            f"{column} {', '.join(dict.fromkeys(getattr(row, column) for row in rows))}"
            for column in wanted
            if wanted[column] not in {getattr(row, column) for row in rows}
        )
        raise InputError(f"no number of the table fits {said}; {f'the table has {has}' if has else 'not all of it'}")
    if len(places) > 1:
        open_columns = [
            f"{column}= ({', '.join(dict.fromkeys(values))})"
            for column, values in zip(PLACE, zip(*places, strict=True), strict=True)
            if len(set(values)) > 1
        ]
        raise InputError(f"{len(places)} numbers of the table fit {said}; choose {', '.join(open_columns)}")
    if places[0][PLACE.index("task")].startswith(INDEX):
        raise InputError(f"{places[0][PLACE.index('task')]} is about clean embeddings: nothing was attacked for it")
    return places[0]


def _evaluator_of(
    place: tuple[str, ...], evaluators: Sequence[Evaluator], store: AnyStore
) -> tuple[int, int, Evaluator]:
    """Position and index (-1: clean) of the evaluator whose verdicts the number was read from."""
    key = store.labelled(place)
    if key is None:
        raise InputError(f"{store.folder} holds no verdicts of {' '.join(place)}; expected the run folder of the audit")
    for position, evaluator in enumerate(evaluators):
        for index in range(-1, len(evaluator.strengths)):
            if evaluator.key(index + 1) == key:
                return position, index, evaluator
    recorded = store.description(key)
    differences = [
        [
            f"{name} is {_short(now.get(name))}, was {_short(value)}"
            for name, value in recorded.items()
            if json.dumps(now.get(name), default=str) != json.dumps(value)
        ]
        for evaluator in evaluators
        for now in map(evaluator.description, range(len(evaluator.strengths) + 1))
    ]
    fewest = min(differences, key=len, default=["its jobs hold no such audit"])
    raise InputError(
        f"the verdicts of {' '.join(place)} were decided by another audit than this one: {'; '.join(fewest[:4])}"
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _origin(evaluators: Sequence[Evaluator], at: tuple[int, int], sample: str, verdict: Verdict) -> tuple[int, int]:
    """Where a verdict came about: verdicts carry over from radius to radius, and from replayed to adaptive."""
    position, index = at
    encoder = evaluators[position].task.encoder
    for earlier, evaluator in enumerate(evaluators[: position + 1]):
        if evaluator.task.encoder is not encoder or evaluator.task.question != evaluators[position].task.question:
            continue
        for number in range(len(evaluator.strengths)):
            known = evaluator.context.store.verdicts(evaluator.key(number + 1)).get(sample)
            if known is not None and known.won_by == verdict.won_by and _same(known, verdict, True):
                return earlier, number
    return position, index


def _recovered(
    make: MakeEvaluators,
    evaluators: Sequence[Evaluator],
    context: RunContext,
    origin: tuple[int, int],
    wanted: Mapping[str, Verdict],
) -> dict[str, Float[Tensor, "..."]]:
    """The examples of these samples, whose verdicts all came about in one place."""
    position, index = origin
    evaluator = evaluators[position]
    exact = torch.device(evaluator.task.device).type == "cpu"
    found = _stored(evaluator, index, wanted, exact)
    nearest: dict[str, Verdict] = {}
    for threads in dict.fromkeys((torch.get_num_threads(), 1)):  # worker processes have one thread each
        missing = [sample for sample in wanted if sample not in found]
        if not missing:
            break

        def witness(ids: Sequence[str], x: Tensor, verdicts: Sequence[Verdict]) -> None:
            for row, (sample, verdict) in enumerate(zip(ids, verdicts, strict=True)):
                if sample in wanted and sample not in found and verdict.won_by == wanted[sample].won_by:
                    if _same(verdict, wanted[sample], exact):
                        found[sample] = x[row].detach().cpu().clone()
                    else:
                        nearest[sample] = verdict

        hidden = cast(AnyStore, HiddenVerdicts(context.store, evaluator.key(index + 1), missing))
        with _threads(threads):
            again = make(replace(context, store=hidden, witness=witness))[position]
            with frozen(again.task.encoder):
                again.verdicts_at(index)
    for sample, verdict in wanted.items():
        if sample not in found:
            crafted = nearest.get(sample)
            what = f"rank {crafted.rank}, margin {crafted.margin!r}" if crafted else "no example"
            raise InputError(
                f"the example of sample {sample!r} cannot be had: crafted again by {verdict.won_by} it gives {what}; "
                f"the stored verdict says rank {verdict.rank}, margin {verdict.margin!r} (another machine, number of "
                "threads, or version of a library?)"
            )
    return found


def _stored(
    evaluator: Evaluator, index: int, wanted: Mapping[str, Verdict], exact: bool
) -> dict[str, Float[Tensor, "..."]]:
    """Those that the store keeps and that are the ones behind the verdicts: it may keep stronger ones for replay."""
    kept = evaluator.context.store.examples(evaluator.key(index + 1), list(wanted))
    ids, norm = list(evaluator.task.dataset.ids), evaluator.strengths[index].norm
    found = {}
    for sample, x in kept.items():
        number = ids.index(sample)
        row, clean = x[None].to(evaluator.task.device), evaluator.task.load([number])
        with frozen(evaluator.task.encoder):
            (verdict,) = evaluator.verdicts_of([number], row, wanted[sample], clean, norm)
        if _same(verdict, wanted[sample], exact):
            found[sample] = x
    return found


def _same(verdict: Verdict, other: Verdict, exact: bool) -> bool:
    slack = 0.0 if exact else ROUNDING
    return (
        verdict.rank == other.rank
        and abs(verdict.margin - other.margin) <= slack
        and abs(verdict.distance - other.distance) <= slack
    )


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """So many threads of torch within the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
