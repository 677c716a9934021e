"""The embeddings of one sample under Gaussian noise. They are computed as they are asked for and kept in a file, so
that a killed run goes on, and other prompts or another gallery cost no pass.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.numerics.batching import batches, in_full_batches
from ironbind.numerics.content_cache import TENSORS, content_key
from ironbind.numerics.sample_random import PerSample
from ironbind.types import Embed, Keeping


def noise(seed: int, sample: str, place: str, draws: Sequence[int], shape: tuple[int, ...]) -> Float[Tensor, "n ..."]:
    """Standard normal noise, one tensor of `shape` per draw; each depends on seed, sample, `place` (modality and space)
    and its own number alone.
    """
    rng = PerSample.of(seed, [sample], f"smoothing {place}")
    return torch.cat([rng.normal(f"draw {draw}", shape) for draw in draws])


class SampleDraws:
    """Embeddings of one sample `x` under noise of standard deviation `sigma`, in the order of their draws, on the CPU.

    `passes`: how many of them were computed for `keeping.asked_by`, in this process or before it was killed.
    """

    def __init__(
        self,
        embed: Embed,
        x: Float[Tensor, "..."],
        sigma: float,
        draw: Callable[[Sequence[int]], Float[Tensor, "n ..."]],
        batch_size: int,
        keeping: Keeping,
        about: tuple[object, ...],
    ) -> None:
        """`draw`: gives the noise of draws by their numbers; `about`: what decides it."""
        self._embed, self._x, self._sigma, self._draw = in_full_batches(embed), x, sigma, draw
        self._batch_size, self._asked_by = batch_size, keeping.asked_by
        self._path: Path = (
            keeping.folder / f"{content_key((keeping.decides, repr(sigma), *about), [x.cpu()])}.safetensors"
        )
        stored = TENSORS.read(self._path, lambda found: len(found["z"]) == sum(_paid(found).values())) or {}
        self._z, self._paid_by = stored.get("z"), _paid(stored)

    @property
    def passes(self) -> int:
        return self._paid_by.get(self._asked_by, 0)

    def between(self, first: int, last: int) -> Float[Tensor, "n d"]:
        """Draws `first` to `last`, the latter excluded; those before them are computed as well."""
        present = 0 if self._z is None else len(self._z)
        if last > present:
            parts = [] if self._z is None else [self._z]
            for numbers in batches(range(present, last), self._batch_size):
                with torch.no_grad():
                    noisy = self._x + self._sigma * self._draw(numbers).to(self._x)
                    parts.append(self._embed(noisy).float().cpu())
            self._z = torch.cat(parts)
            self._paid_by[self._asked_by] = self.passes + last - present
            paid = torch.frombuffer(bytearray(json.dumps(self._paid_by).encode()), dtype=torch.uint8)
            TENSORS.write(self._path, {"z": self._z, "paid": paid})
        assert self._z is not None
        return self._z[first:last]


def _paid(stored: dict[str, Tensor]) -> dict[str, int]:
    """How many draws were computed for whom."""
    return dict(json.loads(bytes(stored["paid"].tolist()))) if stored else {}
