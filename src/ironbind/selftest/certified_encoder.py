"""An encoder whose robustness is known in closed form: no attack, of whatever norm, may break a certified sample (check
C19). And a certifier that promises too much, which an attack has to find out.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import normalize

from ironbind.numerics.norms import into_bounds
from ironbind.types import Budget, Certificates, Certifier, ClassCenters, Embed, InputSpec, Keeping, Space, Task

MARGIN = 1e-5  # a certificate holds in exact arithmetic; a margin below this may turn in float32


class Waves:
    """z = (cos t_1 .. cos t_k, sin t_1 .. sin t_k) / sqrt(k) with t_j = w_j . x, every w_j on coordinates of its own
    (ours).

    Rows are unit vectors by construction, gradients are exact and never vanish for long. As the waves share no
    coordinate, an linf budget moves every t_j within an interval of its own, independently of the others and bounds of
    the space included: the worst score of a sample is known exactly. In the other norms every wave is granted the whole
    budget and no bounds, which is more than an attacker has.
    """

    name = "waves"

    def __init__(
        self, spec: InputSpec, space: str, like: Float[Tensor, "n ..."], waves: int = 16, seed: int = 0
    ) -> None:
        """One modality, entered in `space`; frequencies suit the spread of samples `like`."""
        self.inputs: Mapping[str, InputSpec] = {spec.modality: spec}
        self.dim = 2 * waves
        self._space = space
        flat = like.flatten(1)
        generator = torch.Generator().manual_seed(seed)
        owner = torch.randint(0, waves, (flat.shape[1],), generator=generator)
        w = torch.randn(flat.shape[1], generator=generator) * torch.nn.functional.one_hot(owner, waves).T
        spread = (flat - flat.mean(dim=0)) @ w.T
        self.w = w / spread.std(dim=0).clamp_min(1e-6)[:, None]  # k coordinates; each phase varies by about one radian
        self.weights_sha256 = hashlib.sha256(self.w.numpy().tobytes()).hexdigest()

    def _phases(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b k"]:
        return x.flatten(1) @ self.w.T

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        phases = self._phases(x)
        return torch.cat([phases.cos(), phases.sin()], dim=1) * (2 / self.dim) ** 0.5

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        raise NotImplementedError("waves have no text side; give the task centers made of samples")

    def centers(self, x: Float[Tensor, "n ..."], label: Int[Tensor, " n"], names: Sequence[str]) -> ClassCenters:
        """One center per class: the mean embedding of its samples."""
        sums = torch.zeros(len(names), self.dim).index_add_(0, label, self.embed("", x))
        return ClassCenters(normalize(sums, dim=-1), torch.arange(len(names)), tuple(names))

    def reach(
        self, x: Float[Tensor, "b ..."], space: Space, budget: Budget
    ) -> tuple[Float[Tensor, "b k"], Float[Tensor, "b k"]]:
        """How far the budget can move each phase down and up at most."""
        if budget.norm != "linf":
            length = self._length(x, space, budget)
            return length, length
        flat = x.flatten(1)
        lower, upper = (into_bounds(flat + sign * budget.radius, space) - flat for sign in (-1.0, 1.0))
        along, against = self.w.clamp_min(0).T, self.w.clamp_max(0).T
        return -(lower @ along + upper @ against), upper @ along + lower @ against

    def _length(self, x: Float[Tensor, "b ..."], space: Space, budget: Budget) -> Float[Tensor, "b k"]:
        """By how much each phase moves at most when it is granted the whole budget."""
        size, radius = self.w.abs(), budget.radius
        if budget.norm == "event_share":  # a cell of [0, 1] changes by at most 1
            cells = (radius * (x != 0).flatten(1).sum(dim=1).clamp_min(1).double() + 1e-9).floor().long()
            largest = torch.cat(
                [torch.zeros(len(size), 1), size.sort(dim=1, descending=True).values.cumsum(dim=1)], dim=1
            )
            return largest.T[cells.clamp_max(size.shape[1])]
        if budget.norm == "pointwise_l2":
            elements = self.w.reshape(len(size), *x.shape[1:]).norm(dim=space.element_axes).flatten(1)
            return (radius * elements.sum(dim=1)).expand(len(x), -1)
        length = {"l1": size.amax(dim=1), "l2": self.w.norm(dim=1), "snr": self.w.norm(dim=1)}[budget.norm]
        own = x.flatten(1).norm(dim=1) if budget.norm == "snr" else torch.ones(len(x))
        return radius * own[:, None] * length

    def safe(
        self, x: Float[Tensor, "b ..."], label: Int[Tensor, " b"], centers: ClassCenters, space: Space, budget: Budget
    ) -> Bool[Tensor, " b"]:
        """Whether a sample keeps its label, whatever is done to it within the budget; centers: one row per class."""
        towards = centers.z[None] - centers.z[label][:, None]  # b m d: a rival leads by <z, towards>
        cosine, sine = towards.chunk(2, dim=2)
        crest = torch.atan2(sine, cosine)
        away = (
            torch.remainder(self._phases(x)[:, None] - crest + torch.pi, 2 * torch.pi) - torch.pi
        )  # from the phase that suits the rival best
        down, up = (shift[:, None] for shift in self.reach(x, space, budget))
        reachable = torch.stack(
            [(turn - away >= -down) & (turn - away <= up) for turn in (-2 * torch.pi, 0.0, 2 * torch.pi)]
        ).any(dim=0)
        best = torch.where(reachable, 1.0, (away - down).cos().maximum((away + up).cos()))
        lead = (torch.hypot(cosine, sine) * best).sum(dim=2) * (2 / self.dim) ** 0.5
        lead[torch.arange(len(x)), label] = -torch.inf
        return (lead < -MARGIN).all(dim=1)


@dataclass(frozen=True)
class Boasting:
    """`factor` times the radii that `certifier` proves."""

    certifier: Certifier
    factor: float

    @property
    def name(self) -> str:
        return f"{self.certifier.name} times {self.factor:g}"

    def __call__(
        self, task: Task, indices: Sequence[int], ks: Sequence[int], seed: int, batch_size: int, keeping: Keeping
    ) -> Certificates:
        found = self.certifier(task, indices, ks, seed, batch_size, keeping)
        return found._replace(radius=self.factor * found.radius)

    def attacked(self, embed: Embed, *key: object) -> Embed:
        return self.certifier.attacked(embed, *key)

    def refuted(
        self, task: Task, index: int, x: Float[Tensor, "1 ..."], k: int, seed: int, batch_size: int
    ) -> tuple[bool, int]:
        return self.certifier.refuted(task, index, x, k, seed, batch_size)
