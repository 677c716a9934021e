"""The types of calibration: views of a batch, adapter shape, adversarial training, stage, recipe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from jaxtyping import Float, Int
from torch import Tensor

from ironbind.core.attack import Attack
from ironbind.core.budget import Budget, Space
from ironbind.core.encoder import ClassCenters
from ironbind.core.errors import InputError

PARTS = ("head", "low_rank", "norms", "purifier", "weights")


@dataclass(frozen=True)
class Views:
    """What an objective may look at, for one batch of one modality. All embeddings are unit rows.

    `clean`: frozen backbone on the clean input. `clean_out`/`adv_out`: the encoder under training on the clean /
    adversarial input. `paired`: the clean embeddings of the same instances in other modalities (image, text), by
    modality.
    """

    clean: Float[Tensor, "b d"]
    clean_out: Float[Tensor, "b d"]
    adv_out: Float[Tensor, "b d"]
    label: Int[Tensor, " b"]
    centers: ClassCenters
    paired: Mapping[str, Float[Tensor, "b d"]] = field(default_factory=dict)


Objective = Callable[[Views], Float[Tensor, ""]]


@dataclass(frozen=True)
class AdapterShape:
    """The adapters inside a frozen encoder, per modality.

    `rank` of the low-rank updates of its Linear and Conv layers (0: none), `ranks` of layers that have another one, by
    qualified name or whole words of it ("stem": every layer of a stem), of which the longest that fits counts; `norms`:
    gain and shift behind each norm; `purifier`: channels of the residual network in front (0: none). `weights`: a copy
    of the tower's own weights, to train all of it: full fine-tuning, the yardstick. `core`: of a low-rank update only
    the rank x rank matrix between the weight's own singular vectors trains (LoRA-XS, Balazy et al. 2024, arXiv
    2405.17604), not both factors: a much higher rank for the same number of parameters.
    """

    rank: int = 4
    norms: bool = True
    purifier: int = 16
    weights: bool = False
    ranks: Mapping[str, int] = field(default_factory=dict, hash=False)  # equal shapes still have equal hashes
    core: bool = False

    def __post_init__(self) -> None:
        lowest = min([self.rank, *self.ranks.values()])
        if lowest < 0 or self.purifier < 0:
            raise InputError(
                f"adapters of rank {lowest} and purifier {self.purifier} cannot be built; expected 0 or more"
            )

    def rank_of(self, layer: str) -> int:
        """The rank of the update of this layer."""
        fitting = [name for name in self.ranks if f".{name}." in f".{layer}."]
        return self.ranks[max(fitting, key=len)] if fitting else self.rank

    @property
    def kinds(self) -> tuple[str, ...]:
        """The members of PARTS that this shape has."""
        sizes = {
            "low_rank": max([self.rank, *self.ranks.values()]),
            "norms": self.norms,
            "purifier": self.purifier,
            "weights": self.weights,
        }
        return tuple(kind for kind, size in sizes.items() if size)


@dataclass(frozen=True)
class AdversarialTraining:
    """How examples are crafted anew at every step, through everything that trains, and how the best state is chosen.

    `warm_up`: share of the steps over which the training radius grows linearly from 0 to `radius` times the budget's.
    `aim`: "truth" drives samples off their class, "clean" away from their own clean embedding, "caption" off their own
    caption among those of the batch, which are then the classes of the objective too; the latter two need no labels.
    `accumulate`: batches per optimiser step. `autocast`: compute in bfloat16 where that is safe. `validation_attack`
    attacks `validation` samples that are neither trained on nor reported, before the first step, after `every` steps
    and at the end; the state with the best score is kept, and `patience` validations in a row without a better one end
    the stage (0: never). `cosine`: least cosine of new to old clean embeddings, so that an old index can still be used;
    below it the nearest state is kept, and only while none lies above. `noise`: standard deviation of Gaussian noise on
    every input, clean and adversarial, in training and validation, for encoders that are to be smoothed; per space name
    as for `Stage.elsewhere`, "" for all others. With `radius` 0 there are no adversarial examples, noise alone.
    `averaging`: decay per step of an exponential moving average of what trains, which is validated and kept instead of
    the last step's (Izmailov et al. 2018, arXiv 1803.05407, and Gowal et al. 2020, arXiv 2010.03593, for adversarial
    training); 0: none. The decay of step t is at most (1 + t) / (10 + t).
    """

    validation_attack: Attack
    warm_up: float = 0.3
    radius: float = 1.0
    aim: str = "truth"
    accumulate: int = 1
    autocast: bool = False
    validation: int = 200
    every: int = 250
    patience: int = 0
    cosine: float = 0.0
    noise: Mapping[str, float] = field(default_factory=dict)
    averaging: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.averaging < 1:
            raise InputError(f"averaging {self.averaging:g} is no decay; expected within [0, 1), as 0.998")
        if any(sigma < 0 for sigma in self.noise.values()):
            raise InputError(f"training noise {dict(self.noise)} is no standard deviation; expected 0 or more")
        if self.aim not in ("truth", "clean", "caption"):
            raise InputError(f"aim {self.aim!r} of a training attack is not known; expected truth, clean or caption")
        if not 0 <= self.warm_up <= 1 or self.radius < 0 or self.accumulate < 1 or self.every < 1:
            raise InputError(
                f"{self} cannot be trained with; expected warm_up within [0, 1], radius >= 0, accumulate and every >= 1"
            )

    def noise_in(self, space: Space) -> float:
        """The standard deviation that applies in `space`; 0 for no noise."""
        return self.noise.get(space.name, self.noise.get("", 0.0))


@dataclass(frozen=True)
class Stage:
    """One phase of a calibration: which objective, against which attack and budget, what trains, for how long.

    `elsewhere` holds the budget for spaces (by name) in which `budget` would mean something else, such as a waveform.
    `also`: further budgets of adversarial training, so that what was not trained against is not given away; each step
    attacks within one of them all, in turn, and a validation sample is robust where it stands within every one (the
    union of Maini et al. 2020, arXiv 1909.04068; in turn as Croce and Hein 2022, arXiv 2105.12508).
    `trains`: some of PARTS. `adversarial_training`: None computes examples once on the frozen backbone, as the paper
    does, and trains a head alone. `schedule` of the learning rate: "constant", or "one_cycle" (up over the first
    quarter, down to nearly 0). `epochs`: passes over the training samples; adversarial training may name its `steps` of
    the optimiser instead, however many passes that takes.
    """

    objective: Objective
    attack: Attack
    budget: Budget
    elsewhere: Mapping[str, Budget] = field(default_factory=dict)
    also: tuple[Budget, ...] = ()
    epochs: int = 30
    steps: int | None = None
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "constant"
    trains: tuple[str, ...] = ("head",)
    adversarial_training: AdversarialTraining | None = None

    def __post_init__(self) -> None:
        unknown = [part for part in self.trains if part not in PARTS]
        if unknown or not self.trains:
            raise InputError(
                f"a stage cannot train {', '.join(unknown) or 'nothing'}; expected some of {', '.join(PARTS)}"
            )
        if self.adversarial_training is None and self.trains != ("head",):
            raise InputError(
                f"examples crafted once on the backbone train a head alone, not {', '.join(self.trains)}; "
                "give the stage adversarial_training=AdversarialTraining(...)"
            )
        if self.steps is not None and (self.adversarial_training is None or self.steps < 1):
            raise InputError(
                f"steps {self.steps} of a stage: expected at least 1, "
                "and adversarial_training=AdversarialTraining(...) beside it"
            )
        if self.also and self.adversarial_training is None:
            raise InputError(
                f"{', '.join(map(str, self.also))} beside {self.budget}: examples crafted once have one budget; "
                "give the stage adversarial_training=AdversarialTraining(...)"
            )
        if self.schedule not in ("constant", "one_cycle"):
            raise InputError(
                f"schedule {self.schedule!r} of the learning rate is not known; expected constant or one_cycle"
            )

    def budget_in(self, space: Space) -> Budget:
        """The budget that applies in `space`."""
        return self.elsewhere.get(space.name, self.budget)

    def budgets_in(self, space: Space) -> tuple[Budget, ...]:
        """All budgets that apply in `space`: a further one that names another space does not."""
        return (self.budget_in(space), *(one for one in self.also if one.space in (None, space.name)))


@dataclass(frozen=True)
class CalibrationRecipe:
    """A named list of stages over one kind of head ("linear", "mlp"; None: no head) and adapters (None: none).

    `samples`: how many to train on by default. A stage on examples crafted once must not follow one that trained
    adapters: those examples were not crafted through them.
    """

    name: str
    stages: tuple[Stage, ...]
    head: str | None = "linear"
    seed: int = 0
    adapters: AdapterShape | None = None
    samples: int = 1000

    def __post_init__(self) -> None:
        available = [*(["head"] if self.head else []), *(PARTS[1:] if self.adapters else ())]
        inside = False
        for stage in self.stages:
            missing = [part for part in stage.trains if part not in available]
            if missing:
                raise InputError(
                    f"calibration {self.name!r} trains {', '.join(missing)}, which it does not have; expected some "
                    f"of {', '.join(available)}"
                )
            if stage.adversarial_training is None and inside:
                raise InputError(
                    f"calibration {self.name!r}: a stage on examples crafted once follows one that trained adapters; "
                    "expected it before"
                )
            inside |= stage.trains != ("head",)

    @property
    def uses_adversarial_training(self) -> bool:
        """Whether any stage computes its examples anew at every step."""
        return any(stage.adversarial_training is not None for stage in self.stages)

    def within(self, steps: int) -> "CalibrationRecipe":
        """The same recipe with `steps` of the optimiser in all stages of adversarial training together, in their
        proportions, on as many fresh samples.

        Short stages are validated on fewer samples: choosing the best state should not cost more than training it.
        """
        before = sum(stage.steps or 0 for stage in self.stages)
        stages = tuple(
            _of_length(stage, max(1, round(steps * stage.steps / before))) if stage.steps else stage
            for stage in self.stages
        )
        samples = sum(
            stage.steps * stage.batch_size * stage.adversarial_training.accumulate
            for stage in stages
            if stage.steps and stage.adversarial_training
        )
        return replace(self, stages=stages, samples=samples or self.samples)


def _of_length(stage: Stage, steps: int) -> Stage:
    training = stage.adversarial_training
    if training is None:
        return replace(stage, steps=steps)
    enough = max(25, steps * stage.batch_size * training.accumulate // 40)
    shorter = replace(training, validation=min(training.validation, enough))
    return replace(stage, steps=steps, adversarial_training=shorter)
