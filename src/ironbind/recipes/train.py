"""Training heads for their own sake: `ironbind calibrate`."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.run import calibrate
from ironbind.data import load_dataset
from ironbind.modalities import MODALITIES
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.audits import SIX
from ironbind.recipes.encoders import encoder_for, encoder_options
from ironbind.recipes.run import Event, Listener
from ironbind.recipes.tasks import zero_shot
from ironbind.types import Dataset, InputError


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
    tasks, training = [], None
    for modality in modalities or SIX:
        training = _data(data, modality, samples, seed)
        spec = network.inputs.get(modality)
        spaces = tuple(spec.spaces) if spec is not None else (None,)
        tasks += [zero_shot(network, training, modality, space=space) for space in spaces]

    def tell(what: str, done: int, total: int) -> None:
        if listener:
            listener(Event("train", what, done, total))

    parts = [
        calibrate([task for task in tasks if task.modality == modality], made, here, cache=out / "cache", batch_size=batch_size, progress=tell)
        for modality, here in {task.modality: task.dataset for task in tasks}.items()
    ]
    heads: dict[str, Any] = {modality: head for one in parts for modality, head in one.heads.items()}
    whole = Calibrated(network, heads, made.name, made.head, [record for one in parts for record in one.records])
    whole.save(out)
    return whole


def _data(path: str | None, modality: str, samples: int, seed: int) -> Dataset:
    if path is None:
        return load_dataset("world", split="train", n=samples, seed=seed)
    return load_dataset("folder", path, modality=modality, limit=samples, seed=seed)
