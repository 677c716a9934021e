"""A zoo of broken encoders: each looks robust, or makes its number meaningless, in a known way, so that a check must
fail or warn (check C19).

Every specimen is a small wrapper around any Encoder. The defences that inspired them were broken in Athalye, Carlini
and Wagner 2018 (arXiv 1802.00420), Tramer et al. 2020 (arXiv 2002.08347) and Croce et al. 2022 (arXiv 2202.13711); the
wrappers are ours.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import batch_norm, dropout, normalize

from ironbind.numerics.networks import device_of, modules_of
from ironbind.numerics.norms import into_bounds
from ironbind.types import Embed, Encoder, InputSpec, Space

BrokenEmbed = Callable[
    [Embed, Float[Tensor, "b ..."], Space], Float[Tensor, "b d"]
]  # (the sound embed, input, its space) -> the broken encoder's embeddings
REFUSED = "refused"  # in place of a check's code: the audit is refused with a reason


class Broken:
    """An Encoder that embeds through `broken_embed`; all else is `encoder`'s own. `on_text` is applied to text
    embeddings. `parts`: modules of its own.
    """

    def __init__(
        self,
        encoder: Encoder,
        name: str,
        broken_embed: BrokenEmbed,
        on_text: Callable[[Tensor], Tensor] | None = None,
        parts: Sequence[nn.Module] = (),
    ):
        self._encoder, self._broken_embed, self._on_text = encoder, broken_embed, on_text or (lambda z: z)
        self.name = f"{encoder.name}/{name}"
        self.weights_sha256 = hashlib.sha256(f"{encoder.weights_sha256} {name}".encode()).hexdigest()
        self.model = nn.ModuleList(
            [*modules_of(encoder), *parts]
        )  # what freezes an encoder, or hashes it, looks for its modules

    @property
    def dim(self) -> int:
        return self._encoder.dim

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        return self._encoder.inputs

    @property
    def device(self) -> torch.device:
        return device_of(self._encoder)

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        spec = self.inputs[modality]
        return self._broken_embed(
            partial(self._encoder.embed, modality, space=space), x, spec.spaces[space or spec.space.name]
        )

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        return self._on_text(self._encoder.embed_text(texts))


class Specimen(NamedTuple):
    """`make(encoder, clean)` breaks an encoder; `clean`: the clean samples of the audit in the attacked space, which a
    detector may know. At least one check of `rings` (codes, or REFUSED) must warn or fail, because of `why`."""

    make: Callable[[Encoder, Float[Tensor, "b ..."]], Encoder]
    rings: tuple[str, ...]
    why: str


def _width(space: Space) -> float:
    return 1.0 if space.low is None or space.high is None else space.high - space.low


# ------------------------------------------------------------------------------------------ no gradient, or a wrong one


def detached(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """No graph leads back to the input."""
    return embed(x.detach())


def zero_gradient(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """A graph along which the gradient is zero."""
    z = embed(x)
    return z.detach() + 0 * z


def _rounded(x: Tensor, space: Space, levels: int = 32) -> Tensor:
    step = _width(space) / levels
    return (x / step).round() * step


def rounded_inputs(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """Inputs on 32 levels: the gradient of rounding is zero."""
    return embed(_rounded(x, space))


def rounded_inputs_passed_through(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """The same with a straight-through gradient, which ignores the rounding."""
    return embed(x + (_rounded(x, space) - x).detach())


def _cosines() -> Float[Tensor, "8 8"]:
    """The orthonormal DCT-II matrix."""
    k, n = torch.arange(8)[:, None], torch.arange(8)[None, :]
    rows = torch.cos(torch.pi * (2 * n + 1) * k / 16) / 2
    return torch.cat([rows[:1] / 2**0.5, rows[1:]])


def _blockwise(x: Tensor, axis: int, matrix: Float[Tensor, "8 8"]) -> Tensor:
    """`matrix` applied to every eight values along an axis."""
    return (x.movedim(axis, -1).unflatten(-1, (-1, 8)) @ matrix.T).flatten(-2).movedim(-1, axis)


def compressed(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """JPEG's lossy step: cosine coefficients of 8 x 8 blocks (of 8 values in a row, where a sample is no picture),
    rounded, the coarser the finer the pattern."""
    picture = x.dim() > 3 and min(x.shape[-2:]) >= 8
    values, axes, cosines = (x, (-1, -2), _cosines().to(x)) if picture else (x.flatten(1), (-1,), _cosines().to(x))
    sizes, step = [values.shape[axis] for axis in axes], x.new_tensor(1.0)
    for axis, size in zip(axes, sizes, strict=True):
        whole = torch.arange(size + -size % 8, device=x.device)
        values = _blockwise(values.index_select(axis, whole.clamp_max(size - 1)), axis, cosines)
        step = step + (whole % 8).reshape(-1, *[1] * (-1 - axis))
    step = 0.02 * _width(space) * step
    values = (values / step).round() * step
    for axis, size in zip(axes, sizes, strict=True):
        values = _blockwise(values, axis, cosines.T).narrow(axis, 0, size)
    return embed(into_bounds(values.reshape(x.shape), space))


class _Shattered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * (torch.randint(0, 2, gradient.shape, device=gradient.device) * 2 - 1)


def shattered(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """Every coordinate's gradient with a sign drawn afresh."""
    return embed(_Shattered.apply(x))


def reversed_gradient(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """The gradient leads away from success."""
    z = embed(x)
    return 2 * z.detach() - z


def two_faced(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """Inputs that need a gradient are embedded by another function."""
    z = embed(x)
    return z.roll(1, dims=1) if torch.is_grad_enabled() and x.requires_grad else z


def purified(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """A dynamic defence: moves its input by a gradient of its own before it embeds it."""
    with torch.enable_grad():
        at = x.detach().clone().requires_grad_(True)
        (uphill,) = torch.autograd.grad(embed(at).pow(4).sum(), at)
    return embed(x + 0.005 * _width(space) * uphill.sign())


# -------------------------------------------------------------------------------------------- flat or shapeless outputs


def probabilities(z: Tensor) -> Tensor:
    """What a softmax makes of an embedding."""
    return (10 * z).softmax(dim=-1)


def thousandfold(z: Tensor) -> Tensor:
    """The logit scale inside the embedding: cosines become numbers up to a thousand."""
    return 1000 * z


def saturated(z: Tensor) -> Tensor:
    """A squashing function at a large scale: binary codes, flat almost everywhere."""
    return normalize((1e5 * z).tanh(), dim=-1)


# -------------------------------------------------------------------------------------------- another answer every time


def noisy_input(embed: Embed, x: Tensor, space: Space) -> Tensor:
    return embed(x + 0.02 * _width(space) * torch.randn_like(x))


def noisy_embedding(embed: Embed, x: Tensor, space: Space) -> Tensor:
    z = embed(x)
    return normalize(z + 0.3 * z.shape[1] ** -0.5 * torch.randn_like(z), dim=-1)


def dropout_left_on(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """Training mode."""
    return normalize(dropout(embed(x), 0.2, training=True), dim=-1)


def drifting(encoder: Encoder) -> Broken:
    """Batch norm in training mode: its statistics move with every pass."""
    statistics = nn.BatchNorm1d(encoder.dim, affine=False)

    def broken_embed(embed: Embed, x: Tensor, space: Space) -> Tensor:
        z = embed(x)
        mean, spread = statistics.running_mean, statistics.running_var
        assert mean is not None
        assert spread is not None
        with torch.no_grad():
            batch_norm(z, mean, spread, training=True, momentum=0.01)
        return normalize(batch_norm(z, mean, spread), dim=-1)

    return Broken(encoder, "drifting", broken_embed, parts=[statistics])


def of_the_batch(embed: Embed, x: Tensor, space: Space) -> Tensor:
    """Centres embeddings on the mean of the batch."""
    z = embed(x)
    return normalize(z - 0.5 * z.mean(dim=0, keepdim=True), dim=-1)


# ------------------------------------------------------------------------------------------------------------ detectors


def _known(x: Tensor, clean: Tensor, space: Space) -> Bool[Tensor, " b"]:
    nearest = torch.cdist(x.detach().flatten(1), clean.to(x).flatten(1), p=float("inf")).amin(dim=1)
    return nearest <= 1e-4 * _width(space)


def detector(encoder: Encoder, clean: Float[Tensor, "b ..."]) -> Broken:
    """Recognises the clean samples, and gives every other input the same embedding."""

    def broken_embed(embed: Embed, x: Tensor, space: Space) -> Tensor:
        z = embed(x)
        constant = normalize(torch.ones_like(z), dim=-1)
        return torch.where(_known(x, clean, space)[:, None], z, constant)

    return Broken(encoder, "detector", broken_embed)


def not_a_number(encoder: Encoder, clean: Float[Tensor, "b ..."]) -> Broken:
    """Embeds every other input than the clean samples as nan."""

    def broken_embed(embed: Embed, x: Tensor, space: Space) -> Tensor:
        return torch.where(_known(x, clean, space)[:, None], embed(x), torch.nan)

    return Broken(encoder, "not_a_number", broken_embed)


# ------------------------------------------------------------------------------------------------------------ the table


def _with_embed(name: str, broken_embed: BrokenEmbed) -> Callable[[Encoder, Tensor], Encoder]:
    return lambda encoder, clean: Broken(encoder, name, broken_embed)


def _with_output(name: str, function: Callable[[Tensor], Tensor]) -> Callable[[Encoder, Tensor], Encoder]:
    return lambda encoder, clean: Broken(encoder, name, lambda embed, x, space: function(embed(x)), on_text=function)


ZOO: dict[str, Specimen] = {
    "detached": Specimen(_with_embed("detached", detached), (REFUSED,), "no gradient attack can run"),
    "zero_gradient": Specimen(
        _with_embed("zero_gradient", zero_gradient),
        ("C6",),
        "the gradient is zero while the encoder is as fragile as ever",
    ),
    "rounded_inputs": Specimen(
        _with_embed("rounded_inputs", rounded_inputs), ("C6", "C7"), "rounding has no gradient, and answers by steps"
    ),
    "rounded_inputs_passed_through": Specimen(
        _with_embed("rounded_inputs_passed_through", rounded_inputs_passed_through),
        ("C7", "C8"),
        "small changes do nothing, whatever the gradient says",
    ),
    "compressed": Specimen(
        _with_embed("compressed", compressed), ("C6", "C7"), "the rounded coefficients of a JPEG have no gradient"
    ),
    "shattered": Specimen(_with_embed("shattered", shattered), ("C8",), "the gradient's signs are random"),
    "reversed_gradient": Specimen(
        _with_embed("reversed_gradient", reversed_gradient),
        ("C8", "C16"),
        "following the gradient makes an attack worse",
    ),
    "two_faced": Specimen(
        _with_embed("two_faced", two_faced), ("C4",), "the function that is attacked is not the one that is used"
    ),
    "purified": Specimen(
        _with_embed("purified", purified),
        ("C7",),
        "a gradient step during inference, which the attack's gradient does not see",
    ),
    "probabilities": Specimen(
        _with_output("probabilities", probabilities), ("C5",), "a softmax flattens what comes before it"
    ),
    "thousandfold": Specimen(
        _with_output("thousandfold", thousandfold), ("C5", "C6b"), "cross-entropies underflow, rows are no unit vectors"
    ),
    "saturated": Specimen(
        _with_output("saturated", saturated), ("C6", "C8", "C17b"), "gradients of a squashing function vanish"
    ),
    "noisy_input": Specimen(_with_embed("noisy_input", noisy_input), ("C4",), "every pass sees another input"),
    "noisy_embedding": Specimen(
        _with_embed("noisy_embedding", noisy_embedding), ("C4",), "every pass gives another answer"
    ),
    "dropout_left_on": Specimen(_with_embed("dropout_left_on", dropout_left_on), ("C4",), "dropout still drops"),
    "drifting": Specimen(lambda encoder, clean: drifting(encoder), ("C1",), "statistics move with every pass"),
    "of_the_batch": Specimen(
        _with_embed("of_the_batch", of_the_batch), ("C11",), "a verdict depends on who shares the batch"
    ),
    "detector": Specimen(detector, ("C6", "C7"), "a constant answer has no gradient, and comes all at once"),
    "not_a_number": Specimen(not_a_number, ("C6", "C21"), "losses and gradients are not numbers"),
}
