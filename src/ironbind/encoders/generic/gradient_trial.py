"""Whether a function's gradient is that of the function: compared with finite differences."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.types import InputError

STEPS = (1e-2, 3e-3, 1e-3)  # in float32, a smaller one drowns in rounding, a larger one in curvature
AGREES = 0.1  # share of the gradient's length by which both may differ


class NoGradient(InputError):
    """Why a front end passes no gradient, or a wrong one."""


def check_gradient(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], low: float, high: float, device: torch.device
) -> None:
    """Tries `function`, from a batch of inputs within [low, high] to rows of embeddings, on one random input. Raises
    NoGradient where the gradient is missing, zero, or another than finite differences find.

    A preprocessing that rounds, or that detaches one of several paths, has a gradient and is found this way.
    """
    generator = torch.Generator().manual_seed(0)
    middle, half = (low + high) / 2, (high - low) / 4
    x = (middle + half * (2 * torch.rand((1, *shape), generator=generator) - 1)).to(device)
    weights: Tensor | None = None

    def score(at: Float[Tensor, "1 ..."]) -> Float[Tensor, ""]:
        nonlocal weights
        z = torch.nn.functional.normalize(function(at).float(), dim=-1)
        if weights is None:
            weights = torch.randn(z.shape, generator=generator).to(z)
        return (z * weights).sum()

    at = x.clone().requires_grad_(True)
    with torch.enable_grad():
        said = score(at)
        gradient = torch.autograd.grad(said, at, allow_unused=True)[0] if said.requires_grad else None
    if gradient is None or not bool(gradient.any()):
        raise NoGradient("hands numbers on without their gradient")
    length = float(gradient.norm())
    uphill = gradient.sign()
    random = torch.randint(0, 2, x.shape, generator=generator).to(x) * 2 - 1
    for direction in (uphill, random):
        told = float((gradient * direction).sum())
        scale = AGREES * max(abs(told), length)
        with torch.no_grad():
            found = [float(score(x + h * direction) - score(x - h * direction)) / (2 * h) for h in STEPS]
        if not any(abs(one - told) <= scale for one in found):
            raise NoGradient(f"has a gradient that is not its own: {told:.3g} where differences find {found[-1]:.3g}")
