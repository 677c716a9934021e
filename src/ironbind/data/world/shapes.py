"""The shapes of the built-in world: surfaces of 24 named things as pools of points with outward normals (ours).

Every thing stands in its own frame, y up, within the unit sphere. Its `words` describe its geometry; they shape its
sound (`sound.py`) and let the text tower say what a thing looks like that no picture of was ever trained on.
"""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np

POOL = 8192

Surface = tuple[np.ndarray, np.ndarray]
"""Points and outward normals, each float64 `n 3`."""


def _along(lengths: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """For n draws: which segment (chosen by its length or area) and where on it, in [0, 1)."""
    edges = np.cumsum(lengths) / np.sum(lengths)
    return np.searchsorted(edges, rng.random(n) * edges[-1], side="right").clip(0, len(lengths) - 1), rng.random(n)


def _revolve(profile: list[tuple[float, float]]) -> Callable[[int, np.random.Generator], Surface]:
    """The surface swept by a polyline of (radius, height) about the y axis; walk it with the outside on the right,
    going up.
    """

    def sample(n: int, rng: np.random.Generator) -> Surface:
        r, y = np.array(profile, np.float64).T
        dr, dy = np.diff(r), np.diff(y)
        which, t = _along(np.hypot(dr, dy) * (r[1:] + r[:-1] + 1e-9), n, rng)
        # On a cone the area density grows with the radius: draw the position by its inverse cumulative.
        r0, r1 = r[which], r[which + 1]
        t = np.where(
            np.abs(r1 - r0) < 1e-9,
            t,
            (np.sqrt(r0**2 + t * (r1**2 - r0**2)) - r0) / np.where(np.abs(r1 - r0) < 1e-9, 1, r1 - r0),
        )
        radius, height = r0 + t * dr[which], y[which] + t * dy[which]
        angle = 2 * np.pi * rng.random(n)
        length = np.hypot(dr[which], dy[which])
        out, up = dy[which] / length, -dr[which] / length
        return (
            np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], 1),
            np.stack([out * np.cos(angle), up, out * np.sin(angle)], 1),
        )

    return sample


def _arc(r0: float, y0: float, radius: float, start: float, stop: float, steps: int = 14) -> list[tuple[float, float]]:
    """Points of a circular arc in (radius, height), angles in degrees from the r axis."""
    return [
        (max(r0 + radius * np.cos(a), 0.0), y0 + radius * np.sin(a))
        for a in np.radians(np.linspace(start, stop, steps))
    ]


def _prism(outline: np.ndarray, depth: float) -> Callable[[int, np.random.Generator], Surface]:
    """An outline `m 2` (counter-clockwise in x, y) pushed along z by +-depth/2, with both faces."""

    def sample(n: int, rng: np.random.Generator) -> Surface:
        after = np.roll(outline, -1, axis=0)
        edge = after - outline
        length = np.hypot(edge[:, 0], edge[:, 1])
        area = 0.5 * abs(np.sum(outline[:, 0] * after[:, 1] - after[:, 0] * outline[:, 1]))
        n_side = int(n * length.sum() * depth / (length.sum() * depth + 2 * area))
        which, t = _along(length, n_side, rng)
        side = outline[which] + t[:, None] * edge[which]
        z = depth * (rng.random(n_side) - 0.5)
        normal = np.stack([edge[which, 1], -edge[which, 0]], 1) / length[which, None]
        faces = _inside(outline, n - n_side, rng)
        sign = np.where(rng.random(n - n_side) < 0.5, -1.0, 1.0)
        zero = np.zeros(n - n_side)
        return (
            np.concatenate([np.column_stack([side, z]), np.column_stack([faces, sign * depth / 2])]),
            np.concatenate([np.column_stack([normal, np.zeros(n_side)]), np.column_stack([zero, zero, sign])]),
        )

    return sample


def _inside(outline: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """n uniform points inside a polygon, by rejection (even-odd rule)."""
    low, high = outline.min(0), outline.max(0)
    after = np.roll(outline, -1, axis=0)
    inside = np.empty((0, 2))
    while len(inside) < n:
        p = low + (high - low) * rng.random((2 * n + 64, 2))
        crosses = (outline[None, :, 1] > p[:, None, 1]) != (after[None, :, 1] > p[:, None, 1])
        rise = np.where(after[:, 1] == outline[:, 1], 1.0, after[:, 1] - outline[:, 1])
        at = outline[None, :, 0] + (p[:, None, 1] - outline[None, :, 1]) * (after[:, 0] - outline[:, 0]) / rise
        inside = np.concatenate([inside, p[(crosses & (p[:, None, 0] < at)).sum(1) % 2 == 1]])
    return inside[:n]


def _boxes(*boxes: tuple[float, float, float, float, float, float]) -> Callable[[int, np.random.Generator], Surface]:
    """Axis-aligned boxes given as centre x, y, z and full size x, y, z."""

    def sample(n: int, rng: np.random.Generator) -> Surface:
        box = np.array(boxes, np.float64)
        size = box[:, 3:]
        faces = np.stack([size[:, 1] * size[:, 2], size[:, 0] * size[:, 2], size[:, 0] * size[:, 1]], 1).repeat(2, 1)
        which, _ = _along(faces.reshape(-1), n, rng)
        owner, face = which // 6, which % 6
        local = rng.random((n, 3)) - 0.5
        normal = np.zeros((n, 3))
        sign = np.where(face % 2 == 0, -1.0, 1.0)
        local[np.arange(n), face // 2] = sign / 2
        normal[np.arange(n), face // 2] = sign
        return box[owner, :3] + local * size[owner], normal

    return sample


def _tube(curve: Callable[[np.ndarray], np.ndarray], radius: float) -> Callable[[int, np.random.Generator], Surface]:
    """A round tube of `radius` about a curve [0, 1] -> `n 3`."""

    def sample(n: int, rng: np.random.Generator) -> Surface:
        s = rng.random(n)
        tangent = curve(s + 1e-4) - curve(s - 1e-4)
        tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
        side = np.cross(tangent, np.array([0.13, 0.97, 0.21]))
        side /= np.linalg.norm(side, axis=1, keepdims=True)
        up = np.cross(tangent, side)
        angle = 2 * np.pi * rng.random((n, 1))
        normal = np.cos(angle) * side + np.sin(angle) * up
        return curve(s) + radius * normal, normal

    return sample


def _join(
    *parts: tuple[float, Callable[[int, np.random.Generator], Surface]],
) -> Callable[[int, np.random.Generator], Surface]:
    """Several surfaces as one, each with its share of the points."""

    def sample(n: int, rng: np.random.Generator) -> Surface:
        counts = [int(share * n) for share, _ in parts[:-1]]
        drawn = [part(k, rng) for (_, part), k in zip(parts, [*counts, n - sum(counts)], strict=True)]
        return np.concatenate([points for points, _ in drawn]), np.concatenate([normals for _, normals in drawn])

    return sample


def _polar(radius: Callable[[np.ndarray], np.ndarray], steps: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(steps) / steps
    return np.stack([radius(angle) * np.cos(angle), radius(angle) * np.sin(angle)], 1)


def _star() -> np.ndarray:
    angle = np.pi / 2 + np.pi * np.arange(10) / 5
    radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)


def _heart() -> np.ndarray:
    t = 2 * np.pi * np.arange(48) / 48
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, y + 2], 1)[::-1] / 17


def _moon() -> np.ndarray:
    outer = np.radians(np.linspace(-125, 125, 30)) + np.pi
    inner = np.radians(np.linspace(118, -118, 30)) + np.pi
    return np.concatenate([
        np.stack([np.cos(outer), np.sin(outer)], 1),
        np.stack([0.46 + 0.88 * np.cos(inner) * 0.95, 0.92 * np.sin(inner)], 1),
    ])  # fmt: skip


def _solid(sides: int, levels: list[tuple[float, float]]) -> Callable[[int, np.random.Generator], Surface]:
    """A solid with `sides` flat sides whose (radius, height) levels go up: pyramids and cut stones."""
    revolved = _revolve(levels)

    def sample(n: int, rng: np.random.Generator) -> Surface:
        points, normals = revolved(n, rng)
        angle = np.arctan2(points[:, 2], points[:, 0])
        step = 2 * np.pi / sides
        middle = (np.floor(angle / step) + 0.5) * step
        shrink = np.cos(step / 2) / np.cos(angle - middle)
        flat = np.hypot(normals[:, 0], normals[:, 2])
        points = points * np.stack([shrink, np.ones(n), shrink], 1)
        return points, np.stack([flat * np.cos(middle), normals[:, 1], flat * np.sin(middle)], 1)

    return sample


class Shape(NamedTuple):
    """A class of the world: its name, the words that describe its geometry, and how to sample its surface."""

    name: str
    words: tuple[str, ...]
    surface: Callable[[int, np.random.Generator], Surface]


def _helix(s: np.ndarray) -> np.ndarray:
    turn = 2 * np.pi * 3.5 * s
    return np.stack([0.5 * np.cos(turn), 1.7 * (s - 0.5), 0.5 * np.sin(turn)], 1)


def _circle(s: np.ndarray) -> np.ndarray:
    return np.stack([0.72 * np.cos(2 * np.pi * s), 0.72 * np.sin(2 * np.pi * s), 0 * s], 1)


_LEGS = [(x, -0.35, z, 0.14, 1.0, 0.14) for x in (-0.6, 0.6) for z in (-0.42, 0.42)]
_CHAIR_LEGS = [(x, -0.55, z, 0.14, 0.8, 0.14) for x in (-0.36, 0.36) for z in (-0.36, 0.36)]
_HOURGLASS = [
    (0, -0.95),
    (0.62, -0.95),
    (0.62, -0.8),
    (0.5, -0.5),
    (0.1, 0),
    (0.5, 0.5),
    (0.62, 0.8),
    (0.62, 0.95),
    (0, 0.95),
]
_BOTTLE = [
    (0, -1),
    (0.42, -1),
    (0.45, -0.9),
    (0.45, 0.1),
    (0.38, 0.3),
    (0.17, 0.5),
    (0.15, 0.9),
    (0.2, 0.92),
    (0.2, 1),
    (0, 1),
]
_BARREL = [(0, -0.8), (0.5, -0.8), (0.63, -0.4), (0.68, 0), (0.63, 0.4), (0.5, 0.8), (0, 0.8)]
_BELL = [
    (0.7, -0.72),
    (0.78, -0.78),
    (0.6, -0.4),
    (0.48, 0.1),
    (0.42, 0.4),
    (0.2, 0.62),
    (0.1, 0.65),
    (0.12, 0.82),
    (0, 0.9),
]

SHAPES = (
    Shape("ball", ("round", "smooth", "compact"), _revolve(_arc(0, 0, 0.85, -90, 90, 24))),
    Shape("cube", ("boxy", "flat", "compact"), _boxes((0, 0, 0, 1.15, 1.15, 1.15))),
    Shape("cone", ("round", "pointed", "tall"), _revolve([(0, -0.8), (0.72, -0.8), (0, 1)])),
    Shape("barrel", ("round", "bulging", "tall"), _revolve([(r, y) for r, y in _BARREL])),
    Shape("pyramid", ("boxy", "pointed", "compact"), _solid(4, [(0, -0.6), (1.0, -0.6), (0, 0.85)])),
    Shape("ring", ("round", "hollow", "flat"), _tube(_circle, 0.22)),
    Shape("star", ("pointed", "flat", "branching"), _prism(_star(), 0.4)),
    Shape("cross", ("boxy", "flat", "branching"), _boxes((0, 0, 0, 0.5, 1.8, 0.45), (0, 0.1, 0, 1.6, 0.5, 0.44))),
    Shape("heart", ("curved", "flat", "pointed"), _prism(_heart(), 0.5)),
    Shape("gear", ("round", "flat", "toothed"),
          _prism(_polar(lambda a: 0.72 + 0.2 * np.clip(2.5 * np.sin(8 * a), -1, 1), 96), 0.42)),
    Shape("spring", ("twisted", "hollow", "tall"), _tube(_helix, 0.12)),
    Shape("bottle", ("round", "tall", "necked"), _revolve([(r, y) for r, y in _BOTTLE])),
    Shape("bowl", ("round", "open", "hollow"),
          _join((0.55, _revolve(_arc(0, 0.4, 0.9, -90, 0))), (0.45, _revolve(_arc(0, 0.4, 0.8, 0, -90))))),
    Shape("dumbbell", ("round", "long", "pinched"), _join(
        (0.4, lambda n, rng: _moved(_revolve(_arc(0, 0, 0.38, -90, 90)), (-0.6, 0, 0))(n, rng)),
        (0.4, lambda n, rng: _moved(_revolve(_arc(0, 0, 0.38, -90, 90)), (0.6, 0, 0))(n, rng)),
        (0.2, _tube(lambda s: np.stack([1.0 * (s - 0.5), 0 * s, 0 * s], 1), 0.13)),
    )),
    Shape("hourglass", ("round", "tall", "pinched"), _revolve([(r, y) for r, y in _HOURGLASS])),
    Shape("mushroom", ("round", "bulging", "necked"), _revolve(
        [(0, -0.8), (0.26, -0.8), (0.22, 0.05), (0.78, 0.05), *_arc(0, 0.05, 0.78, 0, 90)]
    )),
    Shape("table", ("boxy", "legged", "flat"), _boxes((0, 0.25, 0, 1.6, 0.18, 1.15), *_LEGS)),
    Shape("chair", ("boxy", "legged", "tall"), _boxes(
        (0, -0.1, 0, 0.9, 0.16, 0.9), (0, 0.48, -0.38, 0.9, 1.0, 0.14), *_CHAIR_LEGS
    )),
    Shape("ladder", ("boxy", "tall", "hollow"), _boxes(
        (-0.4, 0, 0, 0.13, 1.9, 0.13), (0.4, 0, 0, 0.13, 1.9, 0.13),
        *[(0, y, 0, 0.7, 0.12, 0.1) for y in (-0.66, -0.22, 0.22, 0.66)]
    )),
    Shape("hammer", ("long", "boxy", "branching"), _join(
        (0.45, _boxes((0, 0.62, 0, 1.3, 0.42, 0.42))), (0.55, _revolve([(0, -1), (0.13, -1), (0.11, 0.45)]))
    )),
    # Never trained on:
    Shape("bell", ("round", "open", "bulging"), _revolve([(r, y) for r, y in _BELL])),
    Shape("diamond", ("pointed", "compact", "toothed"), _solid(6, [(0, -0.95), (0.8, 0.25), (0.5, 0.55), (0, 0.55)])),
    Shape("moon", ("curved", "flat", "open"), _prism(_moon(), 0.4)),
    Shape("bench", ("long", "legged", "flat"), _boxes(
        (0, 0.0, 0, 1.9, 0.16, 0.6), (-0.75, -0.32, 0, 0.16, 0.55, 0.5), (0.75, -0.32, 0, 0.16, 0.55, 0.5)
    )),
)  # fmt: skip
TRAINED = 20
"""The first 20 shapes are trained on, the others never."""


def _moved(
    surface: Callable[[int, np.random.Generator], Surface], by: tuple[float, float, float]
) -> Callable[[int, np.random.Generator], Surface]:
    def sample(n: int, rng: np.random.Generator) -> Surface:
        points, normals = surface(n, rng)
        return points + np.array(by), normals

    return sample


@cache
def pool(shape: int) -> tuple[np.ndarray, np.ndarray]:
    """`POOL` points on shape number `shape`, in random order, and their normals; each float32 `3 POOL`, within the unit
    sphere.
    """
    points, normals = SHAPES[shape].surface(POOL, np.random.Generator(np.random.Philox(key=[7, shape])))
    order = np.random.Generator(np.random.Philox(key=[8, shape])).permutation(POOL)
    points = points - (points.max(0) + points.min(0)) / 2
    points = points / np.sqrt((points**2).sum(1).max())
    return np.ascontiguousarray(points[order].T, np.float32), np.ascontiguousarray(normals[order].T, np.float32)


@cache
def texture(shape: int, material: str) -> np.ndarray:
    """How bright the material's own pattern is at each point of the pool, float32 `POOL`, about 0.6 to 1."""
    (x, y, z), _ = pool(shape)
    if material == "wood":
        out = 0.8 + 0.2 * np.sin(22 * x + 5 * np.sin(3 * y) + 9 * z)
    elif material == "stone":
        cell = np.floor(5 * (x + 2)) * 157 + np.floor(5 * (y + 2)) * 311 + np.floor(5 * (z + 2)) * 631
        out = 0.62 + 0.38 * ((cell * 0.6180339887) % 1)
    elif material == "fabric":
        out = np.where(np.sin(13 * x + 13 * z) * np.sin(13 * y) > 0, 1.0, 0.68)
    else:
        out = np.ones(POOL)
    return out.astype(np.float32)
