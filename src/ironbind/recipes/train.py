"""Training heads for their own sake: `ironbind calibrate`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.run import calibrate
from ironbind.data import load_dataset
from ironbind.evaluate.tasks import ZeroShot
from ironbind.modalities import MODALITIES
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.audits import SIX
from ironbind.recipes.encoders import encoder_for, encoder_options
from ironbind.recipes.run import Event, Listener
from ironbind.recipes.tasks import zero_shot
from ironbind.types import Dataset, Encoder, InputError


def train(
    recipe: str,
    out: Path,
    *,
    encoder: str = "tiny",
    weights: str | None = None,
    modalities: tuple[str, ...] = (),
    data: str | None = None,
    samples: int = 1000,
    head: str = "linear",
    eps: str = "4/255",
    seed: int = 0,
    batch_size: int = 64,
    listener: Listener | None = None,
) -> Calibrated:
    """Heads for the chosen modalities (default: all six of the built-in world), trained by the recipe called `recipe` and saved to `out`.

    `data`: class folders to train on; None trains on the built-in world's training split. A modality that the encoder can be attacked in
    several spaces of trains on examples from all of them. Crafted embeddings are kept in `out/cache`, so that a killed run continues.
    """
    made = replace(CALIBRATIONS[recipe](head=head, eps=eps), seed=seed)
    network = encoder_for(encoder, encoder_options(encoder, weights=weights, modalities=modalities))
    if data is not None and not modalities:
        raise InputError(f"--modality is missing: say what {data} holds (one of {', '.join(MODALITIES)})")
    # all of them before the first is trained: a modality or folder that cannot be taken shows now
    tasks = [_tasks(network, _data(data, modality, samples, seed), modality) for modality in dict.fromkeys(modalities or SIX)]

    def tell(what: str, done: int, total: int) -> None:
        if listener:
            listener(Event("train", what, done, total))

    # one modality at a time, as each has training data of its own
    parts = [calibrate(here, made, here[0].dataset, cache=out / "cache", batch_size=batch_size, progress=tell) for here in tasks]
    heads: dict[str, Any] = {modality: head for one in parts for modality, head in one.heads.items()}
    whole = Calibrated(network, heads, made.name, made.head, [record for one in parts for record in one.records])
    whole.save(out)
    return whole


def _tasks(encoder: Encoder, dataset: Dataset, modality: str) -> list[ZeroShot]:
    """One per space that the encoder can be attacked in."""
    spec = encoder.inputs.get(modality)
    return [zero_shot(encoder, dataset, modality, space=space) for space in (spec.spaces if spec is not None else (None,))]


def _data(path: str | None, modality: str, samples: int, seed: int) -> Dataset:
    if path is None:
        return load_dataset("world", split="train", n=samples, seed=seed)
    return load_dataset("folder", path, modality=modality, limit=samples, seed=seed)
