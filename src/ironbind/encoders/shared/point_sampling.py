"""Farthest-point sampling and nearest neighbours in plain torch, index for index what the CUDA-only originals return.

Semantics of pointnet2_ops (FPS) and KNN_CUDA, which need compiled kernels; written anew. Both choose indices, so no
gradient passes through the choice; gather with `take` and it flows to the coordinates. Axis letters: b = batch, n =
points, g = groups, k = neighbours.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

NEAR_ORIGIN = 1e-3  # squared norm up to which pointnet2_ops never picks a point (it pads clouds with zeros)


@torch.no_grad()
def farthest_points(xyz: Float[Tensor, "b n 3"], count: int) -> Int[Tensor, "b {count}"]:
    """Indices: 0 first, then each time the point farthest from all picked ones (the lowest index among equals).

    Points within sqrt(1e-3) of the origin are never picked after the first; when no other is left, index 0 is.
    """
    batch, points = xyz.shape[:2]
    rows = torch.arange(batch, device=xyz.device)
    nearest = torch.full((batch, points), 1e10, dtype=xyz.dtype, device=xyz.device)
    nearest[xyz.square().sum(-1) <= NEAR_ORIGIN] = -1.0  # minimum with a squared distance keeps it there
    picked = torch.zeros(batch, count, dtype=torch.int64, device=xyz.device)
    for i in range(1, count):
        newest = xyz[rows, picked[:, i - 1]]
        nearest = torch.minimum(nearest, (xyz - newest[:, None]).square().sum(-1))
        picked[:, i] = nearest.argmax(dim=1)
    return picked


@torch.no_grad()
def nearest_points(xyz: Float[Tensor, "b n 3"], centers: Float[Tensor, "b g 3"], k: int) -> Int[Tensor, "b g {k}"]:
    """Indices of the k points nearest to each center, nearest first, equals by index; a center that is a point finds
    itself first.
    """
    squared = torch.zeros(centers.shape[0], centers.shape[1], xyz.shape[1], dtype=torch.float32, device=xyz.device)
    for axis in range(3):  # axis by axis: a third of the memory of the full difference, same sum
        squared += (centers[:, :, None, axis] - xyz[:, None, :, axis]).float().square()
    # non-negative floats order like their bits; with the index below them, equals come in a defined order
    keys = squared.view(torch.int32).long() << 32 | torch.arange(xyz.shape[1], device=xyz.device)
    return keys.topk(k, largest=False, sorted=True).values & 0xFFFFFFFF


def take(x: Float[Tensor, "b n c"], index: Int[Tensor, "b *i"]) -> Float[Tensor, "b *i c"]:
    """The rows of each sample that `index` names, differentiable in `x`."""
    flat = index.flatten(1)
    return x.gather(1, flat[..., None].expand(-1, -1, x.shape[-1])).unflatten(1, index.shape[1:])
