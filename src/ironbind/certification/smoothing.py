"""Randomised smoothing (Cohen et al. 2019, arXiv 1902.02918): what an encoder answers under Gaussian noise is proven to
stay what it is within a Euclidean radius.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.certification.sample_draws import SampleDraws, noise
from ironbind.core.tables.intervals import lower_end
from ironbind.numerics.batching import batches, in_full_batches
from ironbind.numerics.sample_random import under_noise
from ironbind.types import Certificates, Embed, InputError, Keeping, Task

NORMAL = NormalDist()


@dataclass(frozen=True)
class Smoothing:
    """Certificates of the smoothed encoder, which answers with what the encoder itself answers most often to the sample
    plus Gaussian noise of standard deviation `sigma`, in units of the space.

    Of each sample `selection` draws say what that answer is, `draws` further ones how often it comes. An event "the
    truth is among the first k" that comes more often than not among the former is certified: p, the lower end of its
    Clopper-Pearson interval among the latter, gives the radius sigma times the normal quantile of p where p exceeds one
    half (their theorem 1); else the certifier abstains. With k = 1 that is their procedure CERTIFY for a sample whose
    truth is known. With larger k (ours) the smoothed encoder returns what is among the first k in more than half of all
    draws, fewer than 2 k classes or items. Every certificate holds with probability `confidence` over the draws: of a
    thousand at 0.999 one may be wrong.

    Noise goes beyond the bounds of a space as it comes. Raises InputError for knobs that prove nothing.
    """

    sigma: float = 0.25
    draws: int = 1000
    selection: int = 100
    confidence: float = 0.999

    def __post_init__(self) -> None:
        if not (self.sigma > 0 and math.isfinite(self.sigma)):
            raise InputError(f"sigma {self.sigma:g} of smoothing noise is no standard deviation; expected above 0")
        if self.draws < 1 or self.selection < 1:
            raise InputError(f"smoothing by {self.selection} and {self.draws} draws: expected at least one of each")
        if not 0 < self.confidence < 1:
            raise InputError(f"confidence {self.confidence:g} is no probability; expected between 0 and 1, as 0.999")
        if not self.largest:
            raise InputError(
                f"{self.draws} draws prove nothing at confidence {self.confidence:g}, even if all of them agree; "
                "expected more draws"
            )

    @property
    def name(self) -> str:
        return f"smoothing{self.sigma:g}-{self.draws}"

    @property
    def largest(self) -> float:
        """The radius where all draws agree: no certificate reaches further."""
        return self.radius(self.draws)[0]

    def radius(self, hits: int) -> tuple[float, float]:
        """Radius and lower bound of the probability for so many hits among `draws`; radius 0 to abstain."""
        p = lower_end(hits, self.draws, self.confidence)
        return (self.sigma * NORMAL.inv_cdf(p) if p > 0.5 else 0.0), p

    def attacked(self, embed: Embed, *key: object) -> Embed:
        """`embed` under fresh noise, the same for the same `key` and content (see `numerics.sample_random`)."""
        return under_noise(embed, self.sigma, "smoothing attacked", *key)

    def refuted(
        self, task: Task, index: int, x: Float[Tensor, "1 ..."], k: int, seed: int, batch_size: int
    ) -> tuple[bool, int]:
        """Whether the truth leaves the top k more often than not, with the `confidence` of a certificate, over up to
        `draws` draws of noise of its own; most of the time a few tell that it does not.
        """
        sample, goal = task.dataset.ids[index], task.goal([index])
        embed, misses = in_full_batches(task.embed), 0
        for numbers in batches(range(self.draws), batch_size):
            with torch.no_grad():
                given = noise(seed, sample, f"refuting {task.modality} {task.space.name}", numbers, tuple(x.shape[1:]))
                z = embed(x + self.sigma * given.to(x)).float().cpu()
            misses += int((_ranks(z, goal, task) > k).sum())
            seen = numbers[-1] + 1
            if 2 * misses < seen - 4 * math.sqrt(seen):  # four standard deviations below a half
                return False, seen
        return lower_end(misses, self.draws, self.confidence) > 0.5, self.draws

    def __call__(
        self, task: Task, indices: Sequence[int], ks: Sequence[int], seed: int, batch_size: int, keeping: Keeping
    ) -> Certificates:
        """Certificates of these samples, one per k of `ks`, in order."""
        x, ids = task.load(indices), [task.dataset.ids[index] for index in indices]
        goal, place = task.goal(indices), f"{task.modality} {task.space.name}"
        rows = []
        for row, sample in enumerate(ids):
            draw = partial(noise, seed, sample, place, shape=tuple(x.shape[1:]))
            draws = SampleDraws(task.embed, x[row], self.sigma, draw, batch_size, keeping, (seed, sample, place))
            rows.append((self._certify(draws, goal[torch.tensor([row], device=x.device)], ks, task), draws.passes))
        return Certificates(
            torch.tensor([[radius for radius, _ in row] for row, _ in rows], dtype=torch.float64),
            torch.tensor([[p for _, p in row] for row, _ in rows], dtype=torch.float64),
            torch.tensor([passes for _, passes in rows]),
        )

    def _certify(self, draws: SampleDraws, goal: Any, ks: Sequence[int], task: Task) -> list[tuple[float, float]]:
        """Radius and probability of one sample for each k. What is not the answer costs no further draw."""
        first = _ranks(draws.between(0, self.selection), goal, task)
        answered = [2 * int((first <= k).sum()) > self.selection for k in ks]
        if not any(answered):
            return [(0.0, 0.0)] * len(ks)
        ranks = _ranks(draws.between(self.selection, self.selection + self.draws), goal, task)
        return [
            self.radius(int((ranks <= k).sum())) if right else (0.0, 0.0) for k, right in zip(ks, answered, strict=True)
        ]


def _ranks(z: Tensor, goal: Any, task: Task) -> Int[Tensor, " n"]:
    """The rank of one sample's truth at each of its draws."""
    ranks = []
    for part in z.to(task.device).split(CHUNK):
        ranks.append(goal[torch.zeros(len(part), dtype=torch.long, device=part.device)].rank(part).cpu())
    return torch.cat(ranks)


CHUNK = 256  # draws that are compared with a gallery at once
