"""What an attacker wants, as functions of embeddings. The audit asks the same goals for its verdicts, so that both mean the same thing.

Letters: b = batch, d = embedding width, m = gallery items, r = rows kept.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.maths.batches import products
from ironbind.maths.scores import class_scores, margin, rank_of_truth
from ironbind.types import ClassCenters, InputError

LOSSES = ("margin", "ce", "dlr", "cosine")


def _check(loss: str) -> str:
    if loss not in LOSSES:
        raise InputError(f"loss {loss!r} is not known; expected one of {', '.join(LOSSES)}")
    return loss


@dataclass(frozen=True)
class Misclassify:
    """Drive the truth out of the top `k` of `centers`: zero-shot classification, and retrieval whose *query* is attacked.

    `by`: "margin" (k-th best wrong score minus the true one; scale-free, the default), "ce" (cross-entropy of the softmax at
    `logit_scale`; at CLIP's 100 it underflows to exactly 0 on confident rows, at 20 hardly ever), "dlr" (the top-1 margin divided by the distance
    between the best and the third-best score, Croce and Hein 2020; the plain margin below three classes), "cosine" (push away from all rows of the
    truth without naming a competitor; kin to the paper's CrossMaxim, our reading).
    """

    centers: ClassCenters
    label: Int[Tensor, " b"]
    k: int = 1
    by: str = "margin"
    logit_scale: float = 20.0

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Higher = nearer to success."""
        if self.by == "cosine":
            own = (self.centers.label[None, :] == self.label[:, None]).to(z.dtype)
            return -(products(z, self.centers.z) * own).sum(dim=1) / own.sum(dim=1)
        scores = class_scores(z, self.centers)
        if self.by == "ce":
            return torch.nn.functional.cross_entropy(self.logit_scale * scores, self.label, reduction="none")
        lost = margin(scores, self.label, self.k)
        if self.by == "dlr" and scores.shape[1] >= 3:
            best = scores.topk(3, dim=1).values
            return lost / (best[:, 0] - best[:, 2] + 1e-12)
        return lost

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        """Whether the truth is outside the top k (ties count as outside)."""
        return self.rank(z) > self.k

    def rank(self, z: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """Rank of the truth, 1 = best."""
        return rank_of_truth(class_scores(z, self.centers), self.label)

    def margin(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Best wrong score minus the true one, whatever the loss pursued: >= 0 means wrong."""
        return margin(class_scores(z, self.centers), self.label)

    def using(self, loss: str) -> "Misclassify":
        return replace(self, by=_check(loss))

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "Misclassify":
        return replace(self, label=self.label[rows])


@dataclass(frozen=True)
class MissRetrieved:
    """Hide a gallery item from its own query: the *item* is attacked, the rest of the gallery stays clean.

    `query[i]` is the clean embedding of the query that should find item i; `rivals[i]` are that query's cosines to the other, clean
    items. The item must sink below the k-th best rival.
    """

    query: Float[Tensor, "b d"]
    rivals: Float[Tensor, "b m"]
    k: int = 1
    by: str = "margin"
    logit_scale: float = 20.0

    def _score(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        return (self.query * z).sum(dim=1)

    def _margin(self, z: Float[Tensor, "b d"], k: int) -> Float[Tensor, " b"]:
        score = self._score(z)
        if self.rivals.shape[1] < k:
            return score * 0 - torch.inf
        return self.rivals.topk(k, dim=1).values[:, -1] - score

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Higher = nearer to success. All losses fall with the same single score, so they share their gradient's direction."""
        if self.by == "cosine":
            return -self._score(z)
        if self.by == "ce":
            logits = self.logit_scale * torch.cat([self._score(z)[:, None], self.rivals], dim=1)
            return torch.logsumexp(logits, dim=1) - logits[:, 0]
        return self._margin(z, self.k)

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        """Whether the item is outside its query's top k (ties count as outside)."""
        return self.rank(z) > self.k

    def rank(self, z: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """Rank of the item for its query, 1 = best."""
        return 1 + (~(self.rivals < self._score(z)[:, None])).sum(dim=1)

    def margin(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Best rival's score minus the item's: >= 0 means missed."""
        return self._margin(z, 1)

    def using(self, loss: str) -> "MissRetrieved":
        return replace(self, by=_check(loss))

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "MissRetrieved":
        return replace(self, query=self.query[rows], rivals=self.rivals[rows])
