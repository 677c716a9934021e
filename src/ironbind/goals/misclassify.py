"""Misclassification, the goal of most attacks, as functions of embeddings. The audit reads its verdicts from the same
goal, so that both mean the same.

Letters: b = batch, d = embedding width, c = classes, t = true classes of a row, r = rows kept.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.numerics.batching import products
from ironbind.numerics.metrics import class_scores, margin, rank_of_truth
from ironbind.types import ClassCenters, InputError

LOSSES = ("margin", "ce", "dlr", "cosine")


def check_loss(loss: str) -> str:
    if loss not in LOSSES:
        raise InputError(f"loss {loss!r} is not known; expected one of {', '.join(LOSSES)}")
    return loss


@dataclass(frozen=True)
class Misclassify:
    """Drive the truth out of the top `k` of `centers`: zero-shot classification, and retrieval whose *query* is
    attacked.

    `by`: "margin" (k-th best wrong score minus the true one; scale-free, the default), "ce" (cross-entropy of the
    softmax at `logit_scale`; at CLIP's 100 it underflows to exactly 0 on confident rows, at 20 hardly ever), "dlr" (the
    top-1 margin divided by the distance between the best and the third-best score, Croce and Hein 2020; the plain
    margin below three classes), "cosine" (push away from all rows of the truth without naming a competitor; kin to the
    paper's CrossMaxim, our reading). `rival`: pursue one wrong class per row instead of the best one ("dlr" is then the
    targeted one of Croce and Hein 2020, equation 7; the plain lead below four classes). `also`: further classes that
    are true of a row (a gallery of captions, of which several are its own; `label` itself where there are no more): the
    best of them counts, none is a rival.
    """

    centers: ClassCenters
    label: Int[Tensor, " b"]
    k: int = 1
    by: str = "margin"
    logit_scale: float = 20.0
    rival: Int[Tensor, " b"] | None = None
    also: Int[Tensor, "b t"] | None = None

    @property
    def _true(self) -> Int[Tensor, "b t"]:
        """All that is true of a row, `label` first."""
        return self.label[:, None] if self.also is None else torch.cat([self.label[:, None], self.also], dim=1)

    @property
    def _wrong(self) -> int:
        """How many classes are wrong of every row."""
        return len(self.centers) - self._true.shape[1]

    def _scores(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c"]:
        """Class scores in which `label` has the best of all that is true and the rest of it is out of the way."""
        scores = class_scores(z, self.centers)
        if self.also is None:
            return scores
        best = scores.gather(1, self._true).amax(dim=1, keepdim=True)
        return scores.scatter(1, self._true, -torch.inf).scatter(1, self.label[:, None], best)

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Higher = nearer to success."""
        if self.rival is not None:
            return self._against_rival(self._scores(z))
        if self.by == "cosine":
            own = (self.centers.label[None, None, :] == self._true[:, :, None]).any(dim=1).to(z.dtype)
            return -(products(z, self.centers.z) * own).sum(dim=1) / own.sum(dim=1)
        scores = self._scores(z)
        if self.by == "ce":
            return torch.nn.functional.cross_entropy(self.logit_scale * scores, self.label, reduction="none")
        lost = margin(scores, self.label, self.k)
        if self.by == "dlr" and self._wrong >= 2:
            best = scores.topk(3, dim=1).values
            return lost / (best[:, 0] - best[:, 2] + 1e-12)
        return lost

    def _against_rival(self, scores: Float[Tensor, "b c"]) -> Float[Tensor, " b"]:
        """Towards one wrong class per row: its lead over the truth; "dlr": over the targeted scale, from four classes
        up; "ce": of the rival.
        """
        assert self.rival is not None
        if self.by == "ce":
            return -torch.nn.functional.cross_entropy(self.logit_scale * scores, self.rival, reduction="none")
        lead = (scores.gather(1, self.rival[:, None]) - scores.gather(1, self.label[:, None])).squeeze(1)
        if self.by == "dlr" and self._wrong >= 3:
            best = scores.topk(4, dim=1).values
            return lead / (best[:, 0] - (best[:, 2] + best[:, 3]) / 2 + 1e-12)
        return lead

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        """Whether the truth is outside the top k (ties count as outside)."""
        return self.rank(z) > self.k

    def rank(self, z: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """Rank of the truth, 1 = best."""
        return rank_of_truth(self._scores(z), self.label)

    def margin(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Best wrong score minus the true one, whatever the loss pursued: >= 0 means wrong."""
        return margin(self._scores(z), self.label)

    def using(self, loss: str) -> "Misclassify":
        return replace(self, by=check_loss(loss))

    def rivals(self, z: Float[Tensor, "b d"], count: int) -> Int[Tensor, "b t"]:
        """The `count` wrong classes that score highest (all of them where there are fewer), best first."""
        wrong = self._scores(z).scatter(1, self.label[:, None], -torch.inf)
        return wrong.topk(min(count, self._wrong), dim=1).indices

    def against(self, rival: Int[Tensor, " b"]) -> "Misclassify":
        """The same goal, pursued through one wrong class per row; any wrong class still counts as success."""
        return replace(self, rival=rival)

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "Misclassify":
        rival, also = (None if classes is None else classes[rows] for classes in (self.rival, self.also))
        return replace(self, label=self.label[rows], rival=rival, also=also)
