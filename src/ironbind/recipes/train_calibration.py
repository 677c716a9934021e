"""Training heads and adapters without an audit: `ironbind calibrate`."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ironbind.calibration.calibrate import calibrate, joined
from ironbind.calibration.calibrated import Calibrated
from ironbind.data import load_dataset, table_or_folders
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.modalities import MODALITIES
from ironbind.numerics import ranks
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.calibrations import BATCH
from ironbind.recipes.request import SIX
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.progress import Listener, Progress, no_listener
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.types import Budget, CalibrationRecipe, Dataset, Encoder, InputError, budget_of


@dataclass(frozen=True)
class TrainingRequest:
    """The options of a training: `recipe`, a name of CALIBRATIONS; the `encoder`, whose `heads` are trained parts
    to go on from. The recipe chooses what is left out.

    `modalities` (): those of the parts to go on from, else the six of the built-in world. `data`: class folders to
    train on; None trains on the built-in world's training split. `samples`, `steps` of stages that train on fresh
    examples, `noise` on their inputs, `also`: further budgets of theirs, as "l2:0.5", weight of the
    `distillation`, `head`, `rank` of adapters, which may grow that of the parts to go on from.
    """

    recipe: str
    encoder: EncoderSpec = EncoderSpec()
    modalities: tuple[str, ...] = ()
    data: str | None = None
    samples: int | None = None
    steps: int | None = None
    head: str | None = None
    rank: int | None = None
    eps: str = "4/255"
    noise: float | None = None
    also: tuple[str, ...] = ()
    distillation: float | None = None
    seed: int = 0
    batch_size: int = 64

    def command(self, modalities: tuple[str, ...]) -> str:
        """The command line that trains the same again."""
        options = {
            "encoder": self.encoder.name,
            "weights": self.encoder.weights,
            "modality": ",".join(modalities),
            "data": self.data,
            "start": self.encoder.heads,
            "samples": self.samples,
            "steps": self.steps,
            "head": self.head,
            "rank": self.rank,
            "eps": self.eps,
            "noise": self.noise,
            "also": ",".join(self.also) or None,
            "distillation": self.distillation,
            "seed": self.seed,
        }
        arguments = [f"--{name}={value}" for name, value in options.items() if value is not None]
        return shlex.join(["ironbind", "calibrate", self.recipe, *arguments])


def train(request: TrainingRequest, out: Path, *, workers: int = 1, listener: Listener = no_listener) -> Calibrated:
    """Heads or adapters for the chosen modalities, trained and saved to `out`.

    A modality that the encoder can be attacked in several spaces of trains on examples from all of them. Precomputed
    embeddings and the state of adversarial training are kept in `out/cache`, so that a killed run continues. `workers`
    decode ahead. Raises InputError.
    """
    samples, steps = request.samples, request.steps
    if (
        steps is None
        and samples is not None
        and request.data is None
        and CALIBRATIONS[request.recipe]().uses_adversarial_training
    ):
        steps = max(1, samples // BATCH)  # the world has any number of samples: each is seen once
    recipe = recipe_for(
        request.recipe,
        head=request.head,
        rank=request.rank,
        eps=request.eps,
        steps=steps,
        seed=request.seed,
        noise=request.noise,
        also=request.also,
        distillation=request.distillation,
    )
    count = samples or recipe.samples
    encoder = replace(request.encoder, modalities=request.modalities)
    network, before = encoder.load(), encoder.load_heads()
    recipe = _recipe_to_continue(recipe, before, request)
    modalities = request.modalities or (before.modalities if before else ())
    if request.data is not None and not modalities:
        raise InputError(f"--modality is missing: say what {request.data} holds (one of {', '.join(MODALITIES)})")
    # all of them before the first is trained: raises for an unusable modality or folder before anything runs
    tasks = [
        _tasks(network, _data(request.data, modality, count, request.seed), modality)
        for modality in dict.fromkeys(modalities or SIX)
    ]

    def progress(what: str, done: int, total: int) -> None:
        listener(Progress("train", what, done, total))

    # one modality at a time, as each has training data of its own
    trained = joined(
        [
            calibrate(
                spaces, recipe, spaces[0].dataset, start=before, cache=out / "cache", batch_size=request.batch_size,
                workers=workers, progress=progress,
            )
            for spaces in tasks
        ]
    )  # fmt: skip
    trained.made_by = request.command(tuple(spaces[0].modality for spaces in tasks))

    def write() -> None:
        trained.save_pretrained(out)

    ranks.current().from_first(write)
    return trained


def replaced_calibration(out: Path, request: TrainingRequest) -> list[str]:
    """One line where `out` holds a calibration that this training replaces when it ends; none where the same command
    made it.
    """
    path = out / "calibration.json"
    if not path.is_file():
        return []
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        recipe, made_by = str(about["calibration"]), str(about.get("made_by", ""))
        modalities = sorted({*about["modalities"], *about.get("adapters", {})})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return [f"{path} cannot be read; this run replaces it when it ends"]
    if made_by and made_by == request.command(request.modalities or tuple(SIX)):
        return []
    return [f"{out} holds {recipe!r} for {', '.join(modalities)}; this run replaces it when it ends"]


def _recipe_to_continue(
    recipe: CalibrationRecipe, before: Calibrated | None, request: TrainingRequest
) -> CalibrationRecipe:
    """The recipe with adapters that the earlier parts fit into: their rank grows only where `--rank` is given."""
    ranks = [adapters.shape.rank for adapters in before.adapters.values()] if before else []
    rank = request.rank
    if rank is not None and ranks and rank < max(ranks):
        raise InputError(
            f"--rank {rank}: what is in {request.encoder.heads} has rank {max(ranks)} and can only grow; "
            "expected a higher one, or none"
        )
    if rank is not None or not ranks or not recipe.adapters:
        return recipe
    return replace(recipe, adapters=replace(recipe.adapters, rank=min(recipe.adapters.rank, *ranks)))


def recipe_for(
    name: str,
    *,
    head: str | None = None,
    rank: int | None = None,
    eps: str = "4/255",
    steps: int | None = None,
    seed: int = 0,
    noise: float | None = None,
    also: Sequence[str] = (),
    distillation: float | None = None,
) -> CalibrationRecipe:
    """The recipe called `name` with what a user chose. Raises UnknownName, and InputError for a choice that this recipe
    has no use for.
    """
    make = CALIBRATIONS[name]
    for option in ([f"--noise {noise:g}"] if noise is not None else []) + ([f"--also {also[0]}"] if also else []):
        if not make().uses_adversarial_training:
            raise InputError(f"{option}: calibration {name!r} crafts its examples once; leave it out")
    knobs: dict[str, Any] = {"head": head, "noise": noise, "also": tuple(_budget(one) for one in also)}
    chosen = {knob: value for knob, value in knobs.items() if value}
    if distillation is not None:
        try:
            make(distillation=distillation)
        except TypeError:
            raise InputError(
                f"--distillation {distillation:g}: calibration {name!r} has no such weight; leave it out"
            ) from None
        chosen["distillation"] = distillation
    recipe = make(eps=eps, seed=seed, **chosen)
    if steps is not None:
        if not any(stage.steps for stage in recipe.stages):
            raise InputError(
                f"--steps {steps}: calibration {name!r} crafts its examples once and has no steps; leave it out"
            )
        recipe = recipe.within(steps)
    if rank is not None:
        if recipe.adapters is None:
            raise InputError(f"--rank {rank}: calibration {name!r} trains no adapters; leave it out")
        recipe = replace(recipe, adapters=replace(recipe.adapters, rank=rank, ranks={}))
    return recipe


def _budget(written: str) -> Budget:
    norm, colon, radius = written.partition(":")
    if not colon:
        raise InputError(f"--also {written!r} is no budget; expected a norm and a radius, as l2:0.5")
    return budget_of(norm, radius)


def _tasks(encoder: Encoder, dataset: Dataset, modality: str) -> list[ZeroShot]:
    """One per space that the encoder can be attacked in."""
    spec = encoder.inputs.get(modality)
    return [
        zero_shot(encoder, dataset, modality, space=space) for space in (spec.spaces if spec is not None else (None,))
    ]


def _data(path: str | None, modality: str, samples: int, seed: int) -> Dataset:
    if path is None:
        return load_dataset("world", split="train", n=samples, seed=seed)
    return load_dataset(table_or_folders(path), path, modality=modality, limit=samples, seed=seed)
