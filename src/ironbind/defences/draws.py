"""Where the randomness of a defence comes from: for a query from its own content, for an attacker's estimate from draws
that all samples share. Neither depends on batches, order or restarts.
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.numerics.sample_random import PerSample, seed_of


def by_content(x: Float[Tensor, "b ..."], seed: int, draw: int) -> PerSample:
    """The randomness of draw number `draw` for each row: equal rows get equal numbers, whoever shares their batch."""
    rows = x.detach().cpu().contiguous()
    ids = [hashlib.blake2b(row.numpy().tobytes(), digest_size=16).hexdigest() for row in rows]
    return PerSample.of(seed, ids, f"defence draw {draw}")


@dataclass(frozen=True)
class SharedDraws:
    """The same random tensors for each of `count` rows: an attacker's estimate of what a defence will draw, so that
    the loss that he climbs is one function.
    """

    count: int
    seed: int
    purpose: str

    def _shared(self, x: Float[Tensor, "..."]) -> Float[Tensor, "b ..."]:
        return x.expand(self.count, *x.shape)

    def _generator(self, tag: str) -> torch.Generator:
        return torch.Generator().manual_seed(seed_of(self.seed, self.purpose, tag))

    def uniform(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]:
        """Uniform numbers in [0, 1)."""
        return self._shared(torch.rand(shape, generator=self._generator(tag)))

    def normal(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]:
        """Standard normal numbers."""
        return self._shared(torch.randn(shape, generator=self._generator(tag)))

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "SharedDraws":
        return SharedDraws(len(rows), self.seed, self.purpose)
