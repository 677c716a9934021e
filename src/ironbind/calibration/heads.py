"""Modality-specific projection heads: small maps of the embedding space that are the identity at birth."""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class IdentityLinear(nn.Module):
    """h(z) = W z + b, born with W = I, b = 0. One per modality, as UniBind's own heads; our reading of the paper's."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, dim)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return self.linear(z)


class ResidualMLP(nn.Module):
    """h(z) = z + U gelu(D z), a bottleneck of `rank` = d / 4, born with U = 0."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.down = nn.Linear(dim, max(1, dim // 4))
        self.up = nn.Linear(max(1, dim // 4), dim)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        return z + self.up(torch.nn.functional.gelu(self.down(z)))
