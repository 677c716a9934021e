"""Test-time counterattack, TTC (Xing, Zhao and Sebe, CVPR 2025, arXiv 2503.03613; written from the paper).

Letters: b = batch, d = embedding width.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ironbind.defences.defence import Passes, Radius, Where, radius_in, refuse_odd_knobs
from ironbind.defences.stand_ins import sign_of
from ironbind.numerics.norms import into_bounds, per_row
from ironbind.types import Embed, InputError, SampleRandom, Space


@dataclass(frozen=True)
class Counterattack:
    """Adversarial inputs are said to be "falsely stable": where random noise of size `ttc_eps` moves the embedding by
    less than `tau_thres` (relative to its length), `ttc_numsteps` sign-gradient steps within `ttc_eps` drive the
    embedding away from where it is; the mean of the iterates, the later the heavier by exp(`beta`), is embedded. Where
    it moves further, the noisy input is. Names and values are the paper's; `ttc_stepsize` (None: the whole radius) is
    ours, and so is that a radius in a waveform is a fifth of that in pixels.
    """

    ttc_eps: Radius = "4/255"
    ttc_numsteps: int = 2
    ttc_stepsize: Radius | None = None
    beta: float = 2.0
    tau_thres: float = 0.2

    name = "ttc"
    gradients = ("straight_through", "unrolled")

    def __post_init__(self) -> None:
        refuse_odd_knobs(self)
        if self.ttc_numsteps < 1:
            raise InputError(f"ttc_numsteps {self.ttc_numsteps} is no counterattack; expected at least 1")

    @property
    def acts_above(self) -> float:
        return -self.tau_thres

    def unsuitable(self, modality: str, space: Space) -> str:
        """It has a meaning wherever an input can be moved a little."""
        return ""

    def randomised(self, modality: str, space: Space) -> bool:
        return True

    def passes(self, modality: str, space: Space) -> Passes:
        return Passes(3, self.ttc_numsteps)

    def answer(self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom) -> Float[Tensor, "b d"]:
        radius = radius_in(where.space, self.ttc_eps)
        stepsize = radius_in(where.space, self.ttc_stepsize or self.ttc_eps)
        noisy = _noisy(x, radius, where.space, rng)
        origin = embed(x)
        stable = (embed(noisy) - origin).norm(dim=1) < self.tau_thres * origin.norm(dim=1)
        moved = driven_away(embed, x, noisy, origin, (radius, stepsize), (self.ttc_numsteps, self.beta), where)
        # which of the two is embedded is decided without a gradient: a selection has none
        return embed(torch.where(per_row(stable, x), moved, noisy))

    def suspicion(
        self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom
    ) -> Float[Tensor, " b"]:
        """How stable the embedding is under noise: minus the distance that it moves (the paper's tau)."""
        noisy = _noisy(x, radius_in(where.space, self.ttc_eps), where.space, rng)
        return -(embed(noisy) - embed(x)).norm(dim=1)


def _noisy(x: Tensor, radius: float, space: Space, rng: SampleRandom) -> Tensor:
    """A point of the linf ball, uniform."""
    noise = radius * (2 * rng.uniform("noise", tuple(x.shape[1:])).to(x) - 1)
    return into_bounds(x + noise, space)


def driven_away(
    embed: Embed,
    x: Float[Tensor, "b ..."],
    start: Float[Tensor, "b ..."],
    origin: Float[Tensor, "b d"],
    sizes: tuple[float, float],
    schedule: tuple[int, float],
    where: Where,
) -> Float[Tensor, "b ..."]:
    """The counterattack: sign steps from `start` away from the embedding `origin`, each kept within the radius of `x`;
    the weighted mean of all iterates. `sizes`: radius and step; `schedule`: steps, and by how much a later iterate
    outweighs an earlier one (exp(beta)).

    An attacker who unrolls it gets second derivatives; for every other one the inner gradients are constants.
    """
    (radius, stepsize), (steps, beta) = sizes, schedule
    unrolled = where.gradient == "unrolled" and torch.is_grad_enabled() and x.requires_grad
    deltas = [start - x]
    for _ in range(steps):
        # the fused kernels of attention have no second derivative
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH) if unrolled else nullcontext():
            at = x + deltas[-1] if unrolled else (x + deltas[-1]).detach().requires_grad_(True)
            away = (embed(at) - (origin if unrolled else origin.detach())).square().sum()
            (gradient,) = torch.autograd.grad(away, at, create_graph=unrolled)
        step = sign_of(gradient) if unrolled else gradient.sign()
        moved = (deltas[-1] + stepsize * step).clamp(-radius, radius)
        deltas.append(into_bounds(x + moved, where.space) - x)
    weights = torch.softmax(beta * torch.arange(steps + 1.0), dim=0).tolist()
    delta = torch.stack([weight * each for weight, each in zip(weights, deltas, strict=True)]).sum(dim=0)
    return into_bounds(x + (delta if unrolled else delta.detach()), where.space)
