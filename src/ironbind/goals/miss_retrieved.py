"""Retrieval whose gallery item is attacked: the item is to be missed by its own query.

Letters: b = batch, d = embedding width, m = other gallery items, r = rows kept.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.goals.misclassify import check_loss


@dataclass(frozen=True)
class MissRetrieved:
    """Hide a gallery item from its own query: the *item* is attacked, the rest of the gallery stays clean.

    `query[i]` is the clean embedding of the query that should find item i; `others[i]` are that query's cosines to the
    other, clean items. The item must sink below the k-th best rival.
    """

    query: Float[Tensor, "b d"]
    others: Float[Tensor, "b m"]
    k: int = 1
    by: str = "margin"
    logit_scale: float = 20.0

    def _score(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        return (self.query * z).sum(dim=1)

    def _margin(self, z: Float[Tensor, "b d"], k: int) -> Float[Tensor, " b"]:
        score = self._score(z)
        if self.others.shape[1] < k:
            return score * 0 - torch.inf
        return self.others.topk(k, dim=1).values[:, -1] - score

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Higher = nearer to success. All losses fall with the same single score, so they share their gradient's
        direction.
        """
        if self.by == "cosine":
            return -self._score(z)
        if self.by == "ce":
            logits = self.logit_scale * torch.cat([self._score(z)[:, None], self.others], dim=1)
            return torch.logsumexp(logits, dim=1) - logits[:, 0]
        return self._margin(z, self.k)

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        """Whether the item is outside its query's top k (ties count as outside)."""
        return self.rank(z) > self.k

    def rank(self, z: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """Rank of the item for its query, 1 = best."""
        return 1 + (~(self.others < self._score(z)[:, None])).sum(dim=1)

    def margin(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Best rival's score minus the item's: >= 0 means missed."""
        return self._margin(z, 1)

    def using(self, loss: str) -> "MissRetrieved":
        return replace(self, by=check_loss(loss))

    def rivals(self, z: Float[Tensor, "b d"], count: int) -> Int[Tensor, "b 0"]:
        """None: the query and its other items stay as they are, so that there is only one way to sink."""
        return torch.empty((len(z), 0), dtype=torch.long, device=z.device)

    def against(self, rival: Int[Tensor, " b"]) -> "MissRetrieved":
        return self

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "MissRetrieved":
        return replace(self, query=self.query[rows], others=self.others[rows])
