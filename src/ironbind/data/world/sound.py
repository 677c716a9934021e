"""How the built-in world sounds: a thing is struck, again and again, and rings by its geometry and its material (ours).

Geometry (`Shape.words`) sets which partials ring, material how long and how brightly, size the pitch, speed the rhythm;
a thing going up or down slides in pitch. The second thing adds its own sound, and around it there are hum, hiss, a
stranger's tone and an echo.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from ironbind.data.world.camera import Thing
from ironbind.data.world.shapes import SHAPES
from ironbind.types import Audio

RATE = 8000
SAMPLES = 8000
_RING = 4000
_PARTIALS = 6


class Voice(NamedTuple):
    """What a geometry gives to a sound: partial n rings at `base * n ** stretch * (1 + stiff * n * n)`; the rest are
    levels.
    """

    pitch: float = 1.0
    stretch: float = 1.0
    stiff: float = 0.0
    tilt: float = 1.0
    even: float = 1.0
    beat: float = 0.0
    breath: float = 0.0
    rattle: float = 0.0


# What each word changes: factors for pitch, stretch, tilt and even; sums for the others.
_WORDS: dict[str, dict[str, float]] = {
    "round": {"stretch": 0.9, "tilt": 1.1},
    "boxy": {"stretch": 1.18, "even": 0.6},
    "flat": {"stiff": 0.035, "pitch": 1.12},
    "tall": {"pitch": 0.8, "tilt": 0.85},
    "long": {"pitch": 0.7, "stiff": 0.06},
    "compact": {"pitch": 1.25, "tilt": 1.35},
    "pointed": {"stretch": 1.1, "tilt": 0.62, "pitch": 1.08},
    "hollow": {"even": 0.25, "breath": 0.10},
    "open": {"breath": 0.22, "pitch": 0.85},
    "smooth": {"tilt": 1.5},
    "branching": {"beat": 11.0},
    "legged": {"rattle": 0.35},
    "toothed": {"rattle": 0.5, "tilt": 0.8},
    "twisted": {"beat": 21.0, "stretch": 1.12},
    "curved": {"beat": 6.0, "even": 1.5},
    "bulging": {"pitch": 0.75, "tilt": 1.25},
    "necked": {"breath": 0.14, "even": 0.45},
    "pinched": {"stretch": 0.82, "beat": 4.0},
}
_FACTORS = ("pitch", "stretch", "tilt", "even")

_DECAY = {"metal": 3.5, "glass": 7.0, "stone": 22.0, "wood": 32.0, "rubber": 45.0, "fabric": 75.0}
_BRIGHT = {"metal": 0.75, "glass": 0.5, "stone": 1.0, "wood": 1.2, "rubber": 2.0, "fabric": 2.6}
_CLICK = {"metal": 0.25, "glass": 0.45, "stone": 0.9, "wood": 0.5, "rubber": 0.12, "fabric": 0.7}
_PITCH = {"small": 720.0, "medium": 430.0, "large": 255.0}


@cache
def voice(shape: int) -> Voice:
    """The sum of what the shape's words say."""
    out = Voice()._asdict()
    for word in SHAPES[shape].words:
        for name, value in _WORDS[word].items():
            out[name] = out[name] * value if name in _FACTORS else out[name] + value
    return Voice(**out)


def _wave(cycles: np.ndarray) -> np.ndarray:
    """sin(2 pi cycles), float32, the whole cycles taken off in double precision first."""
    return np.sin(((cycles - np.floor(cycles)) * (2 * np.pi)).astype(np.float32))


def _white(rng: np.random.Generator, n: int) -> np.ndarray:
    return (rng.integers(0, 65536, n, dtype=np.uint16).astype(np.float32) - 32767.5) / np.float32(18918.6)


def _ring(thing: Thing, rng: np.random.Generator) -> np.ndarray:
    """One stroke, half a second: partials that die away, and the click of the stroke; peak about 1."""
    v = voice(thing.shape)
    number = np.arange(1, _PARTIALS + 1, dtype=np.float64)
    jitter = 1 + 0.012 * (2 * rng.random(_PARTIALS) - 1)
    base = _PITCH[thing.size] * v.pitch * 2 ** (0.22 * (rng.random() - 0.5))
    hertz = base * number**v.stretch * (1 + v.stiff * number * number) * jitter
    level = (
        number ** (-v.tilt * _BRIGHT[thing.material])
        * np.where(number % 2 == 0, v.even, 1.0)
        * (0.75 + 0.5 * rng.random(_PARTIALS))
    )
    level = np.where(hertz < 3800, level, 0.0)
    t = np.arange(_RING) / RATE
    decay = _DECAY[thing.material] * (0.8 + 0.4 * rng.random()) * (0.7 + 0.3 * number)
    tone = np.zeros(_RING, np.float32)
    fade = t.astype(np.float32)
    for k in range(_PARTIALS):
        if level[k] > 0:
            tone += (
                np.float32(level[k]) * np.exp(-fade * np.float32(decay[k])) * _wave(hertz[k] * t + 0.25 * rng.random())
            )
    if v.beat:
        tone *= 1 + np.float32(0.7) * _wave(v.beat * t)
    noise = _white(rng, _RING)
    tone += np.float32(_CLICK[thing.material] * 0.5) * noise * np.exp(-fade * np.float32(180))
    if v.breath:
        soft = noise + np.roll(noise, 1) + np.roll(noise, 2)
        tone += np.float32(v.breath) * soft * np.exp(-fade * np.float32(9)) * _wave(v.pitch * base * 0.5 * t)
    if v.rattle:
        gate = (_wave(38.0 * t) > 0.6).astype(np.float32)
        tone += np.float32(v.rattle) * noise * gate * np.exp(-fade * np.float32(14))
    return tone / np.float32(np.sqrt((tone[:800] ** 2).sum() / 800) + 1e-6)


def _add(out: np.ndarray, start: int, sound: np.ndarray) -> None:
    room = min(len(out) - start, len(sound))
    if room > 0:
        out[start : start + room] += sound[:room]


def audio(thing: Thing) -> Audio:
    """One second at 8 kHz; every value a multiple of 1/32768."""
    rng = thing.random(7)
    ring = _ring(thing, rng)
    out = np.zeros(SAMPLES, np.float32)
    every = (0.34 if thing.speed == "slow" else 0.15) * (0.9 + 0.2 * rng.random())
    slide = {"up": 0.28, "down": -0.28}.get(thing.way, 0.0)
    start = 0.12 * rng.random()
    ticks = np.arange(_RING, dtype=np.float32)
    while start < 0.97:
        faster = np.float32(1 + slide * (2 * start - 1))
        at = ticks * faster
        low = np.minimum(at.astype(np.int32), _RING - 2)
        part = np.minimum(at - low, 1)
        stroke = ring[low] * (1 - part) + ring[low + 1] * part
        _add(out, int(start * RATE), stroke * np.float32(0.75 + 0.5 * rng.random()))
        start += every * (0.93 + 0.14 * rng.random())
    out /= np.float32(np.sqrt((out**2).sum() / SAMPLES) + 1e-6)

    t = np.arange(SAMPLES) / RATE
    if thing.mate is not None:
        # A ball bounces ever faster; a block knocks twice.
        where, gap = 0.1 + 0.2 * rng.random(), 0.2
        knock_t = np.arange(480) / RATE
        for _ in range(9 if thing.mate == "ball" else 2):
            pitch = 1900.0 if thing.mate == "ball" else 1150.0
            knock = _wave(pitch * knock_t) * np.exp(
                -knock_t.astype(np.float32) * np.float32(60 if thing.mate == "ball" else 45)
            )
            _add(out, int(where * RATE), np.float32(1.6 if thing.mate == "ball" else 2.2) * knock)
            where += gap
            gap *= 0.78 if thing.mate == "ball" else 1.6

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(rng.random())

    # Distractors: mains hum, hiss of some colour, a stranger's tone for a while, one echo.
    out += np.float32(between(0.05, 0.4)) * _wave((50.0 if rng.random() < 0.5 else 60.0) * 2 * t)
    hiss = _white(rng, SAMPLES)
    if rng.random() < 0.5:
        hiss = (hiss + np.roll(hiss, 1) + np.roll(hiss, 2) + np.roll(hiss, 3)) * np.float32(0.5)
    out += np.float32(between(0.08, 0.5)) * hiss
    begin, length = int(between(0, 0.6) * RATE), int(between(0.15, 0.5) * RATE)
    stranger = _wave(between(300, 3000) * t[:length] + between(-300, 300) * t[:length] ** 2)
    window = np.minimum(np.minimum(np.arange(length), np.arange(length)[::-1]) / 200, 1).astype(np.float32)
    _add(out, begin, np.float32(between(0.1, 0.7)) * stranger * window)
    delay = int(between(0.04, 0.12) * RATE)
    out[delay:] += np.float32(between(0.1, 0.4)) * out[:-delay]
    out *= np.float32(between(0.06, 0.16))
    return Audio((np.round(np.clip(out, -1, 32767 / 32768) * 32768) / 32768).astype(np.float32)[None], RATE)
