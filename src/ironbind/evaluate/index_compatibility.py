"""Does an index that was built with the original encoder still serve the calibrated one? If so, it can be deployed
without embedding anything anew.

Old: of the backbone. New: of the calibrated encoder. Nobody attacks here.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.results import INDEX, Row
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore, audit_key
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.evaluate.tasks.base import BATCH, clean_of, embed_all
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.numerics.batching import products
from ironbind.numerics.metrics import margin, mean_interval, rank_of_truth, wilson
from ironbind.numerics.norms import in_float64
from ironbind.types import CalibratedEncoder, Encoder

RECALLS = (("R@1", 1), ("R@10", 10))


def compatibility(task: ZeroShot, store: VerdictStore | None = None) -> list[Row]:
    """Rows of the tasks "index:image->image" (the audited samples' new embeddings look for their own old ones) and
    "index:image->text" (and other modalities that the data pairs them with: they look for their partners' old ones),
    for the calibrated encoder and, to compare with, its backbone.

    The gallery is the audited samples themselves, so that `n` is its size. Metrics: R@1, R@10, and "cosine", the mean
    of new with old embedding. Verdicts are kept in `store`, where `distance` is how far an embedding has moved. Raises
    TypeError for a task of an encoder without calibration.
    """
    encoder = task.encoder
    if not isinstance(encoder, CalibratedEncoder):
        raise TypeError(f"{encoder.name} is not calibrated: nothing is old or new about its embeddings")
    kept, both, rows = store or VerdictStore(), _Both(task, encoder.backbone), []
    for other in (task.modality, *task.pairs):
        for calibration, who in (("none", encoder.backbone), (encoder.calibration, encoder)):
            common: dict[str, Any] = {
                "encoder": encoder.backbone.name, "calibration": calibration, "modality": task.modality,
                "space": task.space.name, "task": f"{INDEX}{task.modality}->{other}", "attack": "none", "norm": "none",
                "eps": "0", "threat_model": "clean", "n": len(task),
            }  # fmt: skip
            description = _description(task, who, encoder.backbone, common["task"])
            found = kept.verdicts(audit_key(description))
            if len(found) < len(task):
                found = both.verdicts(calibration != "none", other)
                kept.add(audit_key(description), description, found)
            rows += _rows(found, common, moved=calibration != "none" and other == task.modality)
            kept.label(audit_key(description), label_of(rows[-1]))
    return rows


def _description(task: ZeroShot, who: Encoder, backbone: Encoder, question: str) -> dict[str, Any]:
    """Everything that decides the verdicts."""
    data = f"{task.dataset.name} {task.dataset.fingerprint} {len(task)}"
    place = {"encoder": who.name, "weights": who.weights_sha256, "index": backbone.weights_sha256, "data": data}
    return {**place, "modality": task.modality, "space": task.space.name, "question": question, "threat_model": "clean"}


def _rows(found: Mapping[str, Verdict], common: dict[str, Any], moved: bool) -> list[Row]:
    rows = []
    if moved:  # of unit vectors, cosine = 1 - length^2 / 2
        cosines = mean_interval([1 - one.distance**2 / 2 for one in found.values()])
        rows.append(
            Row(metric="cosine", value=cosines.value, ci_low=cosines.low, ci_high=min(cosines.high, 1.0), **common)
        )
    for metric, k in RECALLS:
        value, low, high = (100 * one for one in wilson(sum(one.rank <= k for one in found.values()), len(found)))
        rows.append(Row(metric=metric, value=value, ci_low=low, ci_high=high, **common))
    return rows


class _Both:
    """Old and new clean embeddings of the audited samples, made when first asked for."""

    def __init__(self, task: ZeroShot, backbone: Encoder) -> None:
        self.task, self.backbone = task, backbone

    @cached_property
    def old(self) -> Float[Tensor, "n d"]:
        return self._embedded(self.backbone, self.task.modality)

    @cached_property
    def new(self) -> Float[Tensor, "n d"]:
        return self._embedded(self.task.encoder, self.task.modality)

    def _embedded(self, encoder: Encoder, modality: str) -> Float[Tensor, "n d"]:
        """Of the whole data, where that is audited, they may be at hand already."""
        task = self.task
        if modality == "text" or len(task) == len(task.dataset):
            return clean_of(encoder, task.dataset, modality)[: len(task)]
        return embed_all(encoder, task.dataset, modality, range(len(task)))

    def verdicts(self, calibrated: bool, other: str) -> dict[str, Verdict]:
        """Rank of item i for query i, ties against it; the way from old to new."""
        queries = self.new if calibrated else self.old
        gallery = self.old if other == self.task.modality else self._embedded(self.backbone, other)
        ways = (in_float64(queries) - in_float64(self.old)).norm(dim=1)
        passes = 1 if other == self.task.modality else 0 if calibrated or other == "text" else 1
        found: dict[str, Verdict] = {}
        for first in range(0, len(queries), BATCH):
            some = range(first, min(first + BATCH, len(queries)))
            scores, own = (
                products(queries[first : first + BATCH], gallery),
                torch.arange(some.start, some.stop, device=gallery.device),
            )
            told = zip(
                some,
                rank_of_truth(scores, own).tolist(),
                margin(scores, own).tolist(),
                ways[some.start : some.stop].tolist(),
                strict=True,
            )
            found.update(
                {
                    self.task.dataset.ids[i]: Verdict(rank, lost, way, forward_passes=passes)
                    for i, rank, lost, way in told
                }
            )
        return found
