"""Farthest points and neighbours against loops that anybody can check."""

import torch

from ironbind.encoders.shared.point_sampling import farthest_points, nearest_points, take


def cloud(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, n, 3, generator=torch.Generator().manual_seed(seed))


def farthest_loop(xyz: torch.Tensor, count: int) -> list[int]:
    able = [i for i in range(len(xyz)) if float((xyz[i] ** 2).sum()) > 1e-3]
    picked = [0]
    while len(picked) < count:
        distance = {i: min(float(((xyz[i] - xyz[j]) ** 2).sum()) for j in picked) for i in able}
        picked.append(max(able, key=lambda i: distance[i]) if able else 0)
    return picked


def test_farthest_points_are_the_loops():
    xyz = cloud(60)
    xyz[:, 7] = 0.01  # near the origin: never picked, though far from the others once they are
    xyz[:, 8:40] += 4
    for one, picked in zip(xyz, farthest_points(xyz, 12), strict=True):
        assert picked.tolist() == farthest_loop(one, 12)
        assert 7 not in picked


def test_a_cloud_at_the_origin_gives_its_first_point():
    assert farthest_points(torch.full((1, 9, 3), 0.001), 4).tolist() == [[0, 0, 0, 0]]


def test_neighbours_are_sorted_and_equals_come_by_index():
    xyz = cloud(50)
    xyz[:, 30:] = xyz[:, 10:30]  # every one of these twice
    centers = xyz[:, :6]
    found = nearest_points(xyz, centers, 9)
    squared = (centers[:, :, None] - xyz[:, None]).square().sum(-1)
    expected = torch.sort(squared, dim=-1, stable=True).indices[..., :9]
    assert torch.equal(found, expected)
    assert torch.equal(found[..., 0], torch.arange(6).expand(2, -1))


def test_take_gathers_and_carries_the_gradient():
    x, index = cloud(10).requires_grad_(), torch.tensor([[[1, 1], [3, 0]], [[9, 2], [2, 2]]])
    taken = take(x, index)
    assert torch.equal(taken[1, 0, 0], x[1, 9])
    (gradient,) = torch.autograd.grad(taken.sum(), x)
    assert gradient[0, 1, 0] == 2
    assert gradient[1, 2, 0] == 3
    assert gradient[1, 5, 0] == 0
