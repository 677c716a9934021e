"""Attacks that must know the task before they can run, as values without tensors: a job holds them, an audit builds the
attacks from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ironbind.attacks import Ensemble, MixedPrecision, PerBudget, Transfer, Universal, fit_universal
from ironbind.calibration.calibrate import training_split
from ironbind.data.listing import stratified
from ironbind.encoders.bfloat16 import in_bfloat16
from ironbind.numerics import ranks
from ironbind.numerics.batching import batches
from ironbind.numerics.content_cache import ARRAY, content_key
from ironbind.numerics.sample_random import seed_of
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.types import Attack, Budget, Encoder, InputError, Space, StagedAttack, Task, backbone_of


@dataclass(frozen=True)
class FittedUniversal:
    """One perturbation for all inputs of a modality, for every budget one of its own, fitted on samples that are not
    reported.

    `train`: where those come from (None: the data set's own training split), `samples` of them at most, in `epochs`
    passes. The perturbations are kept as `universal/<modality>-<space>-<norm>-<radius>-<key>.npy` in the run folder and
    read back from there; the key changes with all that decides them.
    """

    train: DataSpec | None = None
    samples: int = 200
    epochs: int = 10
    loss: str = "margin"
    seed: int = 0
    batch_size: int = 64

    @property
    def name(self) -> str:
        return "universal"

    def for_task(self, task: Task, budgets: Sequence[Budget], folder: Path) -> Attack:
        """Fitted on this task's encoder. Raises InputError for training data of other classes, and for norms whose
        radius depends on the sample.
        """
        dataset = self.train.load() if self.train else training_split(task.dataset, self.samples)
        if dataset.classes != task.dataset.classes:
            mismatch = (
                f"the {len(dataset.classes)} classes of {dataset.name!r} are not the {len(task.dataset.classes)} "
                f"of {task.dataset.name!r}"
            )
            raise InputError(
                f"no perturbation can be fitted on other classes than it is tried on: {mismatch}; expected the "
                "same, in the same order"
            )
        rows = stratified(dataset.labels, min(self.samples, len(dataset)), seed_of(self.seed, "universal"))
        fitting = task.over(dataset)
        decided_by = (
            self,
            task.encoder.weights_sha256,
            dataset.fingerprint,
            rows,
            fitting.question,
            task.modality,
            task.space.name,
        )
        shape = tuple(task.encoder.inputs[task.modality].shape_in(task.space.name))

        def fits(stored: torch.Tensor) -> bool:
            return stored.shape == shape and stored.dtype == torch.float32

        perturbations = []
        for budget in budgets:
            key = content_key((*decided_by, budget.norm, budget.radius), length=8)
            name = f"{task.modality}-{task.space.name}-{budget.norm}-{budget.written.replace('/', 'of')}-{key}.npy"
            path = folder / "universal" / name

            def fitted(path: Path = path, budget: Budget = budget) -> torch.Tensor:
                delta = ARRAY.read(path, fits)
                if delta is None:
                    loaded = [(fitting.load(batch), fitting.goal(batch)) for batch in batches(rows, self.batch_size)]
                    delta = fit_universal(task.embed, loaded, task.space, budget, self.epochs, self.loss).delta.cpu()
                    ARRAY.write(path, delta)
                return delta

            delta = ranks.current().from_first(fitted)
            perturbations.append((budget, Universal(delta.to(task.device))))
        return PerBudget(self.name, tuple(perturbations))


@dataclass(frozen=True)
class FromSurrogate:
    """`attacks` crafted on another encoder (see `attacks.Transfer`), which must take the same inputs."""

    attacks: tuple[Attack, ...]
    encoder: EncoderSpec

    @property
    def name(self) -> str:
        return f"transfer-{self.encoder.name}"

    def for_task(self, task: Task, budgets: Sequence[Budget], folder: Path) -> Attack:
        """Raises InputError for a surrogate that does not take the task's inputs as they are, and for one that is the
        encoder under attack itself.
        """
        surrogate = self.encoder.load()
        below = backbone_of(task.encoder)
        if surrogate.weights_sha256 in (task.encoder.weights_sha256, below.weights_sha256):
            raise InputError(
                f"surrogate {self.encoder.name}: is the encoder under attack itself, weights and all; "
                "expected another, or other weights"
            )
        _refuse_other_inputs(f"surrogate {self.encoder.name}", surrogate, task)
        return Transfer.of(task.on(surrogate), *self.attacks)


def _refuse_other_inputs(option: str, surrogate: Encoder, task: Task) -> None:
    modality, space = task.modality, task.space
    if modality not in surrogate.inputs:
        raise InputError(f"{option}: does not take {modality}; it takes {', '.join(surrogate.inputs)}")
    spec, own = surrogate.inputs[modality], task.encoder.inputs[modality].shape_in(space.name)
    if space.name not in spec.spaces:
        raise InputError(
            f"{option}: takes {modality} as {', '.join(spec.spaces)}; expected {space.name}, in which "
            f"{task.encoder.name} is attacked"
        )
    surrogate_space, shape = spec.spaces[space.name], spec.shape_in(space.name)
    if shape != own or _limits(surrogate_space) != _limits(space):
        actual, expected = f"{shape} within {_limits(surrogate_space)}", f"{own} within {_limits(space)}"
        raise InputError(
            f"{option}: takes {modality} in {space.name} as {actual}; expected {expected}, as {task.encoder.name} does"
        )


def _limits(space: Space) -> tuple[float | None, float | None]:
    return (space.low, space.high)


@dataclass(frozen=True)
class InBfloat16:
    """`attack` takes its gradients from a bfloat16 copy of the encoder under evaluation, which decides in float32 (see
    `attacks.MixedPrecision`).
    """

    attack: Attack | StagedAttack

    @property
    def name(self) -> str:
        return f"{self.attack.name}-bf16"

    def for_task(self, task: Task, budgets: Sequence[Budget], folder: Path) -> Attack | StagedAttack:
        """Raises InputError for an encoder that holds no trunk to copy, or one that is not in float32."""
        fast = task.on(_copy_of(task.encoder)).embed
        if isinstance(self.attack, StagedAttack):
            return Ensemble(self.name, tuple(MixedPrecision(stage, fast) for stage in self.attack.stages))
        return MixedPrecision(self.attack, fast)


# id -> (original, which keeps the id to itself, copy); a backbone and one calibration at a time
_copies: dict[int, tuple[Encoder, Encoder]] = {}


def _copy_of(encoder: Encoder) -> Encoder:
    if id(encoder) not in _copies:
        while len(_copies) > 1:
            del _copies[next(iter(_copies))]
        _copies[id(encoder)] = encoder, in_bfloat16(encoder)
    return _copies[id(encoder)][1]
