"""The goal of an attacker who knows no classes: to move an embedding away from where it was. b = batch, d = embedding
width, r = rows kept.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class EmbeddingShift:
    """Drive each embedding away from `origin[i]`, its clean unit embedding: what FARE (Schlarmann et al. 2024, arXiv
    2402.12336) trains against.

    The loss is the squared distance, whatever loss is asked for. It is never reached: every step further counts.
    """

    origin: Float[Tensor, "b d"]

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """||z - origin||^2."""
        return (z - self.origin).square().sum(dim=1)

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        return torch.zeros(len(z), dtype=torch.bool, device=z.device)

    def using(self, loss: str) -> "EmbeddingShift":
        return self

    def rivals(self, z: Float[Tensor, "b d"], count: int) -> Int[Tensor, "b 0"]:
        """None: there is no class to go to."""
        return torch.empty((len(z), 0), dtype=torch.long, device=z.device)

    def against(self, rival: Int[Tensor, " b"]) -> "EmbeddingShift":
        return self

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "EmbeddingShift":
        return replace(self, origin=self.origin[rows])
