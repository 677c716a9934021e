"""Hubness against a guarded index: the first hit of as many queries as a detector of hubs lets pass.

Letters: b = batch, d = embedding width, q = queries, c = concepts, r = rows kept.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.goals.hub import Hub
from ironbind.numerics.batching import products


@dataclass(frozen=True)
class HubLimits:
    """What a detector lets pass: the `share` of all queries that find a row, the share `of_concept` of the queries of
    each concept, and from how many `concepts` they come (the exponential of the entropy).
    """

    share: float
    of_concept: Float[Tensor, " c"]
    concepts: float


@dataclass(frozen=True)
class UndetectedHub:
    """The goal of `hub` while a detector stays silent (ours): its loss, minus `weight` times the relative excess over
    each of the `limits`, which is counted smoothly at `softness` over the known queries.

    `last[j]`: the cosine of the last row that query j returns in the clean gallery; an input above it is found.
    `concept[j]`: the concept of query j. Reached when the hub is, and every limit is kept. `seen`: which rows the
    deployed detector flags or lists; the limits are counted over known queries, so that an item may keep them and be
    seen. None: those that exceed a limit.
    """

    hub: Hub
    last: Float[Tensor, " q"]
    concept: Int[Tensor, " q"]
    limits: HubLimits
    weight: float = 5.0
    softness: float = 0.01
    seen: Callable[[Float[Tensor, "b d"]], Bool[Tensor, " b"]] | None = None

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Higher = nearer to success."""
        found = torch.sigmoid((products(z, self.hub.queries) - self.last) / self.softness)
        return self.hub.loss(z) - self.weight * self._excess(found)

    def excess(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """How far the limits are exceeded by the queries that find the input, counted; 0 where all are kept."""
        return self._excess((products(z, self.hub.queries) >= self.last).float())

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        return self.hub.reached(z) & (self.excess(z) == 0)

    def _excess(self, found: Float[Tensor, "b q"]) -> Float[Tensor, " b"]:
        member = torch.nn.functional.one_hot(self.concept, len(self.limits.of_concept)).to(found)  # q c
        rates = found @ member / member.sum(dim=0).clamp_min(1)  # b c
        shares = rates / rates.sum(dim=1, keepdim=True).clamp_min(1e-12)
        concepts = (-(shares * shares.clamp_min(1e-12).log()).sum(dim=1)).exp()
        over = [
            found.mean(dim=1) / self.limits.share - 1,
            (rates / self.limits.of_concept - 1).amax(dim=1),
            concepts / self.limits.concepts - 1,
        ]
        return torch.stack([each.clamp_min(0) for each in over]).sum(dim=0)

    def rank(self, z: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """As the hub's, what it does to queries that were held out; 1 for what is seen."""
        return torch.where(self._seen(z), 1, self.hub.rank(z))

    def margin(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """As the hub's; at most 0 for what is seen."""
        margin = self.hub.margin(z)
        return torch.where(self._seen(z), margin.clamp_max(0), margin)

    def _seen(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        return self.excess(z) > 0 if self.seen is None else self.seen(z)

    def using(self, loss: str) -> "UndetectedHub":
        return replace(self, hub=self.hub.using(loss))

    def rivals(self, z: Float[Tensor, "b d"], count: int) -> Int[Tensor, "b 0"]:
        """None, as the hub's."""
        return self.hub.rivals(z, count)

    def against(self, rival: Int[Tensor, " b"]) -> "UndetectedHub":
        return self

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "UndetectedHub":
        return self
