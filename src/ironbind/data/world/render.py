"""How the built-in world is seen: pictures, clips, warmth, events and scans of one thing (ours).

Like `camera.py`, one instance at a time on arrays of fixed shape. Axis letters: f = frames, h w = picture.
"""

from functools import lru_cache
from math import cos, sin
from typing import NamedTuple

import numpy as np

from ironbind.data.world.camera import COLOURS, LOOKS, SIDE, WAY, Seen, Thing, body_points, mate_place, rotated, turned
from ironbind.data.world.shapes import POOL, pool
from ironbind.types import Events, Image, Points, Thermal, Video

FRAMES = 8
STEPS = 16
"""Moments at which the moving thing is rendered: every second one is a video frame, all of them make the events."""
FPS = 8.0
MICROSECONDS = 1_000_000


def _trail(thing: Thing, plane: np.ndarray, lag: float) -> np.ndarray:
    """`h w` as it was `lag` pictures' worth of travel ago: shifted against the way of motion by whole pixels, edges
    zero.
    """
    way = WAY[thing.way]
    step = round(lag * thing.travel * SIDE / 2)
    return _shift(plane, -int(way[0]) * step, int(way[1]) * step)


def _shift(plane: np.ndarray, right: int, down: int) -> np.ndarray:
    out = np.zeros_like(plane)
    h, w = plane.shape[-2:]
    out[..., max(down, 0) : h + min(down, 0), max(right, 0) : w + min(right, 0)] = plane[
        ..., max(-down, 0) : h + min(-down, 0), max(-right, 0) : w + min(-right, 0)
    ]
    return out


@lru_cache(maxsize=1)
def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Pixel centres: x `1 w` and y `h 1` in [-1, 1], y up."""
    line = ((np.arange(SIDE) + 0.5) * 2 / SIDE - 1).astype(np.float32)
    return line[None, :], -line[:, None]


def _blur(plane: np.ndarray) -> np.ndarray:
    """A [1 2 1] / 4 smoothing along both last axes, edges repeated."""
    for axis in (-2, -1):
        plane = np.moveaxis(plane, axis, 0)
        before, after = np.concatenate([plane[:1], plane[:-1]]), np.concatenate([plane[1:], plane[-1:]])
        plane = np.moveaxis((before + 2 * plane + after) * np.float32(0.25), 0, axis)
    return plane


class Room(NamedTuple):
    """Where the thing is: the empty picture `3 h w` and how bright the lamp is."""

    picture: np.ndarray
    lamp: float


def room(thing: Thing) -> Room:
    """Wall, floor of boards, a poster on the wall and two patches of light; the same for every picture of an
    instance.
    """
    x, y = _grid()
    draw = thing.random(1).random(24).astype(np.float32)
    wall = 0.25 + 0.5 * draw[0] + 0.18 * (draw[1:4] - 0.5)
    floor = 0.15 + 0.5 * draw[4] + 0.22 * (draw[5:8] - 0.5)
    horizon = -0.25 - 0.35 * draw[8]
    on_floor = np.clip((horizon - y) * 10 + 0.5, 0, 1)
    px, py = 1.6 * draw[9] - 0.8, 0.1 + 0.7 * draw[10]
    poster = (np.abs(x - px) < 0.15 + 0.2 * draw[11]) & (np.abs(y - py) < 0.12 + 0.2 * draw[12])
    picture = wall[:, None, None] * (0.9 + 0.2 * y) + poster * ((draw[13:16] - 0.5) * np.float32(0.5))[:, None, None]
    boards = (1 + 0.12 * np.sign(np.sin((x / (1.3 - y)) * (10 + 12 * draw[16]) + 6 * draw[17]))) * (0.8 - 0.3 * y)
    picture = picture + on_floor * (floor[:, None, None] * boards - picture)
    for k in (18, 20):
        picture = picture * (0.93 + 0.2 * np.exp(-((x - 2 * draw[k] + 1) ** 2 + (y - 2 * draw[k + 1] + 1) ** 2) * 3))
    return Room(picture.astype(np.float32), float(0.78 + 0.35 * draw[22]))


def _shadow(x: np.ndarray, y: np.ndarray, cx: np.ndarray, cy: np.ndarray, r: float) -> np.ndarray:
    """How much light is left on the floor around a thing at `cx`, `cy`, each broadcast against the grid."""
    return 1 - np.float32(0.5) * np.exp(
        -(((x - cx - 0.2 * r) / (0.85 * r)) ** 2) - ((y - cy + 0.85 * r) / (0.3 * r)) ** 2
    )


def _paint(thing: Thing, seen: Seen, place: Room, moments: np.ndarray) -> np.ndarray:
    """Pictures in linear light, `3 f h w`: the room, the shadows on its floor, the thing and its mate."""
    x, y = _grid()
    way = WAY[thing.way]
    at = [
        (c + w * thing.travel * moments).astype(np.float32)[:, None, None]
        for c, w in zip(thing.centre, way, strict=True)
    ]
    shadow = _shadow(x, y, at[0], np.minimum(at[1], np.float32(thing.centre[1])), thing.radius)
    if thing.mate is not None:
        mate_x, mate_y = (np.asarray(axis, np.float32) for axis in mate_place(thing))
        shadow = shadow * _shadow(x, y, mate_x, mate_y, 0.22)
    look = LOOKS[thing.material]
    share = seen.mate / np.maximum(seen.cover + seen.mate, np.float32(1e-6))
    through = shadow * (1 - seen.cover * np.float32(1 - look.through) - seen.mate)
    lamp = np.float32(1.15 * place.lamp)
    gloss = np.float32(0.75 * look.shine) * lamp * (1 - share) * seen.shine
    body, mate = np.float32(look.diffuse * (1 - look.through)) * lamp, np.float32(0.85) * lamp
    out = np.empty((3, *seen.cover.shape), np.float32)
    for channel in range(3):
        own, other = (
            body * np.float32(COLOURS[thing.colour][channel]),
            mate * np.float32(COLOURS[thing.mate_colour][channel]),
        )
        out[channel] = place.picture[channel] * through + (own + share * (other - own)) * seen.diffuse + gloss
    return out


def _noisy_uint8(picture: np.ndarray, rng: np.random.Generator, sigma: float) -> np.ndarray:
    """`3 f h w` in linear light -> uint8 `f h w 3`, with sensor noise."""
    grain = rng.integers(
        0, 256, (2, *picture.shape), dtype=np.uint8
    )  # a triangle of variance (256^2 - 1) / 6: exact, and near enough a bell
    noise = (grain[0].astype(np.float32) + grain[1] - np.float32(255)) * np.float32(sigma * 255 / 104.5)
    pixels = np.clip(picture * np.float32(255) + noise, 0, 255).round().astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 3, 0))


def image(thing: Thing, seen: Seen, place: Room) -> Image:
    """The middle of the motion, with two ghosts behind it: the trail of a long exposure."""
    sharp = _paint(thing, seen, place, np.zeros(1))
    free = (1 - seen.cover) * (1 - seen.mate)
    out = sharp
    for lag, weight in ((0.28, 0.42), (0.56, 0.24)):
        weighed = free * np.float32(weight)
        out = out * (1 - _trail(thing, seen.cover, lag) * weighed) + _trail(thing, sharp * seen.cover, lag) * weighed
    return Image(_noisy_uint8(out, thing.random(2), 0.025)[0])


def video(thing: Thing, seen: Seen, place: Room) -> Video:
    """Eight frames of one second."""
    return Video(_noisy_uint8(_paint(thing, seen, place, MOMENTS[::2]), thing.random(3), 0.03), FPS)


def thermal(thing: Thing, seen: Seen) -> Thermal:
    """Warmth: the thing 0.2 to 0.4 of the range above or below its surroundings, more so where it faces the camera, by
    its emissivity; a drift across the picture, another warm patch, a fading trail, the lens' blur and noise."""
    rng = thing.random(4)
    x, y = _grid()
    draw = rng.random(8).astype(np.float32)
    look = LOOKS[thing.material]
    ambient = 0.42 + 0.16 * draw[0] + (0.1 * (draw[1] - 0.5)) * x + (0.1 * (draw[2] - 0.5)) * y
    blob = np.exp(-((x - 2 * draw[3] + 1) ** 2 + (y - 2 * draw[4] + 1) ** 2) * (5 + 8 * draw[5]))
    ambient = ambient + np.float32(0.14) * (draw[6] - 0.4) * blob
    cover, mate = seen.cover[0], seen.mate[0]
    # Shiny metal and glass mirror the cold sky; the others radiate as they are patterned.
    radiated = np.float32(look.emissivity) * (np.float32(0.55) * cover + np.float32(0.45) * seen.facing[0])
    radiated = (
        radiated * (np.float32(0.55) + np.float32(0.6) * seen.diffuse[0])
        - np.float32(0.3 * look.shine) * seen.shine[0] * cover
    )
    out = ambient + np.float32(1.15 * thing.warm) * radiated + np.float32(0.16) * mate
    for lag, weight in ((0.3, 0.4), (0.6, 0.25)):
        out = out + _trail(thing, cover, lag) * (1 - cover) * (1 - mate) * np.float32(weight * 0.55 * thing.warm)
    out = _blur(out)
    grain = rng.integers(0, 256, (4, SIDE, SIDE), dtype=np.uint8).astype(np.float32).sum(0) - 510
    out = np.clip(out + grain * np.float32(0.02 / 148), 0, 1)
    return Thermal((np.round(out * 65535) / 65535).astype(np.float32))


MOMENTS = (np.arange(STEPS) / STEPS - 0.5 + 0.5 / STEPS).astype(np.float64)

THRESHOLD = np.float32(0.22)
"""Change of log brightness that makes one event."""


def events(thing: Thing, seen: Seen, place: Room) -> Events:
    """What an event camera sees of the second: every pixel reports each step of log brightness, up or down, at its own
    time, plus noise.

    At most four events per pixel and step; times in whole microseconds (given in seconds), ascending.
    """
    rng = thing.random(5)
    look = LOOKS[thing.material]
    grey = np.float32(0.3) * place.picture[0] + np.float32(0.6) * place.picture[1] + np.float32(0.1) * place.picture[2]
    red, green, blue = COLOURS[thing.colour]
    tone = np.float32((0.3 * red + 0.6 * green + 0.1 * blue) * look.diffuse * (1 - look.through))
    solid = seen.cover * np.float32(1 - look.through) + seen.mate
    light = grey * (1 - solid) + (
        tone * seen.diffuse + np.float32(0.75 * look.shine) * seen.shine * seen.cover
    ) * np.float32(1.15 * place.lamp)
    level = np.log(np.maximum(light, 0) + np.float32(0.06)) / THRESHOLD  # f h w
    level = level + rng.random((1, SIDE, SIDE), np.float32)
    step = np.floor(level)
    change = (step[1:] - step[:-1]).astype(np.int32)
    frame, row, column = np.nonzero(change)
    change = change[frame, row, column]
    before, after = level[frame, row, column], level[frame + 1, row, column]
    up = change > 0
    first = np.where(up, step[frame, row, column] + 1, step[frame, row, column])
    slope = 1 / (after - before)
    streams = []
    for k in range(4):
        more = np.abs(change) > k
        part = (first[more] + np.where(up[more], k, -k) - before[more]) * slope[more]
        streams.append((column[more], row[more], frame[more] + part.clip(0, 1), up[more]))
    noise = 60 + int(80 * rng.random())  # pixels that fire for no reason
    streams.append(
        (
            rng.integers(0, SIDE, noise),
            rng.integers(0, SIDE, noise),
            rng.random(noise) * (STEPS - 1),
            rng.random(noise) < 0.5,
        )
    )
    x, y, t, p = (np.concatenate(column) for column in zip(*streams, strict=True))
    micro = np.floor(t.astype(np.float64) * (MICROSECONDS / STEPS) + 0.5).astype(np.int64)
    key = np.sort((micro << 11) | (x << 6) | (y << 1) | p)
    x, y = ((key >> 6) & 31).astype(np.int16), ((key >> 1) & 31).astype(np.int16)
    return Events(x, y, (key >> 11) / MICROSECONDS, (key & 1).astype(np.uint8), SIDE, SIDE)


SCAN = 512


def _scan_halves(thing: Thing) -> tuple[tuple[int, int, float], ...]:
    """Many points of the near side, a few of all sides: count, where in the pool to begin, least facing."""
    start = (thing.seed >> 13) % POOL
    return (900, start, 0.0), (160, start + 900, -1.1)


def points(thing: Thing) -> Points:
    """A scan: 512 points in the camera's frame, mostly of the near side, with noise, strays, a patch of floor, the
    mate, and a piece missing.
    """
    rng = thing.random(6)
    draw = rng.random(16)
    turn = turned(thing.roll, thing.elevation, [thing.yaw])
    cloud = np.concatenate(
        [body_points(thing, half, start, turn[:, :, 0], least)[0] for half, start, least in _scan_halves(thing)], 1
    )
    x, y, z = (axis[0] for axis in rotated(turn, cloud))
    # The scanner misses a piece: all beyond a plane through some part of the thing.
    angle = 2 * np.pi * draw[0]
    beyond = x * np.float32(cos(angle)) + y * np.float32(sin(angle)) > np.float32(thing.radius * (0.35 + 0.6 * draw[1]))
    cloud = np.stack([x, y, z], 1)[~beyond]
    cloud = cloud[rng.permutation(len(cloud))]
    floor, mate, stray = 40, 48 if thing.mate else 0, 6 + int(26 * draw[2])
    need = SCAN - floor - mate - stray
    cloud = cloud[np.arange(need) % len(cloud)]
    lift = turned(0.0, thing.elevation, [0.0])
    patch = np.stack([1.5 * rng.random(floor) - 0.75, np.full(floor, -0.72), 1.5 * rng.random(floor) - 0.75]).astype(
        np.float32
    )
    parts = [cloud, np.stack([axis[0] for axis in rotated(lift, patch)], 1)]
    if thing.mate is not None:
        ball = pool(0 if thing.mate == "ball" else 1)[0][:, :mate] * np.float32(0.22)
        parts.append(ball.T + np.array([*mate_place(thing), 0.3], np.float32))
    parts.append((2 * rng.random((stray, 3)) - 1).astype(np.float32) * np.float32(0.9))
    out = np.concatenate(parts)
    grain = rng.integers(0, 256, (4, *out.shape), dtype=np.uint8).astype(np.float32).sum(0) - 510
    out = out + grain * np.float32((0.012 + 0.02 * draw[3]) / 148)
    return Points(np.ascontiguousarray(out[rng.permutation(SCAN)], np.float32))
