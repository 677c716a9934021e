"""The one transformer that all encoders share: pre-norm blocks over a sequence of tokens. Stems, norms around it and
heads are the ports'.

Axis letters: b = batch, l = tokens, d = width, h = heads, k = keys (= l, or l + 1 with `bias_kv`).

Names are a contract, because ports translate official state dicts to them and low-rank adapters attach to them:
`blocks.N.{norm_1, attn.{qkv | query,key,value}, attn.out, norm_2, mlp.fc1, mlp.fc2}`, all plain Linear and LayerNorm
modules; `attn.bias_k`, `attn.bias_v` with `bias_kv`; `blocks.N.temporal.*` where a port gives a `temporal` module.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


def quick_gelu(x: Float[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """OpenAI CLIP's approximation x * sigmoid(1.702 x); 1e-3 away from the exact GELU, so never exchange the two."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"gelu": F.gelu, "quick_gelu": quick_gelu}


class Attention(nn.Module):
    """Multi-head attention of a sequence to itself, scale 1/sqrt(d / heads).

    `fused`: one Linear `qkv` (rows: query, key, value) or three (`query`, `key`, `value`), as the official file has
    them. `bias_kv`: one learned key and value appended at the end of the keys, seen by every query and never masked
    (torch's `add_bias_kv`).
    """

    def __init__(
        self, width: int, heads: int, *, fused: bool = True, qkv_bias: bool = True, bias_kv: bool = False
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width {width} does not divide into {heads} heads")
        self.heads = heads
        self.fused = fused
        if fused:
            self.qkv = nn.Linear(width, 3 * width, bias=qkv_bias)
        else:
            self.query = nn.Linear(width, width, bias=qkv_bias)
            self.key = nn.Linear(width, width, bias=qkv_bias)
            self.value = nn.Linear(width, width, bias=qkv_bias)
        self.bias_k = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, 1, width))) if bias_kv else None
        self.bias_v = nn.Parameter(nn.init.xavier_normal_(torch.empty(1, 1, width))) if bias_kv else None
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "b l d"], mask: Float[Tensor, "*#b #h #l l"] | None = None
    ) -> Float[Tensor, "b l d"]:
        """`mask` is added to the logits; it must broadcast to `b heads l l` (a `l l` mask serves all samples and
        heads).
        """
        query, key, value = self.qkv(x).chunk(3, dim=-1) if self.fused else (self.query(x), self.key(x), self.value(x))
        if self.bias_k is not None and self.bias_v is not None:
            key = torch.cat([key, self.bias_k.expand(x.shape[0], 1, -1)], dim=1)  # b l+1 d
            value = torch.cat([value, self.bias_v.expand(x.shape[0], 1, -1)], dim=1)
            mask = None if mask is None else F.pad(mask, (0, 1))
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (query, key, value)
        )  # b h k d/h
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=None if mask is None else mask.to(query.dtype)
        )
        return self.out(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Linear, activation, Linear."""

    def __init__(self, width: int, hidden: int, activation: str = "gelu") -> None:
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "*axes d"]) -> Float[Tensor, "*axes d"]:
        return self.fc2(self.activation(self.fc1(x)))


class Block(nn.Module):
    """x + attn(norm_1(x)), then x + mlp(norm_2(x)); `temporal`, where given, maps the residual stream before both."""

    def __init__(
        self,
        width: int,
        heads: int,
        mlp_width: int,
        *,
        eps: float,
        activation: str,
        temporal: nn.Module | None,
        **attention: bool,
    ) -> None:
        super().__init__()
        self.temporal = temporal
        self.norm_1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads, **attention)
        self.norm_2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, mlp_width, activation)

    def forward(
        self, x: Float[Tensor, "b l d"], mask: Float[Tensor, "*#b #h #l l"] | None = None
    ) -> Float[Tensor, "b l d"]:
        if self.temporal is not None:
            x = self.temporal(x)
        x = x + self.attn(self.norm_1(x), mask)
        return x + self.mlp(self.norm_2(x))


class Trunk(nn.Module):
    """`depth` pre-norm blocks, no dropout (backbones are frozen here).

    `eps`: of every LayerNorm (ImageBind 1e-6, CLIP towers 1e-5: the difference shows in the embeddings). `temporal()`
    makes one module per block, called on the residual stream `b l d` before attention; it adds its own residual
    (LanguageBind's temporal attention, b = clips x frames). `fused`, `qkv_bias`, `bias_kv`: see Attention. Set
    `checkpointing` to recompute activations in the backward pass: memory of one block instead of `depth`, for a third
    more time; results are the same.
    """

    def __init__(
        self,
        width: int,
        depth: int,
        heads: int,
        *,
        mlp_width: int | None = None,
        eps: float = 1e-6,
        activation: str = "gelu",
        fused: bool = True,
        qkv_bias: bool = True,
        bias_kv: bool = False,
        temporal: Callable[[], nn.Module] | None = None,
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.checkpointing = checkpointing
        self.blocks = nn.ModuleList(
            Block(
                width,
                heads,
                mlp_width or 4 * width,
                eps=eps,
                activation=activation,
                temporal=temporal() if temporal else None,
                fused=fused, qkv_bias=qkv_bias, bias_kv=bias_kv,
            )
            for _ in range(depth)
        )  # fmt: skip

    @property
    def precision(self) -> torch.dtype:
        """The type that tokens must have: a trunk may be held in bfloat16 while stem and head stay in float32."""
        return next(self.parameters()).dtype

    def forward(
        self, tokens: Float[Tensor, "b l d"], mask: Float[Tensor, "*#b #h #l l"] | None = None
    ) -> Float[Tensor, "b l d"]:
        """The tokens after the last block (no final norm). `mask` is added to every block's attention logits."""
        x = tokens
        for block in self.blocks:
            x = (
                checkpoint(block, x, mask, use_reentrant=False)
                if self.checkpointing and x.requires_grad
                else block(x, mask)
            )
        return x


def causal_mask(length: int) -> Float[Tensor, "{length} {length}"]:
    """0 on and below the diagonal, -inf above: each token sees itself and what came before."""
    return torch.full((length, length), float("-inf")).triu(1)
