"""An encoder's bfloat16 copy: what attacks may climb on where float32 has the last word (`attacks/mixed_precision.py`).
Ours.

Axis letters: b = batch, d = embedding width, h = heads, l = tokens, k = keys, e = width of a head.
"""

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ironbind.encoders.from_callable import CallableEncoder
from ironbind.encoders.shared.trunk import Attention, Trunk
from ironbind.numerics.networks import device_of, modules_of, networks_in
from ironbind.types import CalibratedEncoder, Encoder, InputError, InputSpec

# up to here two plain products beat the fused attention kernel on a CPU (docs/precision.md); beyond, their memory grows
# too large
MOST_KEYS = 512


@dataclass(frozen=True, eq=False)
class Bfloat16Encoder:
    """An Encoder whose trunks compute in bfloat16. `original` lends its name and hash, so that no stored verdict can be
    taken for one of float32.
    """

    encoder: Encoder
    name: str
    weights_sha256: str
    model: nn.ModuleList = field(repr=False)

    @property
    def dim(self) -> int:
        return self.encoder.dim

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        return self.encoder.inputs

    @property
    def device(self) -> torch.device:
        return device_of(self.encoder)

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        """Unit rows in float32, about as far from the original's as bfloat16 rounds; differentiable in `x`."""
        return self.encoder.embed(modality, x, space=space)

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Unit rows. Class centers belong to the original: goals are asked there."""
        return self.encoder.embed_text(texts)


def in_bfloat16(encoder: Encoder) -> Bfloat16Encoder:
    """A frozen copy of `encoder` that shares nothing mutable with it and runs every shared trunk
    (`encoders/shared/trunk.py`) in bfloat16.

    Tokens are cast where they enter a trunk and back where they leave it; stems, fronts, norms around trunks, heads and
    the loss stay in float32. The copy takes half the memory of the trunks. Raises InputError for an encoder without
    such a trunk, with one that is not in float32, or with a function that keeps its network where it cannot be copied
    (a global variable).
    """
    trunks = [part for module in modules_of(encoder) for part in module.modules() if isinstance(part, Trunk)]
    if not trunks:
        raise InputError(
            f"encoder {encoder.name!r} holds no trunk that could run in bfloat16; expected one of the ports or the"
            " built-in encoder"
        )
    for trunk in trunks:
        if trunk.precision != torch.float32:
            raise InputError(
                f"encoder {encoder.name!r} holds a trunk in {trunk.precision}; expected float32, which gives the"
                " verdicts"
            )
    # handing deepcopy the finished weights means that no second float32 trunk is ever made
    memo: dict[int, Any] = {id(weight): _halved(weight) for trunk in trunks for weight in trunk.parameters()}
    _refuse_hidden_trunks(encoder)
    copied = copy.deepcopy(encoder, memo)
    model = nn.ModuleList(modules_of(copied)).requires_grad_(False).eval()
    for part in list(model.modules()):
        if isinstance(part, Trunk):
            part.register_forward_pre_hook(_enter)
            part.register_forward_hook(_leave)
        for name, child in list(part.named_children()):
            if isinstance(child, Attention) and not isinstance(part, _ProductAttention):
                setattr(part, name, _ProductAttention(child))
    digest = hashlib.sha256(f"{encoder.weights_sha256} bfloat16".encode()).hexdigest()
    return Bfloat16Encoder(copied, f"{encoder.name}-bf16", digest, model)


def _halved(parameter: nn.Parameter) -> nn.Parameter:
    return nn.Parameter(parameter.detach().to(torch.bfloat16, copy=True), requires_grad=False)


def _refuse_hidden_trunks(encoder: Encoder) -> None:
    """Raises InputError for a function whose trunk the copy would not reach: it would go on running in float32 while
    claiming otherwise.
    """
    if isinstance(encoder, CalibratedEncoder):
        _refuse_hidden_trunks(encoder.backbone)
    for (modality, _), function in encoder.functions.items() if isinstance(encoder, CallableEncoder) else ():
        if not any(isinstance(part, Trunk) for network in networks_in(function) for part in network.modules()):
            raise InputError(
                f"encoder {encoder.name!r}: its function for {modality} holds no trunk that can be copied; expected"
                " one in its closure"
            )


def _enter(trunk: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return inputs[0].to(torch.bfloat16), *inputs[1:]


def _leave(trunk: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
    return output.float()


# ------------------------------------------------------------------------------------------------------- attention


class _ProductAttention(nn.Module):
    """An Attention whose queries meet their keys in two plain matrix products: on a CPU the fused kernel's bfloat16 is
    slower than its float32.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Float[Tensor, "b l d"], mask: Tensor | None = None) -> Float[Tensor, "b l d"]:
        if x.device.type != "cpu" or x.shape[1] > MOST_KEYS:
            return self.attention(x, mask)
        with _Products():
            return self.attention(x, mask)


class _Products(TorchFunctionMode):
    """Within the block, `scaled_dot_product_attention` is `products`."""

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return (products if func is F.scaled_dot_product_attention else func)(*args, **(kwargs or {}))


def products(
    query: Float[Tensor, "b h l e"],
    key: Float[Tensor, "b h k e"],
    value: Float[Tensor, "b h k e"],
    attn_mask: Tensor | None = None,
) -> Float[Tensor, "b h l e"]:
    """softmax(query key^T / sqrt(e) + mask) value."""
    logits = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
    return torch.softmax(logits if attn_mask is None else logits + attn_mask, dim=-1) @ value
