"""Samples to show: clean, adversarial, and the encoder's answers to each."""

from collections.abc import Sequence

import numpy as np
import torch

from ironbind.core.results import GalleryItem, Prediction
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.numerics.sample_random import seed_of
from ironbind.types import Encoder, backbone_of, calibration_of


def gallery(
    evaluator: Evaluator, number: int, calibrated: Sequence[Encoder] = (), count: int = 1
) -> tuple[list[GalleryItem], dict[str, np.ndarray]]:
    """`count` zero-shot samples that the attack under `strengths[number]` turned from right to wrong, as gallery items
    with their arrays.

    Drawn by seed among the broken samples, of different classes where possible; among the correct ones where none was
    broken. The first of `calibrated` also answers the replayed example. The protocol must keep its examples.
    """
    task = evaluator.task
    assert isinstance(task, ZeroShot)
    clean, attacked = evaluator.clean(), evaluator.verdicts_at(number)
    ids = list(task.dataset.ids[: len(task)])
    order = sorted(range(len(ids)), key=lambda index: seed_of(evaluator.context.seed, "gallery", ids[index]))
    broken = [index for index in order if clean[ids[index]].rank == 1 and attacked[ids[index]].rank > 1]
    robust = [index for index in order if clean[ids[index]].rank == 1 and index not in set(broken)]
    chosen: list[int] = []
    for index in broken + robust + order:
        if len(chosen) < count and task.dataset.labels[index] not in {task.dataset.labels[other] for other in chosen}:
            chosen.append(index)
    items, arrays = [], {}
    for index in chosen:
        item, item_arrays = _item(evaluator, number, index, calibrated[0] if calibrated else None)
        items.append(item)
        arrays.update(item_arrays)
    return items, arrays


def _item(
    evaluator: Evaluator, number: int, index: int, calibrated: Encoder | None
) -> tuple[GalleryItem, dict[str, np.ndarray]]:
    task, budget = evaluator.task, evaluator.strengths[number]
    assert isinstance(task, ZeroShot)
    clean, adversarial = task.load([index]), evaluator.examples(number, [index])
    # names in a zip file are UTF-8, file names need not be
    sample = task.dataset.ids[index].encode("utf-8", "backslashreplace").decode("utf-8")
    key = f"{task.modality}-{task.space.name}-{sample}"
    arrays = {f"{key}/clean": clean[0].cpu().numpy(), f"{key}/adversarial": adversarial[0].cpu().numpy()}
    rate = 0
    if task.modality == "audio":
        rate = int(getattr(backbone_of(task.encoder), "sample_rate", 16000))
        arrays[f"{key}/waveform"] = task.within("waveform").load([index])[0].flatten().cpu().numpy()
        if task.space.name == "waveform":
            arrays[f"{key}/waveform_adversarial"] = adversarial[0].flatten().cpu().numpy()

    def answers(zero_shot_task: ZeroShot, x: torch.Tensor) -> tuple[Prediction, ...]:
        with torch.no_grad():
            return tuple(
                Prediction(label, round(score, 4))
                for label, score in zero_shot_task.answers(zero_shot_task.embed(x))[0]
            )

    calibrated_task = task.on(calibrated) if calibrated is not None else None
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
        calibrated=calibration_of(calibrated) if calibrated is not None else "none",
        replayed=answers(calibrated_task, adversarial) if isinstance(calibrated_task, ZeroShot) else (),
        sample_rate=rate,
    )
    return item, arrays
