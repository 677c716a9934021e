"""Samples worth looking at: clean, adversarial, and what the encoder said of each."""

from collections.abc import Sequence

import numpy as np
import torch

from ironbind.core.results import GalleryItem, Prediction
from ironbind.evaluate.audit import Examination
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.numerics.sample_random import seed_of
from ironbind.types import Encoder


def gallery(
    examination: Examination, number: int, calibrated: Sequence[Encoder] = (), count: int = 1
) -> tuple[list[GalleryItem], dict[str, np.ndarray]]:
    """`count` zero-shot samples that the attack of rung `number` turned from right to wrong, as gallery items with
    their arrays.

    Drawn by seed among all that fell, of different classes where possible; when nothing fell, among the correct ones.
    The first of `calibrated` also answers the replayed example. The examination must keep its examples.
    """
    task = examination.task
    assert isinstance(task, ZeroShot)
    clean, attacked = examination.clean(), examination.rung(number)
    ids = list(task.dataset.ids[: len(task)])
    order = sorted(range(len(ids)), key=lambda index: seed_of(examination.seed, "gallery", ids[index]))
    fell = [one for one in order if clean[ids[one]].rank == 1 and attacked[ids[one]].rank > 1]
    stood = [one for one in order if clean[ids[one]].rank == 1 and one not in set(fell)]
    chosen: list[int] = []
    for one in fell + stood + order:
        if len(chosen) < count and task.dataset.labels[one] not in {task.dataset.labels[other] for other in chosen}:
            chosen.append(one)
    items, arrays = [], {}
    for index in chosen:
        item, found = _item(examination, number, index, calibrated[0] if calibrated else None)
        items.append(item)
        arrays.update(found)
    return items, arrays


def _item(
    examination: Examination, number: int, index: int, calibrated: Encoder | None
) -> tuple[GalleryItem, dict[str, np.ndarray]]:
    task, budget = examination.task, examination.ladder[number]
    assert isinstance(task, ZeroShot)
    clean, adversarial = task.load([index]), examination.examples(number, [index])
    # names in a zip file are UTF-8, file names need not be
    sample = task.dataset.ids[index].encode("utf-8", "backslashreplace").decode("utf-8")
    key = f"{task.modality}-{task.space.name}-{sample}"
    arrays = {f"{key}/clean": clean[0].cpu().numpy(), f"{key}/adversarial": adversarial[0].cpu().numpy()}
    rate = 0
    if task.modality == "audio":
        rate = int(getattr(task.encoder, "sample_rate", 16000))
        arrays[f"{key}/waveform"] = task.within("waveform").load([index])[0].flatten().cpu().numpy()
        if task.space.name == "waveform":
            arrays[f"{key}/waveform_adversarial"] = adversarial[0].flatten().cpu().numpy()

    def answers(of: ZeroShot, x: torch.Tensor) -> tuple[Prediction, ...]:
        with torch.no_grad():
            return tuple(Prediction(label, round(score, 4)) for label, score in of.answers(of.embed(x))[0])

    after = task.on(calibrated) if calibrated is not None else None
    item = GalleryItem(
        key=key,
        modality=task.modality,
        space=task.space.name,
        sample=task.dataset.ids[index],
        truth=task.dataset.classes[task.dataset.labels[index]],
        norm=budget.norm,
        eps=budget.written,
        clean=answers(task, clean),
        adversarial=answers(task, adversarial),
        calibrated=str(getattr(calibrated, "calibration", "none")),
        replayed=answers(after, adversarial) if isinstance(after, ZeroShot) else (),
        sample_rate=rate,
    )
    return item, arrays
