"""What no adversary chose (check C23): accuracy under corruptions, and under random noise within the budgets that an
attack would have.

Which corruptions there are is for the caller to say, as `audit` is handed its attacks:
`modalities.corruptions.corruptions_for` has a table of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.results import THREAT_MODELS, Check, Result, Row, ThreatModelRecord
from ironbind.evaluate.audit import Examination, Progress, calibration_of, rows_of
from ironbind.evaluate.provenance import threat_model_record
from ironbind.evaluate.run_record import recorded
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.numerics.norms import enforce, random_start
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Budget, CalibratedEncoder, InputError, SampleRandom, Space, Task

# points: noise within a budget that costs more speaks of the budget, a calibration that costs more under corruptions
# speaks of it
COSTLY = 5.0


@runtime_checkable
class Corruption(Protocol):
    """A change that nobody chose: it knows neither goal nor encoder. `norm` and `written` say its strength in tables
    ("severity", "3").
    """

    @property
    def name(self) -> str: ...

    @property
    def norm(self) -> str: ...

    @property
    def written(self) -> str: ...

    def describe(self, shape: tuple[int, ...]) -> str:
        """What that strength means for samples of a shape."""
        ...

    def corrupt(
        self, x: Float[Tensor, "b ..."], modality: str, space: Space, rng: SampleRandom
    ) -> Float[Tensor, "b ..."]:
        """`x` corrupted, row by row, within the bounds of the space."""
        ...


@dataclass(frozen=True)
class RandomNoise:
    """A random point of the budget, uniform in its ball: a corruption whose strength is a distance, and what an attack
    of that budget has to beat.
    """

    budget: Budget

    name = "random_noise"

    @property
    def norm(self) -> str:
        return self.budget.norm

    @property
    def written(self) -> str:
        return self.budget.written

    def describe(self, shape: tuple[int, ...]) -> str:
        return f"{self.name}, uniform within {self.budget}"

    def corrupt(
        self, x: Float[Tensor, "b ..."], modality: str, space: Space, rng: SampleRandom
    ) -> Float[Tensor, "b ..."]:
        """Raises BrokenPostCondition when a point lies outside of the budget."""
        y = random_start(x, space, self.budget, rng, self.name)
        enforce(y, x, space, self.budget)
        return y


@dataclass
class UnderCorruption(Examination):
    """The *corrupted* threat model: rung i is `corruptions[i]` alone, as a severe corruption need not hurt whom a
    slight one did.
    """

    corruptions: Sequence[Corruption] = ()

    def description(self, rungs: int) -> dict[str, Any]:
        """Everything that decides the verdicts of one corruption (0: without)."""
        clean = super().description(0)
        if not rungs:
            return clean
        one = self.corruptions[
            rungs - 1
        ]  # its words too: strengths in a table may change, and stored verdicts must not outlive that
        said = f"{one!r} {one.describe(_shape(self.task))}"
        return {**clean, "threat_model": self.threat_model, "corruption": said, "seed": self.seed}

    def rung(self, number: int) -> dict[str, Verdict]:
        """Verdicts under `corruptions[number]`, by sample id. Every strength of a corruption has the same randomness."""
        one, task = self.corruptions[number], self.task

        def judge(indices: list[int], _: list[Verdict]) -> list[Verdict]:
            x = task.load(indices)
            rng = PerSample.of(self.seed, [task.dataset.ids[index] for index in indices], f"corruption {one.name}")
            with torch.no_grad():
                y = one.corrupt(x, task.modality, task.space, rng)
            if y.shape != x.shape or not torch.isfinite(y).all():
                expected = f"expected finite numbers of shape {tuple(x.shape)}"
                raise InputError(
                    f"corruption {one.name!r} ({one.norm} {one.written}) gives {tuple(y.shape)}, not all of it finite; {expected}"
                )
            return self._judge(indices, y, Verdict(0, 0.0, won_by=f"{one.name} {one.written}", forward_passes=1))

        return self._complete(number + 1, one.name, judge)


def audit_corrupted(
    task: Task,
    corruptions: Sequence[Corruption],
    budget: Budget | Sequence[Budget] = (),
    *,
    out: Path | str | None = None,
    store: VerdictStore | None = None,
    seed: int = 0,
    batch_size: int = 64,
    fresh: bool = False,
    progress: Progress | None = None,
) -> Result:
    """How much of a task survives corruptions: rows for clean data, for every one of `corruptions`, and for random
    noise within every `budget`.

    Their threat model is "corrupted", their attack the corruption's name, their norm and eps its strength ("severity",
    "3"). There is no adversary, so that nothing is replayed and nothing adaptive: a calibrated encoder is examined as
    it stands, and so is its backbone. A number is the share under one draw of each corruption, not the worst of
    several; verdicts do not carry over to the next strength. Other options as in `audit`. Raises InputError for nothing
    to examine, for corruptions that do not suit the task, and for budgets of another space.
    """
    noise = [RandomNoise(one) for one in ([budget] if isinstance(budget, Budget) else budget)]
    for one in noise:
        one.budget.check(task.space)
    strengths: tuple[Corruption, ...] = (*corruptions, *noise)
    if not strengths:
        raise InputError(
            f"nothing to examine {task.modality} in {task.space.name} under: no corruption suits it, and no budget was given"
        )
    tell = progress or (lambda what, done, total: None)
    with recorded(task, out=out, store=store, seed=seed, fresh=fresh) as (result, kept):
        under = [task.on(task.encoder.backbone), task] if isinstance(task.encoder, CalibratedEncoder) else [task]
        for asked in under:
            examined = UnderCorruption(
                asked, (), (), kept, "corrupted", seed, batch_size, progress=tell, corruptions=strengths
            )
            result.rows += _rows(examined)
            _, calibration = calibration_of(asked.encoder)
            scope = f"{task.modality} {task.space.name} {task.name}, {calibration}, corrupted"
            result.checks.append(replace(_check(result.rows, calibration), scope=scope))
        result.threat_models += _threat_models(task, strengths)
    return result


def _shape(task: Task) -> tuple[int, ...]:
    return tuple(task.encoder.inputs[task.modality].shape_in(task.space.name))


def _rows(examined: UnderCorruption) -> list[Row]:
    rows = rows_of(examined, examined.clean(), "clean", None)
    examined.store.label(examined.key(0), label_of(rows[-1]))
    for number, one in enumerate(examined.corruptions):
        rows += rows_of(examined, examined.rung(number), "corrupted", one, one.name)
        examined.store.label(examined.key(number + 1), label_of(rows[-1]))
    return rows


def _check(rows: Sequence[Row], calibration: str) -> Check:
    """C23: warns where random noise within a budget costs more than 5 points, so that an attack within it shows less
    than it seems to; and where a calibration costs more than 5 points of the mean under corruptions."""
    metric = rows[0].metric

    def values(of: str, wanted: Callable[[Row], bool]) -> dict[str, float]:
        return {
            f"{row.attack} {row.eps}": row.value
            for row in rows
            if row.calibration == of and row.metric == metric and wanted(row)
        }

    (clean,) = values(calibration, lambda row: row.threat_model == "clean").values()
    said, warned = [f"clean {clean:.1f} %"], False
    severe = values(calibration, lambda row: row.norm == "severity")
    if severe:
        lowest = min(severe, key=lambda name: severe[name])
        names = {name.partition(" ")[0] for name in severe}
        said.append(
            f"mean over {len(names)} corruptions at every severity {fmean(severe.values()):.1f} %, lowest {severe[lowest]:.1f} % ({lowest})"
        )
        before = values("none", lambda row: row.norm == "severity")
        lost = fmean(before.values()) - fmean(severe.values())
        if calibration != "none":
            said.append(
                f"{abs(lost):.1f} points {'less' if lost > 0 else 'more'} than without calibration (limit {COSTLY:g} less)"
            )
        warned |= lost > COSTLY
    noisy = values(calibration, lambda row: row.threat_model == "corrupted" and row.norm != "severity")
    if noisy:
        lowest = min(noisy, key=lambda name: noisy[name])
        said.append(
            f"random noise within a budget costs up to {max(0.0, clean - noisy[lowest]):.1f} points ({lowest}; limit {COSTLY:g})"
        )
        warned |= clean - noisy[lowest] > COSTLY
    return Check("C23", "corruptions and noise", "warn" if warned else "pass", "; ".join(said))


def _threat_models(task: Task, strengths: Sequence[Corruption]) -> list[ThreatModelRecord]:
    """One record for all severities, each with what it means, and one for the noise."""
    found = []
    noise = [one for one in strengths if isinstance(one, RandomNoise)]
    if noise:
        record = threat_model_record(task, (), [one.budget for one in noise], ("corrupted",))
        found.append(
            replace(
                record,
                goal=f"none: {task.name} under random noise",
                attack="RandomNoise, uniform in the ball of each budget",
            )
        )
    severities: dict[str, list[Corruption]] = {}
    for one in strengths:
        if not isinstance(one, RandomNoise):
            severities.setdefault(one.written, []).append(one)
    if severities:
        names = dict.fromkeys(one.name for one in strengths if not isinstance(one, RandomNoise))
        found.append(
            ThreatModelRecord(
                modality=task.modality,
                space=task.space.name,
                unit=task.space.unit,
                bounds=(task.space.low, task.space.high),
                norm="severity",
                eps=tuple(severities),
                radii=tuple(float(position + 1) for position in range(len(severities))),
                meaning=tuple("; ".join(one.describe(_shape(task)) for one in of) for of in severities.values()),
                goal=f"none: {task.name} under corruptions",
                attack=", ".join(names),
                knowledge=f"corrupted: {THREAT_MODELS['corrupted']}",
                input_shape=_shape(task),
            )
        )
    return found
