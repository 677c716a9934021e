"""Whether an index that was built with the original encoder still serves queries of the calibrated one. If it does,
nothing has to be embedded again.

Old: of the backbone. New: of the calibrated encoder. There is no attack.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.results import INDEX, Row
from ironbind.evaluate.run_context import AnyStore
from ironbind.evaluate.store.verdict_store import Verdict, VerdictStore, audit_key
from ironbind.evaluate.store.verdicts_csv import label_of
from ironbind.evaluate.tasks.base import BATCH, clean_of, embed_all
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.numerics.batching import batches, products
from ironbind.numerics.metrics import margin, mean_interval, rank_of_truth, wilson
from ironbind.numerics.norms import in_float64
from ironbind.types import CalibratedEncoder, Encoder

RECALLS = (("R@1", 1), ("R@10", 10))


def compatibility(task: ZeroShot, store: AnyStore | None = None) -> list[Row]:
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
    verdict_store, embeddings, rows = store or VerdictStore(), _Embeddings(task, encoder.backbone), []
    for other in (task.modality, *task.pairs):
        for calibration, queries in (("none", encoder.backbone), (encoder.calibration, encoder)):
            common: dict[str, Any] = {
                "encoder": encoder.backbone.name, "calibration": calibration, "modality": task.modality,
                "space": task.space.name, "task": f"{INDEX}{task.modality}->{other}", "attack": "none", "norm": "none",
                "eps": "0", "threat_model": "clean", "n": len(task),
            }  # fmt: skip
            description = _description(task, queries, encoder.backbone, common["task"])
            verdicts = verdict_store.verdicts(audit_key(description))
            if len(verdicts) < len(task):
                verdicts = embeddings.verdicts(calibration != "none", other)
                verdict_store.add(audit_key(description), description, verdicts)
            rows += _rows(verdicts, common, moved=calibration != "none" and other == task.modality)
            verdict_store.label(audit_key(description), label_of(rows[-1]))
    return rows


def _description(task: ZeroShot, queries: Encoder, backbone: Encoder, question: str) -> dict[str, Any]:
    """Everything that decides the verdicts."""
    data = f"{task.dataset.name} {task.dataset.fingerprint} {len(task)}"
    place = {"encoder": queries.name, "weights": queries.weights_sha256, "index": backbone.weights_sha256, "data": data}
    return {**place, "modality": task.modality, "space": task.space.name, "question": question, "threat_model": "clean"}


def _rows(verdicts: Mapping[str, Verdict], common: dict[str, Any], moved: bool) -> list[Row]:
    rows = []
    if moved:  # of unit vectors, cosine = 1 - length^2 / 2
        cosines = mean_interval([1 - verdict.distance**2 / 2 for verdict in verdicts.values()])
        rows.append(
            Row(metric="cosine", value=cosines.value, ci_low=cosines.low, ci_high=min(cosines.high, 1.0), **common)
        )
    for metric, k in RECALLS:
        hits = sum(verdict.rank <= k for verdict in verdicts.values())
        value, low, high = (100 * share for share in wilson(hits, len(verdicts)))
        rows.append(Row(metric=metric, value=value, ci_low=low, ci_high=high, **common))
    return rows


class _Embeddings:
    """Old and new clean embeddings of the audited samples, computed when first read."""

    def __init__(self, task: ZeroShot, backbone: Encoder) -> None:
        self.task, self.backbone = task, backbone

    @cached_property
    def old(self) -> Float[Tensor, "n d"]:
        return self._clean_embeddings(self.backbone, self.task.modality)

    @cached_property
    def new(self) -> Float[Tensor, "n d"]:
        return self._clean_embeddings(self.task.encoder, self.task.modality)

    def _clean_embeddings(self, encoder: Encoder, modality: str) -> Float[Tensor, "n d"]:
        """Those of the whole data, where it is audited, may have been computed already."""
        task = self.task
        if modality == "text" or len(task) == len(task.dataset):
            return clean_of(encoder, task.dataset, modality)[: len(task)]
        return embed_all(encoder, task.dataset, modality, range(len(task)))

    def verdicts(self, calibrated: bool, other: str) -> dict[str, Verdict]:
        """By sample id: the rank of item i for query i, ties against it, and the distance of new from old."""
        queries = self.new if calibrated else self.old
        gallery = self.old if other == self.task.modality else self._clean_embeddings(self.backbone, other)
        distances = (in_float64(queries) - in_float64(self.old)).norm(dim=1).tolist()
        passes = 1 if other == self.task.modality else 0 if calibrated or other == "text" else 1
        verdicts: dict[str, Verdict] = {}
        for rows in batches(range(len(queries)), BATCH):
            scores = products(queries[rows[0] : rows[-1] + 1], gallery)
            own = torch.tensor(rows, device=gallery.device)
            ranks, margins = rank_of_truth(scores, own).tolist(), margin(scores, own).tolist()
            for row, rank, lead in zip(rows, ranks, margins, strict=True):
                sample = self.task.dataset.ids[row]
                verdicts[sample] = Verdict(rank, lead, distances[row], forward_passes=passes)
        return verdicts
