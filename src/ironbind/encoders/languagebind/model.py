"""LanguageBind's networks and the names of their official files: one CLIP-like vision tower per modality, one text
tower, a shared space.

Paper: Zhu et al., "LanguageBind: Extending Video-Language Pretraining to N-modality by Language-based Semantic
Alignment", ICLR 2024, arXiv 2310.01852. Official code and weights: MIT (PKU-YuanGroup/LanguageBind). Written from a
specification of the published files.

Axis letters: b = batch, t = frames, l = tokens, d = width, e = embedding. `b*t` is the folded axis of all frames, frame
index fastest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ironbind.encoders.shared.trunk import Attention, Trunk, causal_mask

EPS = 1e-5  # of every LayerNorm
ALPHA = 16.0  # of the low-rank updates, where no config.json beside the file says otherwise
LOGIT_SCALE = 2.6592  # as constructed: log(1 / 0.07)


@dataclass(frozen=True)
class Architecture:
    """Sizes of one official model; the defaults are ViT-L/14's. `size` is (rows, columns) of the input in pixels or mel
    bins x frames.
    """

    size: tuple[int, int] = (224, 224)
    patch: int = 14
    width: int = 1024
    depth: int = 24
    heads: int = 16
    dim: int = 768
    frames: int = 1  # > 1: every block attends over time first
    v1_5: bool = False  # one class token per frame, and a patch kernel stored with an axis of length one for time
    text_width: int = 768
    text_depth: int = 12
    text_heads: int = 12
    context: int = 77
    vocabulary: int = 49408
    lora: str | None = (
        None  # which attention the official file stores unmerged low-rank updates for: "attn", "temporal.attn"
    )
    lora_rank: int = 0  # only for weights="random"; a file's own matrices say their rank

    @property
    def patches(self) -> int:
        return (self.size[0] // self.patch) * (self.size[1] // self.patch)


LARGE, VIDEO = Architecture(), Architecture(frames=8)
HUGE = Architecture(width=1280, depth=32, dim=1024, frames=8, v1_5=True, text_width=1024, text_depth=24, text_heads=16)


class TemporalAttention(nn.Module):
    """x + embedding, then x + attn(norm(x)) along time: each of the l tokens, the class token too, sees itself in the
    other frames only.
    """

    def __init__(self, width: int, heads: int, frames: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(1, frames, width))
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.attn = Attention(width, heads, fused=False)

    def forward(self, x: Float[Tensor, "b*t l d"]) -> Float[Tensor, "b*t l d"]:
        folded, tokens, width = x.shape
        frames = self.embedding.shape[1]
        by_time = x.view(-1, frames, tokens, width).transpose(1, 2).reshape(-1, frames, width)  # b*l t d
        by_time = by_time + self.embedding
        by_time = by_time + self.attn(self.norm(by_time))
        return by_time.view(-1, tokens, frames, width).transpose(1, 2).reshape(folded, tokens, width)


class VisionTower(nn.Module):
    """Pictures, clips or spectrograms -> the visual projection's raw output."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.patch = nn.Conv2d(3, arch.width, arch.patch, stride=arch.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(arch.frames if arch.v1_5 else 1, arch.width))
        self.position = nn.Embedding(1 + arch.patches, arch.width)
        self.norm_pre = nn.LayerNorm(arch.width, eps=EPS)
        temporal = (lambda: TemporalAttention(arch.width, arch.heads, arch.frames)) if arch.frames > 1 else None
        self.trunk = Trunk(arch.width, arch.depth, arch.heads, eps=EPS, fused=False, temporal=temporal)
        self.norm_post = nn.LayerNorm(arch.width, eps=EPS)
        self.projection = nn.Linear(arch.width, arch.dim, bias=False)
        self.register_buffer("logit_scale", torch.tensor(LOGIT_SCALE))

    def forward(self, x: Float[Tensor, "b 3 *t h w"]) -> Float[Tensor, "b e"]:
        """`b 3 h w`, or `b 3 t h w` with t = `arch.frames`."""
        batch, frames = x.shape[0], self.arch.frames
        if x.ndim == 5:
            x = x.transpose(1, 2).flatten(0, 1)  # b*t 3 h w
        if x.shape != (batch * frames, 3, *self.arch.size):
            raise ValueError(
                f"expected {batch} x {frames} frames of 3 x {self.arch.size}, got {tuple(x.shape)} after folding"
            )
        patches = self.patch(x).flatten(2).transpose(1, 2)  # b*t l-1 d
        first = self.class_embedding.repeat(x.shape[0] // len(self.class_embedding), 1).unsqueeze(1)  # b*t 1 d
        tokens = torch.cat([first, patches], dim=1) + self.position.weight
        tokens = self.trunk(self.norm_pre(tokens))
        pooled = (
            self.norm_post(tokens[:, 0]).view(batch, frames, -1).mean(1)
        )  # first the norm, then the mean over frames
        return self.projection(pooled)


class TextTower(nn.Module):
    """Token ids -> the text projection's raw output at the first end-of-text token (the largest id). Padding is unseen:
    attention is causal.
    """

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.token = nn.Embedding(arch.vocabulary, arch.text_width)
        self.position = nn.Embedding(arch.context, arch.text_width)
        self.trunk = Trunk(arch.text_width, arch.text_depth, arch.text_heads, eps=EPS, fused=False)
        self.norm_post = nn.LayerNorm(arch.text_width, eps=EPS)
        self.projection = nn.Linear(arch.text_width, arch.dim, bias=False)

    def forward(self, ids: Int[Tensor, "n l"]) -> Float[Tensor, "n e"]:
        mask = causal_mask(ids.shape[1]).to(self.position.weight)
        tokens = self.norm_post(self.trunk(self.token(ids) + self.position.weight[: ids.shape[1]], mask))
        return self.projection(tokens[torch.arange(len(ids), device=ids.device), ids.argmax(-1)])


class LanguageBind(nn.Module):
    """Towers by modality; "text" among them or not. `forward(modality, x)`: the official input tensor -> the
    projection's raw output.
    """

    def __init__(self, towers: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.towers = nn.ModuleDict(towers)

    def forward(self, modality: str, x: Tensor) -> Float[Tensor, "b e"]:
        return self.towers[modality](x)


# ------------------------------------------------------------------------------------------------- official names

_OUTSIDE = {
    "patch.": "embeddings.patch_embedding.",
    "class_embedding": "embeddings.class_embedding",
    "position.": "embeddings.position_embedding.",
    "token.": "embeddings.token_embedding.",
    "norm_pre.": "pre_layrnorm.",
    "trunk.blocks.": "encoder.layers.",
}
_INSIDE = {
    "temporal.embedding": "temporal_embedding",
    "temporal.norm.": "temporal_layer_norm1.",
    "temporal.attn.": "temporal_attn.",
    "attn.": "self_attn.",
    "norm_1.": "layer_norm1.",
    "norm_2.": "layer_norm2.",
}
_LINEAR = {"query.": "q_proj.", "key.": "k_proj.", "value.": "v_proj.", "out.": "out_proj."}


def _swap(name: str, table: Mapping[str, str]) -> str:
    for ours, theirs in table.items():
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    return name


def official_name(tower: str, name: str) -> str:
    """Our name inside a tower ("vision" or "text") -> the official file's, low-rank updates merged."""
    if name == "logit_scale":
        return name
    if name.startswith("projection."):
        return name.replace("projection", "visual_projection" if tower == "vision" else "text_projection")
    name = _swap(name, {**_OUTSIDE, "norm_post.": "post_layernorm." if tower == "vision" else "final_layer_norm."})
    if name.startswith("encoder.layers."):
        head, _, rest = name.removeprefix("encoder.layers.").partition(".")
        rest = _swap(rest, _INSIDE)
        stem, _, leaf = rest.partition("attn.")
        name = f"encoder.layers.{head}." + (f"{stem}attn.{_swap(leaf, _LINEAR)}" if leaf else rest)
    return f"{tower}_model.{name}"


def official_shape(arch: Architecture, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape under which the official file stores our entry `name` of a vision tower."""
    if name == "class_embedding" and not arch.v1_5:
        return shape[1:]
    if name == "patch.weight" and arch.v1_5:
        return (*shape[:2], 1, *shape[2:])
    return shape


def official_state(arch: Architecture, module: nn.Module) -> dict[str, Tensor]:
    """The entries of a vision tower under their official names and in their official shapes: `own_state` backwards."""
    return {
        official_name("vision", name): value.reshape(official_shape(arch, name, tuple(value.shape)))
        for name, value in module.state_dict().items()
    }


def vision_config(arch: Architecture) -> dict[str, Any]:
    """What the official config.json says of a vision tower, for a file that came without one."""
    audio = {"num_mel_bins": arch.size[0], "target_length": arch.size[1]} if arch.size[0] != arch.size[1] else {}
    return {
        "hidden_size": arch.width,
        "intermediate_size": 4 * arch.width,
        "num_hidden_layers": arch.depth,
        "num_attention_heads": arch.heads,
        "patch_size": arch.patch,
        "image_size": arch.size[0] if not audio else 224,
        "hidden_act": "gelu",
        "layer_norm_eps": EPS,
        "add_time_attn": arch.frames > 1,
        "num_frames": arch.frames,
        "force_patch_dropout": 0.0,
        "lora_r": 0,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        **audio,
    }


def text_config(arch: Architecture) -> dict[str, Any]:
    """What the official config.json says of the text tower."""
    return {
        "hidden_size": arch.text_width,
        "intermediate_size": 4 * arch.text_width,
        "num_hidden_layers": arch.text_depth,
        "num_attention_heads": arch.text_heads,
        "max_position_embeddings": arch.context,
        "vocab_size": arch.vocabulary,
        "hidden_act": "gelu",
        "layer_norm_eps": EPS,
    }


def official_entries(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """name -> shape of everything the official file of `arch` holds, as its authors' library saved it, position_ids
    aside.
    """
    with torch.device("meta"):
        towers: dict[str, nn.Module] = {"vision": VisionTower(arch), "text": TextTower(arch)}
    entries = {
        official_name(tower, name): official_shape(arch, name, tuple(value.shape))
        if tower == "vision"
        else tuple(value.shape)
        for tower, module in towers.items()
        for name, value in module.state_dict().items()
    }
    return _with_lora(entries, arch) if arch.lora else entries


def _with_lora(entries: Mapping[str, tuple[int, ...]], arch: Architecture) -> dict[str, tuple[int, ...]]:
    target = ".temporal_attn." if arch.lora == "temporal.attn" else ".self_attn."
    out: dict[str, tuple[int, ...]] = {}
    for name, shape in entries.items():
        name = name.replace("vision_model.encoder.layers.", "vision_model.encoder.base_model.model.layers.")
        out[name] = shape
        if name.startswith("vision_model.") and target in name and name.endswith(".weight"):
            stem = name.removesuffix(".weight")
            out[f"{stem}.lora_A.default.weight"] = (arch.lora_rank, shape[1])
            out[f"{stem}.lora_B.default.weight"] = (shape[0], arch.lora_rank)
    return out


def merge_lora(state: Mapping[str, Tensor], alpha: float = ALPHA) -> dict[str, Tensor]:
    """An official state dict with its low-rank updates folded in: W + (alpha / r) B A, under the names of the plain
    models.

    Understands both spellings of peft (`X.weight` up to 0.6, `X.base_layer.weight` since 0.7, which the official code
    then fails to load and leaves at random values with no more than a warning), an optional `module.` prefix from
    distributed training, and drops the integer `position_ids` of old library versions. Anything else is kept, so that a
    strict comparison of names sees it.
    """
    plain: dict[str, Tensor] = {}
    for name, value in state.items():
        name = (
            name.removeprefix("module.")
            .replace("encoder.base_model.model.layers.", "encoder.layers.")
            .replace(".base_layer.", ".")
        )
        if not name.endswith("position_ids"):
            plain[name] = value
    for name in [name for name in plain if name.endswith(".lora_A.default.weight")]:
        stem = name.removesuffix(".lora_A.default.weight")
        if f"{stem}.weight" in plain and f"{stem}.lora_B.default.weight" in plain:
            a, b = plain.pop(name), plain.pop(f"{stem}.lora_B.default.weight")
            plain[f"{stem}.weight"] = plain[f"{stem}.weight"] + (alpha / len(a)) * (b @ a)
    return plain


def own_state(tower: str, module: nn.Module, official: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The entries of one tower ("vision" or "text") out of a merged official state dict, under our names and in our
    shapes.
    """
    out = {}
    for name, value in module.state_dict().items():
        given = official[official_name(tower, name)]
        reshaped = (
            given.reshape(value.shape) if tower == "vision" and name in ("class_embedding", "patch.weight") else given
        )
        out[name] = reshaped.to(value.dtype)
    return out
