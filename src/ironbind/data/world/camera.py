"""The thing of the built-in world and the camera before it (ours): its state, its materials, and what of its surface
reaches each pixel.

Surfaces are clouds of points: each is turned, thrown on a grid twice as fine as the picture, nearest wins, and every
hit is spread over 3 x 3 fine pixels. Everything is done for one instance at a time on arrays of fixed shape, so that no
batch, order or worker can change a bit.

Axis letters: f = frames, n = points, s = side of the fine grid, h w = picture.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import cos, sin
from typing import NamedTuple

import numpy as np

from ironbind.data.world.shapes import POOL, pool, texture

SIDE = 32
FINE = 2 * SIDE

_BODY, _MATE = 1536, 256  # points of the thing and of the second thing

LIGHT = np.array([-0.5, 0.7, 0.51], np.float32)
_HALF = np.array([-0.29, 0.4, 0.87], np.float32)  # halfway between light and eye

COLOURS = {
    "red": (0.85, 0.14, 0.12), "orange": (0.95, 0.5, 0.08), "yellow": (0.93, 0.85, 0.15), "green": (0.15, 0.65, 0.22),
    "cyan": (0.15, 0.75, 0.78), "blue": (0.14, 0.28, 0.85), "purple": (0.55, 0.2, 0.7), "white": (0.93, 0.93, 0.9),
}  # fmt: skip


class Look(NamedTuple):
    """How a material reflects: shares of diffuse and mirrored light, sharpness of the highlight, how much of the
    background shines through, and how strongly its own warmth radiates."""

    diffuse: float
    shine: float
    sharpness: int
    through: float
    emissivity: float


LOOKS = {
    "metal": Look(0.55, 0.95, 4, 0.0, 0.72),
    "wood": Look(0.95, 0.08, 2, 0.0, 0.92),
    "glass": Look(0.60, 1.00, 5, 0.5, 0.85),
    "rubber": Look(0.50, 0.06, 1, 0.0, 1.0),
    "stone": Look(0.85, 0.0, 1, 0.0, 0.95),
    "fabric": Look(1.0, 0.0, 1, 0.0, 0.88),
}
MATERIALS = tuple(LOOKS)

WAY = {"left": (-1.0, 0.0), "right": (1.0, 0.0), "up": (0.0, 1.0), "down": (0.0, -1.0)}


class Thing(NamedTuple):
    """The latent state of one instance: what every modality is rendered from. Angles in radians, lengths in half
    picture widths.

    `shape`, `material`, `colour`, `size`, `lean`, `way`, `speed`, `mate` are what a caption tells; the rest is how it
    happens to stand.
    """

    shape: int
    material: str
    colour: str
    size: str
    lean: str
    way: str
    speed: str
    mate: str | None
    mate_side: str
    mate_colour: str
    radius: float
    roll: float
    yaw: float
    spin: float
    elevation: float
    stretch: tuple[float, float, float]
    centre: tuple[float, float]
    travel: float
    warm: float
    seed: int
    """Key of the instance's own random streams."""

    def random(self, purpose: int) -> np.random.Generator:
        """A stream for one purpose: what one modality draws never shifts what another draws."""
        return np.random.Generator(np.random.Philox(key=[self.seed, purpose]))


def turned(roll: float, elevation: float, yaw: Sequence[float]) -> np.ndarray:
    """Rotation matrices roll * elevation * yaw, float32 `3 3 f`."""
    ce, se, cr, sr = cos(elevation), sin(elevation), cos(roll), sin(roll)
    out = []
    for angle in yaw:
        cy, sy = cos(angle), sin(angle)
        across, up, near = (cy, 0.0, sy), (se * sy, ce, -se * cy), (-ce * sy, se, ce * cy)
        rows = [
            [cr * a - sr * b for a, b in zip(across, up, strict=True)],
            [sr * a + cr * b for a, b in zip(across, up, strict=True)],
            near,
        ]
        out.append(rows)
    return np.ascontiguousarray(np.array(out, np.float32).transpose(1, 2, 0))


def rotated(matrix: np.ndarray, v: np.ndarray) -> list[np.ndarray]:
    """`3 3 f` times `3 n` -> x, y, z, each `f n`, by plain multiplications (a matrix product's bits could depend on its
    shape).
    """
    out = []
    for a, b, c in matrix[..., None]:
        total, part = a * v[0], b * v[1]
        total += part
        np.multiply(c, v[2], out=part)
        total += part
        out.append(total)
    return out


def body_points(
    thing: Thing, count: int, start: int, turn: np.ndarray, facing: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of `count` points of the thing those whose normal, turned by `turn` (`3 3`), looks more than `facing` towards the
    camera: points in the thing's own frame and size `3 n`, normals `3 n`, texture `n`."""
    take = (np.arange(count) + start) % POOL
    points, normals = pool(thing.shape)
    stretch = np.array(thing.stretch, np.float32)[:, None]
    bent = normals.take(take, axis=1) / stretch
    bent /= np.sqrt(bent[0] * bent[0] + bent[1] * bent[1] + bent[2] * bent[2])
    near = turn[2, 0] * bent[0] + turn[2, 1] * bent[1] + turn[2, 2] * bent[2] > facing
    take = take[near]
    size = stretch * np.float32(thing.radius)
    return points.take(take, axis=1) * size, bent[:, near], texture(thing.shape, thing.material)[take]


def mate_place(thing: Thing) -> tuple[float, float]:
    return (-0.74 if thing.mate_side == "left" else 0.74), -0.62


class Seen(NamedTuple):
    """What reaches the camera, each float32 `f h w`: cover of the thing and of its mate, light scattered and mirrored,
    and how much the visible surface faces the camera."""

    cover: np.ndarray
    mate: np.ndarray
    diffuse: np.ndarray
    shine: np.ndarray
    facing: np.ndarray

    def every(self, step: int) -> "Seen":
        """Every step-th frame."""
        return Seen(*(plane[::step] for plane in self))


@lru_cache(maxsize=4)
def _cells(frames: int) -> np.ndarray:
    """For each fine pixel of `f s s`, flat: the number of its coarse pixel in `f h w`."""
    frame, row, column = np.unravel_index(np.arange(frames * FINE * FINE), (frames, FINE, FINE))
    return (frame * SIDE + row // 2) * SIDE + column // 2


def see(thing: Thing, moments: np.ndarray) -> Seen:
    """The thing at `moments` (in [-0.5, 0.5], 0 = the middle of its path)."""
    f = len(moments)
    turn = turned(thing.roll, thing.elevation, (thing.yaw + thing.spin * moments).tolist())
    # Half a turn of spin at most lies between a frame and the middle one: what looks well away there is never seen.
    body, normals, pattern = body_points(
        thing, _BODY, thing.seed % POOL, turned(thing.roll, thing.elevation, [thing.yaw])[:, :, 0], -0.3
    )
    count = body.shape[1]
    way = WAY[thing.way]
    x, y, z = rotated(turn, body)
    normal = rotated(turn, normals)
    x += (thing.centre[0] + way[0] * thing.travel * moments).astype(np.float32)[:, None]
    y += (thing.centre[1] + way[1] * thing.travel * moments).astype(np.float32)[:, None]
    keys, places = [_key(z, 0)], [_place(x, y)]
    shades = [_shades(thing.material, normal, pattern)]
    if thing.mate is not None:
        at = mate_place(thing)
        mate, mate_normals = (rows[:, :_MATE] for rows in pool(0 if thing.mate == "ball" else 1))
        still = turned(0.1, thing.elevation, [0.6])
        x, y, z = rotated(still, mate * np.float32(0.22))
        keys.append(np.broadcast_to(_key(z + np.float32(0.5), count), (f, _MATE)))
        places.append(np.broadcast_to(_place(x + np.float32(at[0]), y + np.float32(at[1])), (f, _MATE)))
        shades.append(
            [
                np.broadcast_to(shade, (f, _MATE))
                for shade in _shades("rubber", rotated(still, mate_normals), np.ones(_MATE, np.float32))
            ]
        )
    key, place = np.concatenate(keys, 1), np.concatenate(places, 1)
    place = np.where(place < 0, f * FINE * FINE, place + (np.arange(f) * (FINE * FINE))[:, None])
    grid = np.full(f * FINE * FINE + 1, -1, np.int32)
    np.maximum.at(grid, place.ravel(), key.ravel())
    grid = _spread(grid[:-1].reshape(f, FINE, FINE)).ravel()

    hit = np.flatnonzero(grid >= 0)
    cell = _cells(f)[hit]
    point = (grid[hit] & 2047).astype(np.intp)
    of_mate = point >= count
    index = point + cell // (SIDE * SIDE) * key.shape[1]

    def summed(weight: np.ndarray) -> np.ndarray:
        return (np.bincount(cell, weight, f * SIDE * SIDE) * 0.25).astype(np.float32).reshape(f, SIDE, SIDE)

    diffuse, shine, facing = (summed(np.concatenate(shade, 1).ravel()[index]) for shade in zip(*shades, strict=True))
    return Seen(summed(~of_mate), summed(of_mate), diffuse, shine, facing)


def _key(z: np.ndarray, first: int) -> np.ndarray:
    """Nearness in the high bits, the point's number (from `first`) in the low eleven."""
    nearness = np.clip((z + 2) * np.float32(8000), 0, 32000).astype(np.int32)
    return (nearness << 11) | np.arange(first, first + z.shape[1], dtype=np.int32)


def _place(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The fine pixel of each point, -1 outside of the picture."""
    column, row = ((x + 1) * np.float32(SIDE)).astype(np.int32), ((1 - y) * np.float32(SIDE)).astype(np.int32)
    inside = (column > 0) & (column < FINE - 1) & (row > 0) & (row < FINE - 1)
    return np.where(inside, row * FINE + column, -1)


def _spread(grid: np.ndarray) -> np.ndarray:
    """The largest key in each 3 x 3 neighbourhood; writes over `grid`."""
    wide, out = grid.copy(), grid
    np.maximum(wide[:, 1:], grid[:, :-1], out=wide[:, 1:])
    np.maximum(wide[:, :-1], grid[:, 1:], out=wide[:, :-1])
    out[...] = wide
    np.maximum(out[:, :, 1:], wide[:, :, :-1], out=out[:, :, 1:])
    np.maximum(out[:, :, :-1], wide[:, :, 1:], out=out[:, :, :-1])
    return out


def _shades(material: str, normal: list[np.ndarray], pattern: np.ndarray) -> list[np.ndarray]:
    """Scattered light (lamp, sky from above), mirrored light, and facing, each `f n`."""
    nx, ny, nz = normal
    lit = np.maximum(nx * LIGHT[0] + ny * LIGHT[1] + nz * LIGHT[2], 0)
    glance = np.maximum(nx * _HALF[0] + ny * _HALF[1] + nz * _HALF[2], 0)
    for _ in range(LOOKS[material].sharpness):
        glance = glance * glance
    if material in ("metal", "glass"):  # they mirror the floor and light up at their rims
        glance += np.float32(0.35) * np.maximum(-ny, 0) + np.float32(0.3) * (1 - np.abs(nz)) ** 2
    return [pattern * (np.float32(0.72) * lit + (np.float32(0.28) + np.float32(0.1) * ny)), glance, np.abs(nz)]
