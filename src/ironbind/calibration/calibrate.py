"""Calibration: a recipe's stages, one after the other, for each modality. Heads on examples of the frozen encoder are
fitted in `precomputed.py`; `adversarial_training.py` computes its examples anew at every step.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ironbind.calibration import HEADS
from ironbind.calibration.adapters import Adapters, tower_parameters
from ironbind.calibration.adversarial_training import AdversarialTrainer
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.data_parallel import take_from_first
from ironbind.calibration.objectives import describe
from ironbind.calibration.precomputed import fit_head
from ironbind.core.results import CalibrationRecord
from ironbind.numerics import ranks
from ironbind.numerics.networks import frozen, parameter_count
from ironbind.numerics.sample_random import seed_of
from ironbind.types import CalibrationRecipe, Dataset, DefendedEncoder, InputError, Stage, Task

Progress = Callable[[str, int, int], None]


def calibrate(
    task: Task | Sequence[Task],
    recipe: CalibrationRecipe,
    train: Dataset | None = None,
    *,
    tune: Dataset | None = None,
    start: Calibrated | None = None,
    samples: int | None = None,
    cache: Path | None = None,
    batch_size: int = 64,
    workers: int = 0,
    progress: Progress | None = None,
) -> Calibrated:
    """The tasks' encoder with heads and adapters trained by `recipe`: an Encoder again.

    `task`: one zero-shot task or several of one encoder; tasks of the same modality (audio attacked in two spaces)
    share what trains. The data that the tasks are audited on are never trained on: `train` is the training data, by
    default `samples` (the recipe's own number) of the data set's training split. `tune`: validation data, with which
    adversarial training chooses its best state; by default the data set's split "tune", else a part of the training
    data that is then left out of it. They are neither trained on nor audited. `start`: a calibration of the same
    encoder to continue; its modalities keep its parts, in its shapes (low-rank updates of a lower rank than the
    recipe's grow to that), and its records, to which those of the new stages are added. `cache`: folder of precomputed
    embeddings and of the state of adversarial training, so that a killed calibration continues and further recipes
    start at once. `batch_size` of precomputed examples and `workers`, processes that decode training batches ahead, do
    not change results. Raises InputError when there is nothing to train on, for tasks of different encoders, and for a
    `start` that does not fit.

    Under a launcher of several ranks all of them call it: examples are crafted and batches trained on by shares, and
    every rank returns the same weights. `cache` is read and written by the first.
    """
    tasks = list(task) if isinstance(task, Sequence) else [task]
    if not tasks:
        raise InputError("calibration needs at least one task")
    encoder = tasks[0].encoder
    if any(other.encoder is not encoder for other in tasks):
        raise InputError("calibration trains heads for one encoder at a time; the tasks hold several")
    if isinstance(encoder, DefendedEncoder):
        raise InputError(
            f"encoder {encoder.name!r} is behind a test-time defence, through which nothing is trained; expected the "
            "undefended encoder: calibrate it first, then defend the calibrated one"
        )
    tell = progress or (lambda what, done, total: None)
    parts = []
    for modality in dict.fromkeys(other.modality for other in tasks):
        here = [other for other in tasks if other.modality == modality]
        data = train if train is not None else training_split(here[0].dataset, samples or recipe.samples)
        with frozen(encoder):  # what was handed over in train mode keeps its modes and statistics and gets no gradients
            parts.append(_Course(here, data, tune, start, recipe, cache, batch_size, workers, tell).run())
    return joined(parts)


def joined(parts: Sequence[Calibrated]) -> Calibrated:
    """One calibrated encoder out of several of the same backbone and recipe, each of modalities of its own."""
    first = parts[0]
    heads: dict[str, nn.Module] = {modality: head for part in parts for modality, head in part.heads.items()}
    adapters = {modality: adapted for part in parts for modality, adapted in part.adapters.items()}
    return Calibrated(
        first.backbone,
        heads,
        first.calibration,
        first.kind,
        [record for part in parts for record in part.records],
        adapters,
    )


def training_split(dataset: Dataset, samples: int) -> Dataset:
    """`samples` of the data set's own training split. Raises InputError when it has none: what is audited is never
    trained on.
    """
    split = getattr(dataset, "split", None)
    if not callable(split):
        raise InputError(
            f"data set {dataset.name!r} has no training split of its own; pass other data to train on (train=..., "
            "--train-data DIR)"
        )
    return split("train", samples)


def _radius(stage: Stage, task: Task) -> str:
    """What the training attack may spend, as it is written down."""
    share = stage.adversarial_training.radius if stage.adversarial_training else 1.0
    own, *also = stage.budgets_in(task.space)
    written = " / ".join([own.written, *map(str, also)])
    return written if share == 1 else f"{share:g} x {written}"


def _crafted_by(stage: Stage, tasks: Sequence[Task]) -> str:
    """The training attack, and the noise that is added to every input, as they are written down."""
    training = stage.adversarial_training
    sigmas = dict.fromkeys(f"{training.noise_in(task.space):g}" for task in tasks) if training else {}
    noise = [f"noise {' / '.join(sigmas)}"] if set(sigmas) - {"0"} else []
    return " + ".join([*([stage.attack.name] if not training or training.radius or not noise else []), *noise])


class _Course:
    """One modality through all stages of a recipe."""

    def __init__(
        self,
        tasks: Sequence[Task],
        data: Dataset,
        tune: Dataset | None,
        start: Calibrated | None,
        recipe: CalibrationRecipe,
        cache: Path | None,
        batch_size: int,
        workers: int,
        tell: Progress,
    ) -> None:
        self.tasks = [task.over(data) for task in tasks]
        if not len(data):
            raise InputError(f"data set {data.name!r} holds no sample to train on")
        self.encoder, self.modality = tasks[0].encoder, tasks[0].modality
        self.audited, self.data, self.tune = tasks[0].dataset, data, tune
        self.recipe, self.cache, self.batch_size, self.workers, self.tell = recipe, cache, batch_size, workers, tell
        self.start = start if start is not None and self.modality in start.modalities else None
        self.hard = self._untrained()
        self.records = list(self._taken_over(self.start)) if self.start else []

    def _untrained(self) -> Calibrated:
        recipe, modality = self.recipe, self.modality
        heads: dict[str, nn.Module] = {}
        if recipe.head:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed_of(recipe.seed, recipe.name, modality, "head"))
                heads[modality] = HEADS[recipe.head](self.encoder.dim).to(self.tasks[0].centers.z.device)
        adapters = {}
        shape = recipe.adapters
        if self.start and modality in self.start.adapters:
            begun = self.start.adapters[modality].shape
            shape = replace(begun, rank=max(begun.rank, shape.rank)) if begun.rank and shape else begun
        if shape:
            adapters[modality] = Adapters(
                self.encoder, modality, shape, seed_of(recipe.seed, recipe.name, modality, "adapters")
            )
        return Calibrated(self.encoder, heads, recipe.name, recipe.head, adapters=adapters)

    def _taken_over(self, start: Calibrated) -> Sequence[CalibrationRecord]:
        """Copies the parts of an earlier calibration into the new ones; returns its records of this modality."""
        who = f"calibration {start.calibration!r} to go on from"
        if start.backbone.weights_sha256 != self.encoder.weights_sha256:
            raise InputError(
                f"{who} is of encoder {start.backbone.name!r}; expected one of {self.encoder.name!r} with these very "
                "weights"
            )
        if not all(stage.adversarial_training for stage in self.recipe.stages):
            raise InputError(
                f"calibration {self.recipe.name!r} crafts examples of the frozen encoder, and cannot go on from "
                f"{start.calibration!r}"
            )
        if self.modality in start.heads and start.kind != self.recipe.head:
            raise InputError(
                f"{who} has a {start.kind} head for {self.modality}; expected the recipe's, {self.recipe.head}"
            )
        if self.modality in start.heads:
            self.hard.heads[self.modality].load_state_dict(start.heads[self.modality].state_dict())
        if self.modality in start.adapters:
            self.hard.adapters[self.modality].take(start.adapters[self.modality])
        return [record for record in start.records if record.modality == self.modality]

    def run(self) -> Calibrated:
        ranks.refuse_unlike(weights=self.encoder.weights_sha256, data=self.data.fingerprint)
        for stage in self.recipe.stages:
            self.records.append(self._stage(len(self.records), stage))
        return Calibrated(
            self.encoder, dict(self.hard.heads), self.recipe.name, self.recipe.head, self.records, self.hard.adapters
        )

    def _stage(self, number: int, stage: Stage) -> CalibrationRecord:
        for task in self.tasks:
            for budget in stage.budgets_in(task.space):
                budget.check_plausible(task.space)
        trained = self.hard.parameters_of(self.modality, stage.trains)
        facts = self._trained(number, stage) if stage.adversarial_training else self._fitted(number, stage)
        group = ranks.current()
        take_from_first(trained, group)
        if not all(torch.isfinite(parameter).all() for parameter in trained.values()):
            raise InputError(
                f"calibration {self.recipe.name!r} of {self.modality} diverged (loss {facts['last_loss']}); try a "
                "lower learning rate"
            )
        return CalibrationRecord(
            name=self.recipe.name,
            modality=self.modality,
            space="+".join(task.space.name for task in self.tasks),
            head=self.recipe.head or "none",
            objective=describe(stage.objective),
            attack=_crafted_by(stage, self.tasks),
            eps="+".join(_radius(stage, task) for task in self.tasks),
            trainable=sum(parameter.numel() for parameter in trained.values()),
            encoder_parameters=parameter_count(self.encoder),
            epochs=stage.epochs,
            parts="+".join(stage.trains),
            ranks=group.size,
            backend=group.backend,
            **facts,
        )

    def _fitted(self, number: int, stage: Stage) -> dict[str, Any]:
        head = self.hard.heads[self.modality].requires_grad_(True)
        fit = fit_head(
            head, self.tasks, stage, number, self.recipe.seed, self.cache, self.batch_size, self.tell, self.recipe.name
        )
        head.requires_grad_(False)
        return {
            "train_samples": fit.samples,
            "samples_seen": fit.samples * stage.epochs,
            "craft_seconds": round(fit.craft_seconds, 2),
            "fit_seconds": round(fit.fit_seconds, 2),
            "first_loss": fit.losses[0] if fit.losses else float("nan"),
            "last_loss": fit.losses[-1] if fit.losses else float("nan"),
        }

    def _trained(self, number: int, stage: Stage) -> dict[str, Any]:
        assert stage.adversarial_training is not None
        rows, held_out, held_out_rows = self._held_out(stage.adversarial_training.validation)
        outcome = AdversarialTrainer(
            self.hard, self.tasks, rows, held_out, held_out_rows, stage, self.recipe.seed,
            f"{self.recipe.name} {self.modality} {number}", self.cache, self.workers,
            lambda done, total: self.tell(f"harden {self.recipe.name} {self.modality}", done, total),
        ).run()  # fmt: skip
        few = max(1, len(outcome.losses) // 10)
        return {
            "train_samples": len(rows),
            "samples_seen": outcome.samples_seen,
            "craft_seconds": outcome.craft_seconds,
            "fit_seconds": outcome.fit_seconds,
            "data_seconds": outcome.data_seconds,
            "first_loss": math.fsum(outcome.losses[:few]) / few,
            "last_loss": math.fsum(outcome.losses[-few:]) / few,
            "tower_parameters": tower_parameters(self.encoder, self.modality),
            "steps": outcome.steps,
            "best_step": outcome.best_step,
            "curve": outcome.curve,
        }

    def _held_out(self, count: int) -> tuple[Sequence[int], Sequence[Task], Sequence[int]]:
        """Rows to train on; tasks and rows to choose the best state with."""
        tune = self.tune if self.tune is not None else self._tuning_split(count)
        everyone = range(len(self.data))
        if tune is not None:
            if not len(tune):
                raise InputError(f"data set {tune.name!r} holds no sample to choose the best state with")
            return everyone, [task.over(tune) for task in self.tasks], range(min(count, len(tune)))
        shuffled = torch.randperm(
            len(self.data), generator=torch.Generator().manual_seed(seed_of(self.recipe.seed, "held out"))
        ).tolist()
        kept = min(count, max(1, len(self.data) // 5))
        if kept == len(self.data):
            raise InputError(
                f"data set {self.data.name!r} holds {kept} sample, which is too few to train on and to choose the "
                "best state with"
            )
        return sorted(shuffled[kept:]), self.tasks, sorted(shuffled[:kept])

    def _tuning_split(self, count: int) -> Dataset | None:
        """The split "tune" that belongs to the training data, unless somebody trains on it or audits it."""
        split = getattr(self.data, "split", None)
        if not callable(split):
            return None
        try:
            held_out = split("tune", count)
        except InputError:
            return None
        return None if set(held_out.ids) & {*self.data.ids, *self.audited.ids} else held_out
