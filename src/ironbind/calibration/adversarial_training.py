"""Adversarial training: at every step examples are computed anew through everything that trains, as an adaptive
attacker will do too.

It is cheap (few attack steps, small parts) and loses no work: its state is written to disk on the way, and a run that
is killed and started again ends with the same bits. Under a launcher of several ranks each takes a slice of every batch
(`data_parallel.py`); the batch, its examples and the step do not depend on how many there are, and a run that began
with one number of ranks may go on with another. Only the order in which gradients are added does.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.data_parallel import own_share, sum_gradients, take_from_first, whole_batch
from ironbind.calibration.objectives import describe
from ironbind.calibration.training_batches import Batch, Place, Rows, order, stream
from ironbind.calibration.validation import Validation
from ironbind.calibration.validation import ValidationScore as ValidationScore
from ironbind.goals.embedding_shift import EmbeddingShift
from ironbind.goals.misclassify import Misclassify
from ironbind.numerics import ranks, scalars
from ironbind.numerics.content_cache import STATE, content_key
from ironbind.numerics.networks import frozen
from ironbind.numerics.norms import enforce
from ironbind.numerics.sample_random import PerSample, under_noise
from ironbind.types import AdversarialTraining, Budget, ClassCenters, Embed, InputError, Stage, Task, Views

Progress = Callable[[str, int, int], None]
CLIP = 1.0  # longest gradient over all trained parameters
SAVE_SECONDS = 20.0  # a killed run repeats no more than that


class TrainingOutcome(NamedTuple):
    """What a stage leaves for its record; the trained parts are in place."""

    steps: int
    best_step: int
    samples_seen: int
    losses: list[float]
    curve: tuple[tuple[int, float, float], ...]
    craft_seconds: float
    fit_seconds: float
    data_seconds: float


@dataclass
class AdversarialTrainer:
    """A stage of adversarial training for one modality: `hard` is the encoder under training, `tasks` the training data
    (one task per space), `held_out` the same tasks over validation data, which are neither trained on nor reported.
    `purpose` keys the randomness; `cache`: folder of the state (None: it is not kept)."""

    hard: Calibrated
    tasks: Sequence[Task]
    rows: Sequence[int]
    held_out: Sequence[Task]
    held_out_rows: Sequence[int]
    stage: Stage
    seed: int
    purpose: str
    cache: Path | None = None
    workers: int = 0
    tell: Callable[[int, int], None] = lambda done, total: None

    step: int = field(default=0, init=False)
    best_step: int = field(default=0, init=False)
    best_score: float = field(default=-math.inf, init=False)
    stale: int = field(default=0, init=False)  # validations in a row without a better score
    losses: list[float] = field(default_factory=list, init=False)
    curve: list[tuple[int, float, float]] = field(default_factory=list, init=False)
    cosines: list[float] = field(default_factory=list, init=False)  # of each validated state
    seconds: dict[str, float] = field(default_factory=lambda: {"craft": 0.0, "fit": 0.0, "data": 0.0}, init=False)

    def __post_init__(self) -> None:
        assert self.stage.adversarial_training is not None
        self.settings: AdversarialTraining = self.stage.adversarial_training
        self.modality = self.tasks[0].modality
        self.trained = self.hard.parameters_of(self.modality, self.stage.trains)
        self.best = _copies(self.trained)
        self.average = _copies(self.trained) if self.settings.averaging else {}
        self.adam = torch.optim.Adam(
            self.trained.values(), lr=self.stage.learning_rate, weight_decay=self.stage.weight_decay
        )
        count = self.stage.steps * self.settings.accumulate if self.stage.steps else None
        self.batches = order(
            self.rows, self.stage.epochs, count, self.stage.batch_size, self.seed, self.purpose, "order"
        )
        self.steps = math.ceil(len(self.batches) / self.settings.accumulate)
        self.checkpoints = {*range(0, self.steps, self.settings.every), self.steps}
        self._saved_at = time.monotonic()
        if self.settings.aim == "caption" and self.tasks[0].dataset.captions is None:
            raise InputError(
                f"data set {self.tasks[0].dataset.name!r} has no captions, which this training attack and objective "
                "need; expected a captions.csv, or a recipe that trains on classes (hardened) or on neither (fare)"
            )
        self.group = ranks.current()
        self.shares = [own_share(len(place.rows), self.group) for place in self.batches]
        self.validation = Validation(
            self.hard, self.held_out, self.held_out_rows, self.stage, self.seed, self.purpose, self.group
        )
        self._told = False
        self._stood: list[Tensor] = []  # since the last validation, of training examples of the whole radius
        self.elsewhere = dict.fromkeys(self.seconds, 0.0)  # CPU seconds of other ranks, up to the last validation

    # ------------------------------------------------------------------------------------------------------ the loop

    def run(self) -> TrainingOutcome:
        """Trains, validates, keeps the best state; raises InputError when the loss or the embeddings are no numbers any
        more.
        """
        self.key = self._key()  # of the untouched start
        take_from_first(self.trained, self.group)
        self._restore()
        if not self.curve:
            self._validate()
        with _learning(self.trained.values()):
            to_come = slice(self.step * self.settings.accumulate, None)
            slices = [
                place.rows[share] for place, share in zip(self.batches[to_come], self.shares[to_come], strict=True)
            ]
            incoming = stream(self.tasks, [rows for rows in slices if rows], self.workers)
            while self.step < self.steps and not self.stopped:
                self._learn(incoming)
                self.step += 1
                self.tell(self.step, self.steps)
                if self.step in self.checkpoints:
                    self._validate()
                if self.step in self.checkpoints or time.monotonic() - self._saved_at > SAVE_SECONDS:
                    self._save()
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(self.best[name])
        self._warn_of_bound()
        self._count_seconds()
        seconds = [round(self.seconds[name] + self.elsewhere[name], 2) for name in ("craft", "fit", "data")]
        seen = sum(len(place.rows) for place in self.batches[: self.step * self.settings.accumulate])
        return TrainingOutcome(self.step, self.best_step, seen, self.losses, tuple(self.curve), *seconds)

    @property
    def stopped(self) -> bool:
        return bool(self.settings.patience) and self.stale >= self.settings.patience

    def _learn(self, incoming: Iterator[Batch]) -> None:
        """One step of the optimiser, over `accumulate` batches, each attacked in every space."""
        count = self.settings.accumulate
        present = slice(self.step * count, (self.step + 1) * count)
        places = self.batches[present]
        terms: list[float] = []
        self.adam.param_groups[0]["lr"] = self.stage.learning_rate * _pace(
            self.stage.schedule, (self.step + 0.5) / self.steps
        )
        for place, share in zip(places, self.shares[present], strict=True):
            own = next(incoming) if place.rows[share] else None
            self.seconds["data"] += own.seconds if own else 0.0
            for number, task in enumerate(self.tasks):
                views = self._views(task, place, share, own.inputs[number] if own else None)
                with self._clock("fit"):
                    loss = self.stage.objective(views) / (len(places) * len(self.tasks))
                    if own:  # without rows of its own a rank has nothing to add to the gradient
                        loss.backward()
                    terms.append(loss.item())
        total = math.fsum(terms)
        with self._clock("fit"):
            if not math.isfinite(total):
                raise InputError(
                    f"calibration of {self.modality} diverged at step {self.step} (loss {total}); try a lower "
                    "learning rate"
                )
            sum_gradients(self.trained.values(), self.group)
            nn.utils.clip_grad_norm_(self.trained.values(), CLIP)
            self.adam.step()
            self.adam.zero_grad()
            self._average()
        self.losses.append(total)
        scalars.record(f"{self.modality}/loss", total, self.step + 1)

    @torch.no_grad()
    def _average(self) -> None:
        """The moving average after this step, where one is kept."""
        decay = min(self.settings.averaging, (1 + self.step) / (10 + self.step))
        for name, mean in self.average.items():
            mean.lerp_(self.trained[name], 1 - decay)

    def _views(self, task: Task, place: Place, share: slice, x: Tensor | None) -> Views:
        """The whole batch's embeddings, clean and of examples against the present state of the encoder. `x`: the inputs
        of this rank's share of it (None: an empty one).
        """
        rows, count = place.rows, len(place.rows)
        empty = task.centers.z.new_zeros((0, task.encoder.dim), dtype=torch.float32)
        centers, label = self._classes(task, rows)
        own = (empty, empty, empty)
        if x is not None:
            own = self._embeddings_of(task, place.epoch, rows[share], x, centers, label[share])
        clean, clean_out, adv_out = (whole_batch(z, share, count, self.group) for z in own)
        return Views(clean, clean_out, adv_out, label, centers, _Paired(task, rows))

    def _classes(self, task: Task, rows: Rows) -> tuple[ClassCenters, Int[Tensor, " b"]]:
        """What the batch's embeddings are compared with, and the truth of each: the task's class centers, or the
        batch's captions, of which equal ones are one class (`task.paired` would embed pictures beside them).
        """
        if self.settings.aim != "caption":
            return self._centers[task.space.name], self._labels(task, rows)
        assert task.dataset.captions is not None
        told = [task.dataset.captions[row] for row in rows]
        names = tuple(dict.fromkeys(told))
        with self._clock("craft"), torch.no_grad():
            z = self.hard.backbone.embed_text(names).float().to(task.device)
        label = torch.tensor([names.index(one) for one in told], device=task.device)
        return ClassCenters(z, torch.arange(len(names), device=task.device), names), label

    def _embeddings_of(
        self, task: Task, epoch: int, rows: Rows, x: Tensor, centers: ClassCenters, label: Int[Tensor, " b"]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Of these samples: the frozen encoder's clean embeddings, the new clean ones, and those of the examples."""
        ids = [task.dataset.ids[row] for row in rows]
        rng = PerSample.of(self.seed, ids, f"live {self.purpose} {task.space.name} epoch {epoch}")
        budget = self._budget(task)
        with self._clock("craft"), torch.no_grad():
            clean = task.on(self.hard.backbone).embed(x).float()
        if not self.settings.radius:  # noise alone: two draws of it
            with self._clock("fit"):
                embed = self._embed(task)
                return clean, embed(x), embed(x)
        with self._clock("craft"):
            goal: Any = EmbeddingShift(clean)
            if self.settings.aim != "clean":
                goal = task.goal(rows) if self.settings.aim == "truth" else Misclassify(centers, label)
            with frozen(self.hard):
                attacked = self.stage.attack(self._embed(task), x, goal, task.space, budget, rng)
            enforce(attacked.x, x, task.space, budget)
            # of a smaller radius samples may well stand, and an attack on the embedding alone leaves no answer to ask
            if self._warm_share == 1 and self.settings.radius >= 1 and self.settings.aim != "clean":
                self._stood.append(~attacked.reached)
        with self._clock("fit"):
            clean_out, adv_out = self._embed(task)(torch.cat([x, attacked.x])).chunk(2)
        return clean, clean_out, adv_out

    def _embed(self, task: Task) -> Callable[[Tensor], Float[Tensor, "b d"]]:
        through_all: Embed = task.on(self.hard).embed
        sigma = self.settings.noise_in(task.space)
        if sigma:
            through_all = under_noise(through_all, sigma, self.seed, "noise", self.purpose, task.space.name, self.step)

        def embed(x: Tensor) -> Tensor:
            with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=self.settings.autocast):
                return through_all(x).float()

        return embed

    def _budget(self, task: Task) -> Budget:
        union = self.stage.budgets_in(task.space)
        full = union[self.step % len(union)]
        return replace(full, radius=full.radius * self.settings.radius * self._warm_share)

    @property
    def _warm_share(self) -> float:
        """Of the training radius, that this step may spend."""
        warm_up = self.settings.warm_up * self.steps
        return min(1.0, (self.step + 1) / max(1.0, warm_up)) if warm_up else 1.0

    def _labels(self, task: Task, rows: Rows) -> Int[Tensor, " b"]:
        return torch.tensor([task.dataset.labels[row] for row in rows], device=task.device)

    @cached_property
    def _centers(self) -> dict[str, Any]:
        return {task.space.name: task.centers for task in self.tasks}

    @contextmanager
    def _clock(self, what: str) -> Iterator[None]:
        started = time.process_time()
        yield
        self.seconds[what] += time.process_time() - started

    # ----------------------------------------------------------------------------------------------------- validation

    def _warn_of_bound(self) -> None:
        """Where the bound of the cosine took away all that was trained."""
        below = [cosine for cosine in self.cosines if cosine < self.settings.cosine]
        if self.settings.cosine and below and not self.best_step and not self.group.rank:
            warnings.warn(
                f"calibration of {self.modality} ends as it began: of {len(self.cosines)} validated states "
                f"{len(below)} have a mean cosine of new to old clean embeddings below {self.settings.cosine:g}, the "
                f"last {self.cosines[-1]:.3f}; expected a lower AdversarialTraining.cosine, or more distillation",
                stacklevel=2,
            )

    def _warn_of_overfitting(self, adaptive: float) -> None:
        """Where training examples are withstood that a stronger attack would have found."""
        own = torch.cat(self._stood).tolist() if self._stood else []
        self._stood.clear()
        stood, asked = (sum(counts) for counts in zip(*self.group.gather((sum(own), len(own))), strict=True))
        if not asked or self.group.rank or self._told:
            return
        best = max(self.curve, key=lambda point: point[2])
        if catastrophically_overfitted(100 * stood / asked, adaptive, best[2], len(self.held_out_rows)):
            self._told = True
            warnings.warn(
                f"calibration of {self.modality} overfits to its training attack: {100 * stood / asked:.0f} % of the "
                f"training samples withstand {self.stage.attack.name}, but {adaptive:.0f} % of the validation samples "
                f"{self.settings.validation_attack.name} at step {self.step}, {best[2]:.0f} % at step {best[0]}; "
                "expected more steps of the training attack (attack_steps=2), or a lower learning rate",
                stacklevel=2,
            )

    def _validate(self) -> None:
        """Evaluates the validation samples, each rank a share, and keeps the state when its score is the best yet.
        Where a moving average is kept, the state is the average.
        """
        self._hold_together()
        with self._clock("fit"), _holding(self.trained, self.average):
            now, state = self.validation.score(), _copies(self.trained)
        self._warn_of_overfitting(now.adaptive)
        self.curve.append((self.step, round(now.clean, 2), round(now.adaptive, 2)))
        self.cosines.append(now.cosine)
        scalars.record(f"{self.modality}/validation_clean", now.clean, self.step)
        scalars.record(f"{self.modality}/validation_adaptive", now.adaptive, self.step)
        score = now.score(self.validation.frozen_accuracy, self.settings.cosine)
        self.stale += 1
        if score > self.best_score:
            self.best_score, self.best_step, self.stale = score, self.step, 0
            self.best = state
        self._count_seconds()

    def _hold_together(self) -> None:
        """Every rank in the state of the first, should sums of gradients have differed among them."""
        take_from_first(self.average, self.group)
        if take_from_first(self.trained, self.group):
            state = self.group.from_first(self.adam.state_dict)
            self.adam.load_state_dict(state)

    def _count_seconds(self) -> None:
        spent = self.group.gather(self.seconds)
        others = [one for rank, one in enumerate(spent) if rank != self.group.rank]
        self.elsewhere = {name: math.fsum(one[name] for one in others) for name in self.seconds}

    # ----------------------------------------------------------------------------------------------------- the state

    def _key(self) -> str:
        """Everything that decides the outcome."""
        stage = replace(self.stage, objective=_nothing)
        data = [(task.dataset.fingerprint, task.space.name) for task in (*self.tasks, *self.held_out)]
        parts = (
            self.hard.weights_sha256,
            data,
            list(self.rows),
            list(self.held_out_rows),
            repr(stage).replace(repr(_nothing), ""),  # the address of a function changes from process to process
            describe(self.stage.objective),
            self.seed,
            self.purpose,
            [(task.centers.names, task.centers.label.tolist()) for task in self.tasks],
        )
        return content_key(parts, [task.centers.z for task in self.tasks])

    @property
    def _path(self) -> Path | None:
        return self.cache / f"adversarial-training-{self.key}.pt" if self.cache else None

    _FIELDS = ("step", "best_step", "best_score", "stale", "losses", "curve", "cosines", "seconds")

    def _save(self) -> None:
        """The first rank writes for all: they are in the same state."""
        self._saved_at = time.monotonic()
        if self.group.rank:
            return
        parts = {"parts": _copies(self.trained), "best": self.best, "average": self.average}
        tensors = {**parts, "adam": self.adam.state_dict()}
        fields = {name: getattr(self, name) for name in self._FIELDS}
        fields["seconds"] = {name: spent + self.elsewhere[name] for name, spent in self.seconds.items()}
        STATE.write(self._path, {**fields, **tensors})
        self._saved_at = time.monotonic()

    def _restore(self) -> None:
        """The state of a killed run of the same stage, where there is one that the first rank can read; however many
        ranks it had.
        """
        state = self.group.from_first(lambda: STATE.read(self._path, self._fits))
        if state is None:
            return
        self.adam.load_state_dict(state["adam"])
        with torch.no_grad():
            for name, parameter in self.trained.items():
                parameter.copy_(state["parts"][name])
                self.best[name].copy_(state["best"][name])
            for name, mean in self.average.items():
                mean.copy_(state["average"][name])
        for name in self._FIELDS:
            setattr(self, name, state[name])
        if self.group.rank:
            self.seconds = dict.fromkeys(self.seconds, 0.0)  # what was spent before is counted once

    def _fits(self, state: Mapping[str, Any]) -> bool:
        """Whether a state is complete and of these parameters; raises anything where it is not."""
        torch.optim.Adam(self.trained.values()).load_state_dict(state["adam"])
        shapes = {name: parameter.shape for name, parameter in self.trained.items()}
        kept = [{name: tensor.shape for name, tensor in state[part].items()} for part in ("parts", "best", "average")]
        return kept == [shapes, shapes, shapes if self.average else {}] and all(name in state for name in self._FIELDS)


def catastrophically_overfitted(stood: float, adaptive: float, best: float, samples: int) -> bool:
    """Whether a training has learned to mislead its own attack (Wong et al. 2020, arXiv 2001.03994; seldom with one
    step from a random start, soon without): `stood` percent of the training samples withstand it, `adaptive` percent of
    the validation `samples` a stronger one, `best` did at an earlier validation. The bounds are ours: half of the best
    is lost, at least 10 points and 5 samples, and the two attacks disagree by 30 points.
    """
    lost = best - adaptive
    return adaptive <= best / 2 and lost >= 10 and lost * samples >= 500 and stood - adaptive >= 30


class _Paired(Mapping[str, Tensor]):
    """The batch's clean embeddings in other modalities, computed when an objective first reads them: most never do, and
    rendering them costs time.
    """

    def __init__(self, task: Task, rows: Rows) -> None:
        self._compute = lambda: task.paired(rows)

    @cached_property
    def _embeddings(self) -> dict[str, Tensor]:
        return self._compute()

    def __getitem__(self, name: str) -> Tensor:
        return self._embeddings[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._embeddings)

    def __len__(self) -> int:
        return len(self._embeddings)


def _nothing(views: Views) -> Tensor:
    raise NotImplementedError


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


@contextmanager
def _holding(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Iterator[None]:
    """These parameters have these values for the time of the block; {} leaves them as they are."""
    before = _copies(parameters) if values else {}
    with torch.no_grad():
        for name, value in values.items():
            parameters[name].copy_(value)
    try:
        yield
    finally:
        with torch.no_grad():
            for name, value in before.items():
                parameters[name].copy_(value)


@contextmanager
def _learning(parameters: Any) -> Iterator[None]:
    """These parameters take gradients for the time of the block."""
    trained = list(parameters)
    for parameter in trained:
        parameter.requires_grad_(True)
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(False)
            parameter.grad = None


def _pace(schedule: str, progress: float) -> float:
    """Share of the learning rate at `progress` in [0, 1]: one_cycle rises from 1/25 along a cosine over the first
    quarter and falls to 1/10,000.
    """
    if schedule == "constant":
        return 1.0
    low, high, at = (0.04, 1.0, progress / 0.25) if progress < 0.25 else (1.0, 1e-4, (progress - 0.25) / 0.75)
    return low + (high - low) * (1 - math.cos(math.pi * at)) / 2
