"""The goal of an attacker who has to pass a detector as well: to reach another goal and not to be flagged.

Letters: b = batch, d = embedding width, r = rows kept. Rows carry the detector's excess over its threshold behind the
embedding, as coordinate number d.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class UnlessCaught:
    """`goal`, without being flagged. A row is flagged where its last coordinate, score minus threshold in thresholds,
    is above 0; it then counts as answered right, whatever its embedding says.

    The loss is that of `goal` less the positive part of the excess.
    """

    goal: Any

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Higher = nearer to success."""
        return self.goal.loss(z[:, :-1]) - z[:, -1].clamp_min(0)

    def _free(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        return ~(z[:, -1] > 0)

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        """Whether the goal is reached without being flagged."""
        return self.goal.reached(z[:, :-1]) & self._free(z)

    def rank(self, z: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """Rank of the truth; 1 for what is flagged."""
        return torch.where(self._free(z), self.goal.rank(z[:, :-1]), 1)

    def margin(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """The goal's margin; of what is flagged, a negative one: how far it is from passing."""
        margin = self.goal.margin(z[:, :-1])
        return torch.where(self._free(z), margin, -z[:, -1].clamp_min(1e-6) + margin.clamp_max(0))

    def using(self, loss: str) -> "UnlessCaught":
        return replace(self, goal=self.goal.using(loss))

    def rivals(self, z: Float[Tensor, "b d"], count: int) -> Int[Tensor, "b t"]:
        """Those of the goal."""
        rivals: Tensor = self.goal.rivals(z[:, :-1], count)
        return rivals

    def against(self, rival: Int[Tensor, " b"]) -> "UnlessCaught":
        return replace(self, goal=self.goal.against(rival))

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "UnlessCaught":
        return replace(self, goal=self.goal[rows])
