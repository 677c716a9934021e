"""The hierarchical point-cloud encoder of I2P-MAE (Zhang et al., CVPR 2023, arXiv:2212.06785), as UniBind uses it:
three levels of groups.

Axis letters: b = batch, n = points, g = groups, k = points per group, c = channels coming in, d = width of a level.
"""

import re
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.encoders.shared.point_sampling import farthest_points, nearest_points, take
from ironbind.encoders.shared.trunk import Trunk

FAR = -100000.0  # added to the attention logits of groups beyond the radius (not -inf)


@dataclass(frozen=True)
class LevelSize:
    """Groups, points per group, width, attention radius and depth of one level."""

    groups: int
    points: int
    width: int
    radius: float
    depth: int = 5
    heads: int = 6


LEVELS = (LevelSize(512, 48, 96, 0.24), LevelSize(256, 24, 192, 0.48), LevelSize(64, 24, 384, 0.96))


class GroupEmbedding(nn.Module):
    """PointNet of one group: each point sees its own features beside the group's maximum; the maximum over the group
    comes out.
    """

    def __init__(self, channels: int, narrow: int, wide: int, inner: int, width: int) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv1d(channels, narrow, 1), nn.BatchNorm1d(narrow), nn.ReLU(), nn.Conv1d(narrow, wide, 1)
        )
        self.second = nn.Sequential(
            nn.Conv1d(2 * wide, inner, 1), nn.BatchNorm1d(inner), nn.ReLU(), nn.Conv1d(inner, width, 1)
        )

    def forward(self, x: Float[Tensor, "b g k c"]) -> Float[Tensor, "b g d"]:
        local = self.first(x.flatten(0, 1).transpose(1, 2))  # b*g wide k
        common = local.amax(dim=2, keepdim=True).expand_as(local)
        return self.second(torch.cat([common, local], dim=1)).amax(dim=2).unflatten(0, x.shape[:2])


class Level(nn.Module):
    """Group, embed, then blocks that attend within a radius; each block sees the groups' positions anew."""

    def __init__(self, size: LevelSize, channels: int, first: bool) -> None:
        super().__init__()
        self.size = size
        width = size.width
        self.embed = (
            GroupEmbedding(channels, 128, 256, 512, width)
            if first
            else GroupEmbedding(channels, channels, channels, width, width)
        )
        self.position = nn.Sequential(nn.Linear(3, width), nn.GELU(), nn.Linear(width, width))
        self.trunk = Trunk(width, size.depth, size.heads, eps=1e-5, qkv_bias=False)

    def forward(
        self, xyz: Float[Tensor, "b n 3"], features: Float[Tensor, "b n c"] | None
    ) -> tuple[Float[Tensor, "b g 3"], Float[Tensor, "b g d"]]:
        """Centers of the groups and their tokens, from the points (or the last level's centers) and their features."""
        centers = take(xyz, farthest_points(xyz, self.size.groups))
        members = nearest_points(xyz, centers, self.size.points)
        inside = take(xyz, members) - centers[:, :, None] if features is None else take(features, members)
        x, position = self.embed(inside), self.position(centers)
        with torch.no_grad():
            mask = torch.where(torch.cdist(centers, centers) >= self.size.radius, FAR, 0.0)[:, None]  # b 1 g g
        inner, position = x.to(self.trunk.precision), position.to(self.trunk.precision)
        for block in self.trunk.blocks:
            inner = block(inner + position, mask)
        return centers, inner.to(x.dtype)


class PointEncoder(nn.Module):
    """Points in the unit sphere -> one feature: mean plus maximum over the last level's tokens."""

    def __init__(self, levels: tuple[LevelSize, ...] = LEVELS) -> None:
        super().__init__()
        channels = (3, *(level.width for level in levels))
        self.levels = nn.ModuleList(Level(size, channels[i], first=i == 0) for i, size in enumerate(levels))
        self.norm = nn.LayerNorm(channels[-1], eps=1e-5)

    def forward(self, xyz: Float[Tensor, "b n 3"]) -> Float[Tensor, "b d"]:
        features = None
        for level in self.levels:
            xyz, features = level(xyz, features)
        tokens = self.norm(features)
        return tokens.mean(dim=1) + tokens.amax(dim=1)


_NAMES = (
    (r"levels\.(\d)\.embed\.(first|second)\.", r"h_encoder.token_embed.\1.\2_conv."),
    (r"levels\.(\d)\.position\.", r"h_encoder.encoder_pos_embeds.\1."),
    (r"levels\.(\d)\.trunk\.", r"h_encoder.encoder_blocks.\1."),
    (r"\.norm_(\d)\.", r".norm\1."),
    (r"\.attn\.out\.", r".attn.proj."),
)


def official_name(own: str) -> str:
    """Our state-dict name -> I2P-MAE's in UniBind's checkpoint (without its `point_encoder.`)."""
    for ours, theirs in _NAMES:
        own = re.sub(ours, theirs, own)
    return own
