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
        return self.draws(x, 1)[0]

    def draws(self, x: Float[Tensor, "b ..."], count: int) -> Float[Tensor, "s b ..."]:
        """What so many calls would give, in their order."""
        contents = [hashlib.blake2b(row.numpy().tobytes(), digest_size=16).digest() for row in x.detach().cpu().float()]
        drawn = torch.empty((count, *x.shape))
        places: dict[bytes, list[int]] = {}
        for row, content in enumerate(contents):
            places.setdefault(content, []).append(row)
        for content, rows in places.items():
            seen = self._seen.get(content, 0)
            self._seen[content] = seen + count
            for number in range(count):
                generator = torch.Generator().manual_seed(seed_of(*self._key, content.hex(), seen + number))
                drawn[number, rows] = torch.randn(tuple(x.shape[1:]), generator=generator)
        return drawn


@dataclass(frozen=True)
class UnderNoise:
    """`embed` of every row plus fresh Gaussian noise of standard deviation `sigma`, which counts as a constant in
    gradients. A `DrawingEmbed`.
    """

    embed: Embed
    sigma: float
    noise: ContentNoise

    def __call__(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """One draw of every row."""
        return self.embed(x + self.sigma * self.noise(x).to(x))

    def draws(self, x: Float[Tensor, "b ..."], count: int) -> Float[Tensor, "b s d"]:
        """So many draws of every row, in one pass."""
        noisy = x + self.sigma * self.noise.draws(x, count).to(x)
        return self.embed(noisy.flatten(0, 1)).unflatten(0, (count, len(x))).transpose(0, 1)


def under_noise(embed: Embed, sigma: float, *key: object) -> UnderNoise:
    """`embed` under noise that `key` and the content of a row decide (see `ContentNoise`)."""
    return UnderNoise(embed, sigma, ContentNoise(*key))
