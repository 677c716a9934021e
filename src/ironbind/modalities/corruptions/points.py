"""Point clouds. Letters: b = batch, n = points. Strengths are PointCloud-C's; how many points there are is the
encoder's to fix, so that none is added and none taken away."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from ironbind.modalities.corruptions.kind import Kind, chosen
from ironbind.types import SampleRandom, Space


def is_cloud(modality: str, space: Space) -> bool:
    return space.unordered


def jitter(x: Float[Tensor, "b n 3"], deviation: float, space: Space, rng: SampleRandom) -> Tensor:
    return x + deviation * rng.normal("jitter", tuple(x.shape[1:])).to(x)


def dropout(x: Float[Tensor, "b n 3"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    """Lost points are replaced by copies of random others that stay."""
    n = x.shape[1]
    score = rng.uniform("dropout", (n,)).to(x)
    lost = chosen(score, share, n - 1)
    staying = score.argsort(dim=1, descending=True)[:, : n - int(lost[:1].sum())]
    copies = (rng.uniform("dropout/copies", (n,)).to(x) * staying.shape[1]).long()
    source = torch.where(lost, staying.gather(1, copies), torch.arange(n, device=x.device))
    return x.gather(1, source[:, :, None].expand_as(x))


def rotation(x: Float[Tensor, "b n 3"], degrees: float, space: Space, rng: SampleRandom) -> Tensor:
    """About a random axis through the origin (Rodrigues' formula)."""
    axis = F.normalize(rng.normal("rotation", (3,)), dim=1).to(x)[:, None, :]
    angle = math.radians(degrees)
    along = (axis * x).sum(dim=2, keepdim=True) * axis
    return along + math.cos(angle) * (x - along) + math.sin(angle) * torch.linalg.cross(axis.expand_as(x), x)


def outliers(x: Float[Tensor, "b n 3"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    """Some points lie anywhere in the unit ball instead."""
    n = x.shape[1]
    astray = chosen(rng.uniform("outliers", (n,)).to(x), share, n - 1)
    radius = rng.uniform("outliers/radius", (n, 1)).to(x) ** (1 / 3)
    anywhere = F.normalize(rng.normal("outliers/direction", tuple(x.shape[1:])).to(x), dim=2) * radius
    return torch.where(astray[:, :, None], anywhere, x)


JITTER = Kind(is_cloud, (0.01, 0.02, 0.03, 0.04, 0.05), jitter, "standard deviation {:g}")
DROPOUT = Kind(is_cloud, (0.25, 0.375, 0.5, 0.625, 0.75), dropout, "{:g} of the points")
ROTATION = Kind(
    is_cloud, (6, 12, 18, 24, 30), rotation, "by {:g} degrees"
)  # the largest of PointCloud-C's about each axis
OUTLIERS = Kind(
    is_cloud, (0.01, 0.02, 0.03, 0.04, 0.05), outliers, "{:g} of the points"
)  # its "add global": 10 to 50 among 1024
