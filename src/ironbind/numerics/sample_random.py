"""Randomness that belongs to a sample: keyed by (seed, purpose, sample id, tag), so that batches, order, shards and
restarts cannot change it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.types import Embed, SampleRandom


def seed_of(*parts: object) -> int:
    """A 63-bit seed from any printable parts; equal parts give equal seeds on every machine and Python version."""
    text = "\x1f".join(map(str, parts)).encode("utf-8", "surrogateescape")  # file names need not be UTF-8
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


@dataclass(frozen=True)
class PerSample:
    """A source of random tensors for a batch of samples; row i depends on `ids[i]`, the seed, the purpose and the tag
    alone. CPU float32.
    """

    seed: int
    ids: tuple[str, ...]
    purpose: str = ""

    @classmethod
    def of(cls, seed: int, ids: Sequence[str], purpose: str = "") -> "PerSample":
        return cls(seed, tuple(ids), purpose)

    def _generators(self, tag: str) -> list[torch.Generator]:
        return [torch.Generator().manual_seed(seed_of(self.seed, self.purpose, sample, tag)) for sample in self.ids]

    def uniform(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]:
        """Uniform numbers in [0, 1), one independent tensor of `shape` per sample."""
        rows = [torch.rand(shape, generator=generator) for generator in self._generators(tag)]
        return torch.stack(rows) if rows else torch.empty((0, *shape))

    def normal(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]:
        """Standard normal numbers, one independent tensor of `shape` per sample."""
        rows = [torch.randn(shape, generator=generator) for generator in self._generators(tag)]
        return torch.stack(rows) if rows else torch.empty((0, *shape))

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "PerSample":
        return PerSample(self.seed, tuple(self.ids[row] for row in rows.tolist()), self.purpose)


@dataclass(frozen=True)
class Tagged:
    """`rng` under other tags: what asks it twice for the same thing gets different numbers."""

    rng: SampleRandom
    prefix: str

    def uniform(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]:
        """As `rng`'s."""
        return self.rng.uniform(f"{self.prefix}/{tag}", shape)

    def normal(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]:
        """As `rng`'s."""
        return self.rng.normal(f"{self.prefix}/{tag}", shape)

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "Tagged":
        return Tagged(self.rng[rows], self.prefix)


class ContentNoise:
    """Gaussian noise that belongs to the content of each row of a batch: what asks again for the same content gets the
    next draw of it, whoever shares its batch, wherever it stands there, and however batches are padded. CPU float32.

    For inputs that are known by nothing else, such as the iterates of an attack.
    """

    def __init__(self, *key: object) -> None:
        """`key`: whatever else decides the noise."""
        self._key, self._seen = key, dict[bytes, int]()

    def __call__(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Standard normal numbers in the shape of `x`. Rows of one call that hold the same get the same."""
        contents = [hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest() for row in x.detach().cpu().float()]
        rows = []
        for content in contents:
            generator = torch.Generator().manual_seed(seed_of(*self._key, content.hex(), self._seen.get(content, 0)))
            rows.append(torch.randn(tuple(x.shape[1:]), generator=generator))
        for content in set(contents):
            self._seen[content] = self._seen.get(content, 0) + 1
        return torch.stack(rows) if rows else torch.empty((0, *x.shape[1:]))


def under_noise(embed: Embed, sigma: float, *key: object) -> Embed:
    """`embed` of every row plus fresh Gaussian noise of standard deviation `sigma` (see `ContentNoise`), which counts
    as a constant in gradients.
    """
    noise = ContentNoise(*key)
    return lambda x: embed(x + sigma * noise(x).to(x))
