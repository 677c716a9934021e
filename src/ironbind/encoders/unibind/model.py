"""UniBind's network: ImageBind's towers, a point tower, and one fine-tuned linear head per modality where a checkpoint
has one.

Paper: Lyu et al., UniBind, CVPR 2024, arXiv:2403.12532. Axis letters: b = batch, n = points, e = width of the embedding
(1024).
"""

import math
from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float, Int
from torch import Tensor, nn

from ironbind.encoders.imagebind import model as imagebind_model
from ironbind.encoders.imagebind.model import HUGE, WIDTH, ImageBindModel, TowerSize
from ironbind.encoders.unibind import point_tower as point_encoder
from ironbind.encoders.unibind.point_tower import LEVELS, LevelSize, PointEncoder

TOWER_OF = {
    "image": "vision",
    "video": "vision",
    "event": "vision",
    "audio": "audio",
    "thermal": "thermal",
    "point": "point",
    "text": "text",
}
POINT_WIDTH = 512


class PointTower(nn.Module):
    """Point encoder, projection, and a head like ImageBind's."""

    def __init__(self, levels: tuple[LevelSize, ...]) -> None:
        super().__init__()
        self.encoder = PointEncoder(levels)
        self.pc_projection = nn.Parameter(torch.zeros(levels[-1].width, POINT_WIDTH))
        self.norm = nn.LayerNorm(POINT_WIDTH, eps=1e-6)
        self.projection = nn.Linear(POINT_WIDTH, WIDTH, bias=False)
        # made on the CPU whatever the default device, so that "as constructed" survives construction on the meta device
        self.register_buffer("log_logit_scale", torch.tensor(0.0, device="cpu"))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07), device="cpu"))  # in the file, never used

    def forward(self, xyz: Float[Tensor, "b n 3"]) -> Float[Tensor, "b e"]:
        return self.projection(self.norm(self.encoder(xyz) @ self.pc_projection))


class UniBindModel(nn.Module):
    """`forward(modality, x)`: the official module's own input -> its `encode_vision` / `encode_text`: unit rows.

    Inputs: point `b n 3`, event like image, the others as ImageBindModel's. With a fine-tuned head for a modality: that
    head after the unit row, then unit length again (the official `encode_vision_with_mlp`).
    """

    def __init__(
        self,
        modalities: Iterable[str] = tuple(TOWER_OF),
        heads: Iterable[str] = (),
        sizes: Mapping[str, TowerSize] = HUGE,
        levels: tuple[LevelSize, ...] = LEVELS,
        all_towers: bool = False,
    ) -> None:
        """`all_towers`: also ImageBind's depth and IMU towers, which the file holds and UniBind never uses."""
        super().__init__()
        names = tuple(modalities)
        inner = imagebind_model.TOWER_OF if all_towers else [_inner(name) for name in names if name != "point"]
        self.bind = ImageBindModel(inner, sizes)
        self.point = PointTower(levels) if "point" in names else None
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, WIDTH) for name in heads})

    def forward(self, modality: str, x: Float[Tensor, "b ..."] | Int[Tensor, "b 77"]) -> Float[Tensor, "b e"]:
        if modality == "point":
            assert self.point is not None
            z = self.point(x)
        else:
            z = self.bind(_inner(modality), x)
        z = F.normalize(z, dim=-1)
        return F.normalize(self.heads[modality](z), dim=-1) if modality in self.heads else z


def _inner(modality: str) -> str:
    """The ImageBind modality that serves one of UniBind's: event frames are images to it."""
    return "image" if modality == "event" else modality


_POINT = {
    "norm": "bind.modality_head_point.0",
    "projection": "bind.modality_head_point.2",
    "log_logit_scale": "bind.modality_postprocessor_point.1.log_logit_scale",
    "pc_projection": "pc_projection",
    "logit_scale": "logit_scale",
}


def official_name(own: str) -> str:
    """Our state-dict name -> that of UniBind's pretrained file (fine-tuned files: the same behind `backbone.`, except
    the heads).
    """
    room, _, rest = own.partition(".")
    if room == "bind":
        return "bind." + imagebind_model.official_name(rest)
    if room == "heads":
        return "mlp_for_" + rest
    part, dot, leaf = rest.partition(".")
    return "point_encoder." + point_encoder.official_name(leaf) if part == "encoder" else _POINT[part] + dot + leaf
