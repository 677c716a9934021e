"""Training heads and adapters for their own sake: `ironbind calibrate`."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

from ironbind.calibration.calibrate import calibrate, joined
from ironbind.calibration.calibrated import Calibrated
from ironbind.data import load_dataset
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.modalities import MODALITIES
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.calibrations import BATCH
from ironbind.recipes.tasks import zero_shot
from ironbind.recipes.world_and_folder import SIX
from ironbind.runs.encoder_spec import encoder_for, encoder_options
from ironbind.runs.pretrained import from_pretrained
from ironbind.runs.run_jobs import Event, Listener
from ironbind.types import CalibrationRecipe, Dataset, Encoder, InputError


def train(
    recipe: str,
    out: Path,
    *,
    encoder: str = "tiny",
    weights: str | None = None,
    device: str | None = None,
    modalities: tuple[str, ...] = (),
    data: str | None = None,
    start: str | None = None,
    samples: int | None = None,
    steps: int | None = None,
    head: str | None = None,
    rank: int | None = None,
    eps: str = "4/255",
    seed: int = 0,
    batch_size: int = 64,
    workers: int = 1,
    listener: Listener | None = None,
) -> Calibrated:
    """Heads or adapters for the chosen modalities (default: all six of the built-in world), trained by the recipe
    called `recipe`, saved to `out`.

    `data`: class folders to train on; None trains on the built-in world's training split. `start`: trained parts to go
    on from (a folder, org/name, or "shipped"), whose modalities are the default then; a higher `rank` lets them grow.
    `samples`, `steps` of live stages, `head`, `rank` of adapters: the recipe's own unless given. A modality that the
    encoder can be attacked in several spaces of trains on examples from all of them. Crafted embeddings and the state
    of live stages are kept in `out/cache`, so that a killed run continues. `workers` decode ahead.
    """
    if steps is None and samples is not None and data is None and CALIBRATIONS[recipe]().uses_adversarial_training:
        steps = max(1, samples // BATCH)  # the world never runs out: each sample is seen once
    made = recipe_for(recipe, head=head, rank=rank, eps=eps, steps=steps, seed=seed)
    count = samples or made.samples
    network = encoder_for(encoder, encoder_options(encoder, weights=weights, modalities=modalities, device=device))
    before = from_pretrained(start, network) if start else None
    ranks = [one.shape.rank for one in before.adapters.values()] if before else []
    if rank is not None and ranks and rank < max(ranks):
        raise InputError(
            f"--rank {rank}: what is in {start} has rank {max(ranks)} and can only grow; expected a higher one, or none"
        )
    if rank is None and ranks and made.adapters:
        made = replace(
            made, adapters=replace(made.adapters, rank=min(made.adapters.rank, *ranks))
        )  # grows only where that was asked for
    modalities = modalities or (before.modalities if before else ())
    if data is not None and not modalities:
        raise InputError(f"--modality is missing: say what {data} holds (one of {', '.join(MODALITIES)})")
    # all of them before the first is trained: a modality or folder that cannot be taken shows now
    tasks = [
        _tasks(network, _data(data, modality, count, seed), modality) for modality in dict.fromkeys(modalities or SIX)
    ]

    def tell(what: str, done: int, total: int) -> None:
        if listener:
            listener(Event("train", what, done, total))

    # one modality at a time, as each has training data of its own
    options: dict[str, Any] = {
        "start": before,
        "cache": out / "cache",
        "batch_size": batch_size,
        "workers": workers,
        "progress": tell,
    }
    whole = joined([calibrate(here, made, here[0].dataset, **options) for here in tasks])
    whole.made_by = _command(
        recipe,
        encoder,
        weights,
        tuple(one[0].modality for one in tasks),
        data,
        start,
        samples,
        steps,
        head,
        rank,
        eps,
        seed,
    )
    whole.save_pretrained(out)
    return whole


def _command(
    recipe: str, encoder: str, weights: str | None, modalities: tuple[str, ...], data: str | None, start: str | None, samples: int | None,
    steps: int | None, head: str | None, rank: int | None, eps: str, seed: int,
) -> str:  # fmt: skip
    """The command line that trains the same again."""
    options = {
        "encoder": encoder, "weights": weights, "modality": ",".join(modalities), "data": data, "start": start, "samples": samples, "steps": steps,
        "head": head, "rank": rank, "eps": eps, "seed": seed,
    }  # fmt: skip
    return shlex.join(
        [
            "ironbind",
            "calibrate",
            recipe,
            *(f"--{name}={value}" for name, value in options.items() if value is not None),
        ]
    )


def recipe_for(
    name: str,
    *,
    head: str | None = None,
    rank: int | None = None,
    eps: str = "4/255",
    steps: int | None = None,
    seed: int = 0,
) -> CalibrationRecipe:
    """The recipe called `name` with what a user chose. Raises UnknownName, and InputError for a choice that this recipe
    has no use for.
    """
    made = CALIBRATIONS[name](eps=eps, seed=seed, **({"head": head} if head else {}))
    if steps is not None:
        if not any(one.steps for one in made.stages):
            raise InputError(
                f"--steps {steps}: calibration {name!r} crafts its examples once and has no steps; leave it out"
            )
        made = made.within(steps)
    if rank is not None:
        if made.adapters is None:
            raise InputError(f"--rank {rank}: calibration {name!r} trains no adapters; leave it out")
        made = replace(made, adapters=replace(made.adapters, rank=rank))
    return made


def _tasks(encoder: Encoder, dataset: Dataset, modality: str) -> list[ZeroShot]:
    """One per space that the encoder can be attacked in."""
    spec = encoder.inputs.get(modality)
    return [
        zero_shot(encoder, dataset, modality, space=space) for space in (spec.spaces if spec is not None else (None,))
    ]


def _data(path: str | None, modality: str, samples: int, seed: int) -> Dataset:
    if path is None:
        return load_dataset("world", split="train", n=samples, seed=seed)
    return load_dataset("folder", path, modality=modality, limit=samples, seed=seed)
