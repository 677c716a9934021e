"""Does an index that was built with the original encoder still serve the calibrated one? If so, it can be deployed without embedding anything anew.

Old: of the backbone. New: of the calibrated encoder. Nobody attacks here.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.evaluate.asked import BATCH, clean_of, embed_all
from ironbind.evaluate.tasks import ZeroShot
from ironbind.maths.batches import products
from ironbind.maths.scores import mean_interval, rank_of_truth, wilson
from ironbind.results import INDEX, Row
from ironbind.types import CalibratedEncoder, Encoder

RECALLS = (("R@1", 1), ("R@10", 10))


def compatibility(task: ZeroShot) -> list[Row]:
    """Rows of the tasks "index:image->image" (the audited samples' new embeddings look for their own old ones) and "index:image->text" (and other
    modalities that the data pairs them with: they look for their partners' old ones), for the calibrated encoder and, to compare with, its backbone.

    The gallery is the audited samples themselves, so that `n` is its size. Metrics: R@1, R@10, and "cosine", the mean of new with old embedding.
    Raises TypeError for a task of an encoder that is not calibrated.
    """
    encoder = task.encoder
    if not isinstance(encoder, CalibratedEncoder):
        raise TypeError(f"{encoder.name} is not calibrated: nothing is old or new about its embeddings")
    old, new = (_embedded(one, task, task.modality) for one in (encoder.backbone, encoder))
    common: dict[str, Any] = {
        "encoder": encoder.backbone.name, "modality": task.modality, "space": task.space.name,
        "attack": "none", "norm": "none", "eps": "0", "threat_model": "clean", "n": len(task),
    }  # fmt: skip
    cosines = mean_interval((old * new).sum(dim=1).clamp(-1, 1).tolist())
    itself = f"{INDEX}{task.modality}->{task.modality}"
    told: dict[str, Any] = {"value": cosines.value, "ci_low": cosines.low, "ci_high": min(cosines.high, 1.0)}
    rows = [Row(calibration=encoder.calibration, task=itself, metric="cosine", **told, **common)]
    for other in (task.modality, *task.pairs):
        gallery = old if other == task.modality else _embedded(encoder.backbone, task, other)
        for calibration, queries in (("none", old), (encoder.calibration, new)):
            ranks = _ranks(queries, gallery)
            for metric, k in RECALLS:
                value, low, high = (100 * one for one in wilson(int((ranks <= k).sum()), len(ranks)))
                name = f"{INDEX}{task.modality}->{other}"
                rows.append(Row(calibration=calibration, task=name, metric=metric, value=value, ci_low=low, ci_high=high, **common))
    return rows


def _embedded(encoder: Encoder, task: ZeroShot, modality: str) -> Float[Tensor, "n d"]:
    """Clean embeddings of the audited samples; of the whole data, where that is audited, they are at hand already."""
    if modality == "text" or len(task) == len(task.dataset):
        return clean_of(encoder, task.dataset, modality)[: len(task)]
    return embed_all(encoder, task.dataset, modality, range(len(task)))


def _ranks(queries: Float[Tensor, "n d"], gallery: Float[Tensor, "n d"]) -> Int[Tensor, " n"]:
    """Rank of item i for query i, 1 = best, ties against it."""
    own = torch.arange(len(queries), device=queries.device)
    return torch.cat([rank_of_truth(products(some, gallery), at) for some, at in zip(queries.split(BATCH), own.split(BATCH), strict=True)])
