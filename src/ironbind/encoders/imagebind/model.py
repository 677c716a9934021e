"""ImageBind's network: one tower per sense around the shared trunk. Written from a specification of its maths, not from
its source.

Paper: Girdhar et al., ImageBind, CVPR 2023, arXiv:2305.05665. The official weights are CC BY-NC-SA 4.0 (non-commercial)
and not shipped. Axis letters: b = batch, s = clips per sample, l = tokens, d = width of a tower, e = width of the
embedding (1024).
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor, nn

from ironbind.encoders.shared.trunk import Trunk, causal_mask

WIDTH = 1024  # of the shared embedding
CONTEXT, VOCABULARY = 77, 49408
TOWER_OF = {
    "image": "vision",
    "video": "vision",
    "audio": "audio",
    "depth": "depth",
    "thermal": "thermal",
    "imu": "imu",
    "text": "text",
}


@dataclass(frozen=True)
class TowerSize:
    """Width, depth and heads of one tower; `scale` multiplies its unit embeddings (None: stays a unit vector)."""

    width: int
    depth: int
    heads: int
    scale: float | None = None


HUGE = {
    "vision": TowerSize(1280, 32, 16),
    "text": TowerSize(1024, 24, 16, 1 / 0.07),
    "audio": TowerSize(768, 12, 12, 20.0),
    "depth": TowerSize(384, 12, 8, 5.0),
    "thermal": TowerSize(768, 12, 12, 10.0),
    "imu": TowerSize(512, 6, 8, 5.0),
}


class VisionStem(nn.Module):
    """Tubes of 2 x 14 x 14 pixels without overlap; an image is a video of two equal frames."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv3d(3, width, kernel_size=(2, 14, 14), stride=(2, 14, 14), bias=False)

    def forward(self, x: Float[Tensor, "b 3 ..."]) -> Float[Tensor, "b l d"]:
        if x.ndim == 4:
            x = x[:, :, None]
        if x.shape[2] == 1:
            x = x.expand(-1, -1, 2, -1, -1)
        return self.proj(x).flatten(2).transpose(1, 2)


class PatchStem(nn.Module):
    """Patches of 16 x 16 of one channel, `stride` apart, then LayerNorm (eps 1e-5 here, 1e-6 everywhere else)."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, width, kernel_size=16, stride=stride, bias=False)
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b l d"]:
        return self.norm(self.proj(x).flatten(2).transpose(1, 2))


class ImuStem(nn.Module):
    """Eight time steps of six channels make one token, channel-major."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(48, width, bias=False)
        self.norm = nn.LayerNorm(width, eps=1e-5)

    def forward(self, x: Float[Tensor, "b 6 time"]) -> Float[Tensor, "b time/8 d"]:
        return self.norm(self.proj(x.unflatten(-1, (-1, 8)).transpose(1, 2).flatten(2)))


TOKENS = {"vision": 257, "audio": 229, "depth": 197, "thermal": 197, "imu": 251, "text": CONTEXT}


def _stem(name: str, width: int) -> nn.Module:
    if name == "text":
        return nn.Embedding(VOCABULARY, width)
    if name == "vision":
        return VisionStem(width)
    return ImuStem(width) if name == "imu" else PatchStem(width, stride=10 if name == "audio" else 16)


class Tower(nn.Module):
    """stem -> (class token) + position -> (norm) -> trunk -> norm and projection of one token -> unit length -> scale.

    The trunk may be held in another precision than the rest (`tower.trunk.to(torch.bfloat16)`); stem, head and norm
    stay as they are.
    """

    def __init__(self, name: str, size: TowerSize) -> None:
        super().__init__()
        self.name = name
        text, width = name == "text", size.width
        self.stem = _stem(name, width)
        self.cls_token = None if text else nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, TOKENS[name], width))
        self.norm_pre = nn.LayerNorm(width, eps=1e-6) if name == "vision" else None
        self.trunk = Trunk(width, size.depth, size.heads, eps=1e-6, bias_kv=name not in ("vision", "text"))
        self.norm_post = nn.LayerNorm(width, eps=1e-6)
        self.projection = nn.Linear(width, WIDTH, bias=False)
        # made on the CPU whatever the default device, so that "as constructed" survives construction on the meta device
        scale = None if size.scale is None else torch.tensor(math.log(size.scale), device="cpu")
        self.log_logit_scale: Tensor | None
        if text and scale is not None:
            self.log_logit_scale = nn.Parameter(scale)
        else:
            self.register_buffer("log_logit_scale", scale)
        self.mask: Tensor | None
        with torch.device("cpu"):
            self.register_buffer("mask", causal_mask(CONTEXT) if text else None)

    def tokens(self, x: Tensor) -> Float[Tensor, "b l d"]:
        """The sequence that enters the trunk. A square image of another size gets bicubically resized positions."""
        x = self.stem(x)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        x = x + self._position(x.shape[1])
        return x if self.norm_pre is None else self.norm_pre(x)

    def _position(self, length: int) -> Float[Tensor, "1 {length} d"]:
        if length == self.position.shape[1]:
            return self.position
        cls, grid = self.position[:, :1], self.position[:, 1:]
        side = math.isqrt(grid.shape[1])
        if self.name not in ("vision", "depth", "thermal") or math.isqrt(length - 1) ** 2 != length - 1:
            raise ValueError(
                f"{self.name} takes {self.position.shape[1] - 1} patches, or another square number for images; this"
                f" input has {length - 1}"
            )
        grid = grid.unflatten(1, (side, side)).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, scale_factor=math.sqrt((length - 1) / side**2), mode="bicubic", align_corners=False)
        return torch.cat([cls, grid.flatten(2).transpose(1, 2)], dim=1)

    def head(self, x: Tensor) -> Float[Tensor, "b e"]:
        """The embedding before unit length and scale."""
        tokens = self.tokens(x)
        last = self.trunk(tokens.to(self.trunk.precision), self.mask).to(tokens.dtype)
        # text is read at its end token: the largest id, the first of them
        token = last[torch.arange(len(x), device=x.device), x.argmax(dim=-1)] if self.mask is not None else last[:, 0]
        return self.projection(self.norm_post(token))

    def forward(self, x: Tensor) -> Float[Tensor, "b e"]:
        unit = F.normalize(self.head(x), dim=-1, eps=1e-12)
        return unit if self.log_logit_scale is None else unit * self.log_logit_scale.exp().clamp(max=100)


class ImageBindModel(nn.Module):
    """The towers that `modalities` need; `forward(modality, x)` is the official module's own input -> its own output.

    Inputs: image `b 3 224 224` (normalised), video `b s 3 2 224 224`, audio `b s 1 128 204` (normalised log-mel), depth
    and thermal `b 1 224 224`, imu `b 6 2000`, text ids `b 77`. Outputs carry the official scale: vision 1, audio 20,
    thermal 10, depth and imu 5, text learned (14.3 as constructed). Several clips are averaged *after* scaling and not
    normalised again.
    """

    def __init__(self, modalities: Iterable[str] = tuple(TOWER_OF), sizes: Mapping[str, TowerSize] = HUGE) -> None:
        super().__init__()
        names = dict.fromkeys(TOWER_OF[modality] for modality in modalities)
        self.towers = nn.ModuleDict({name: Tower(name, sizes[name]) for name in names})

    def forward(self, modality: str, x: Float[Tensor, "b ..."] | Int[Tensor, "b 77"]) -> Float[Tensor, "b e"]:
        tower = self.towers[TOWER_OF[modality]]
        if x.ndim < 5:
            return tower(x)
        return tower(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(dim=1)


_STEMS = {"vision": "rgbt_stem.proj.1", "text": "token_embedding"} | {
    name: f"{prefix}_stem.proj"
    for name, prefix in (("audio", "rgbt"), ("thermal", "rgbt"), ("depth", "depth"), ("imu", "imu"))
}
_PROJECTIONS = {"imu": "3", "text": "proj.1"}
_TRUNK = (
    ("attn.qkv.weight", "attn.in_proj_weight"),
    ("attn.qkv.bias", "attn.in_proj_bias"),
    ("attn.out.", "attn.out_proj."),
)


def official_name(own: str) -> str:
    """Our state-dict name -> ImageBind's."""
    matched = re.fullmatch(r"towers\.(\w+)\.(.+)", own)
    if matched is None:
        raise KeyError(own)
    tower, rest = matched.groups()
    pre, trunk, head = (f"modality_{part}.{tower}" for part in ("preprocessors", "trunks", "heads"))
    part, _, leaf = rest.partition(".")
    if part == "trunk":
        for ours, theirs in _TRUNK:
            leaf = leaf.replace(ours, theirs)
        return f"{trunk}.{leaf}"
    if part == "stem":
        stem = _STEMS[tower]
        return (
            f"{pre}.{stem.replace('proj', 'norm_layer')}.{leaf[5:]}"
            if leaf.startswith("norm.")
            else f"{pre}.{stem}.{leaf.removeprefix('proj.')}"
        )
    return {
        "cls_token": f"{pre}.cls_token",
        "position": f"{pre}.pos_embed" if tower in ("imu", "text") else f"{pre}.pos_embedding_helper.pos_embed",
        "mask": f"{pre}.mask",
        "norm_pre": f"{trunk}.pre_transformer_layer.0.{leaf}",
        "norm_post": f"{head}.{'proj.0' if tower == 'text' else '0'}.{leaf}",
        "projection": f"{head}.{_PROJECTIONS.get(tower, '2')}.{leaf}",
        "log_logit_scale": f"modality_postprocessors.{tower}.1.log_logit_scale",
    }[part]
