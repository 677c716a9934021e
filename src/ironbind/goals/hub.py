"""Hubness: the input is to be the first hit of as many queries as possible.

Letters: b = batch, d = embedding width, q = queries, r = rows kept.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.goals.misclassify import check_loss
from ironbind.numerics.batching import products

TIE = 1e-6  # of cosines: an untouched item ties with itself, up to float32's rounding


@dataclass(frozen=True)
class Hub:
    """Make each input, once in the gallery, the first hit of as many queries as possible (hubness, Zhang et al. 2024,
    arXiv 2412.14113).

    `queries`: clean unit embeddings; `best[j]`: the cosine of query j to the best item of the clean gallery, to be
    exceeded. Reached when it is the first hit of at least `share` of them. `by`: "margin" (mean over queries of a
    sigmoid of the lead at `softness`: a smooth count of hits, ours), "cosine" (mean cosine to all queries, the
    paper's), "ce" and "dlr" (taken as the margin).
    """

    queries: Float[Tensor, "q d"]
    best: Float[Tensor, " q"]
    share: float = 1.0
    by: str = "margin"
    softness: float = 0.05
    # other queries (and their best) that verdicts are read from
    held_out: tuple[Float[Tensor, "q d"], Float[Tensor, " q"]] | None = None

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Higher = nearer to success."""
        cosines = products(z, self.queries)
        if self.by == "cosine":
            return cosines.mean(dim=1)
        return torch.sigmoid((cosines - self.best) / self.softness).mean(dim=1)

    def captured(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Share of the queries whose first hit the input is (a tie counts against the attacker)."""
        return (products(z, self.queries) > self.best + TIE).float().mean(dim=1)

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        return self.captured(z) >= self.share

    def rank(self, z: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """1 + the number of queries in `held_out` (None: in `queries`) whose first hit the input is."""
        queries, best = self.held_out or (self.queries, self.best)
        return 1 + (products(z, queries) > best + TIE).sum(dim=1)

    def margin(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """The mean lead over the best item of each query in `held_out`."""
        queries, best = self.held_out or (self.queries, self.best)
        return (products(z, queries) - best).mean(dim=1)

    def using(self, loss: str) -> "Hub":
        return replace(self, by=check_loss(loss))

    def rivals(self, z: Float[Tensor, "b d"], count: int) -> Int[Tensor, "b 0"]:
        """None: all queries are pursued at once."""
        return torch.empty((len(z), 0), dtype=torch.long, device=z.device)

    def against(self, rival: Int[Tensor, " b"]) -> "Hub":
        return self

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "Hub":
        return self
