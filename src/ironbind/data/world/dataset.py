"""The built-in world: one thing per instance, seen and heard in six modalities and told in a caption (ours).

Nothing is stored: instance i of a split is drawn from a counter-based generator keyed by (seed, split, i) and rendered
alone, so its bits depend on nothing else. Splits share no key; "report" is for numbers that are published: nothing is
trained on it, and nothing was ever chosen by it. Twenty shapes are trained on, four never;
each trained shape has one material that it never wears in training (the split "held_out_combinations").
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ironbind.data.layout import Layout
from ironbind.data.world.camera import COLOURS, MATERIALS, Seen, Thing, see
from ironbind.data.world.render import MOMENTS, events, image, points, room, thermal, video
from ironbind.data.world.shapes import SHAPES, TRAINED
from ironbind.data.world.sound import audio
from ironbind.types import Decoded, InputError

SPLITS = ("train", "tune", "test", "held_out_combinations", "held_out_classes", "report")
MODALITIES = ("image", "video", "audio", "point", "thermal", "event", "text")
TEMPLATES = ("a {}.", "this is a {}.", "a {} is here.")
VERSION = 1
"""Goes up whenever a bit of any instance changes."""

CLASSES = tuple(shape.name for shape in SHAPES[:TRAINED])
HELD_OUT_CLASSES = tuple(shape.name for shape in SHAPES[TRAINED:])
HELD_OUT_MATERIAL = {i: MATERIALS[(5 * i + 2) % len(MATERIALS)] for i in range(TRAINED)}
"""The material in which a trained shape (by number) is never seen in train, tune, test or report."""

_RADIUS = {"small": 0.42, "medium": 0.54, "large": 0.68}
_LEAN = {"left": 0.42, "right": -0.42, "upright": 0.0}
_TRAVEL = {"slow": 0.22, "fast": 0.65}


def definition(name: str) -> str:
    """What a dictionary would say of a shape's geometry: "round, open and hollow"."""
    words = next(shape.words for shape in SHAPES if shape.name == name)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _draw(seed: int, split: str, index: int) -> Thing:
    """Instance `index` of a split."""
    rng = np.random.Generator(np.random.Philox(key=[seed * 8 + SPLITS.index(split), index]))
    shape = TRAINED + index % (len(SHAPES) - TRAINED) if split == "held_out_classes" else index % TRAINED
    if split == "held_out_combinations":
        material = HELD_OUT_MATERIAL[shape]
    else:
        allowed = [name for name in MATERIALS if name != HELD_OUT_MATERIAL.get(shape)]
        material = allowed[rng.integers(len(allowed))]

    def one_of(names: Sequence[Any]) -> Any:
        return names[int(rng.integers(len(names)))]

    def between(low: float, high: float) -> float:
        return low + (high - low) * float(rng.random())

    size, lean = one_of(tuple(_RADIUS)), one_of(tuple(_LEAN))
    way, speed = one_of(("left", "right", "up", "down")), one_of(tuple(_TRAVEL))
    return Thing(
        shape=shape, material=material, colour=one_of(tuple(COLOURS)), size=size, lean=lean, way=way, speed=speed,
        mate=one_of((None, "ball", "block")), mate_side=one_of(("left", "right")), mate_colour=one_of(tuple(COLOURS)),
        radius=_RADIUS[size] * between(0.93, 1.07), roll=_LEAN[lean] + between(-0.13, 0.13), yaw=between(-1.1, 1.1),
        spin=between(-1.2, 1.2),
        elevation=between(0.2, 0.65), stretch=(between(0.88, 1.12), between(0.88, 1.12), between(0.88, 1.12)),
        centre=(between(-0.12, 0.12), between(-0.1, 0.14)), travel=_TRAVEL[speed] * between(0.85, 1.15),
        warm=between(0.28, 0.42) * (1 if rng.random() < 0.7 else -1), seed=int(rng.integers(2**62)),
    )  # fmt: skip


def caption(thing: Thing, keep: Callable[[str], bool] = lambda part: True) -> str:
    """One sentence about an instance; `keep` says which parts to tell (size, colour, material, lean, way, mate).

    >>> caption(_draw(0, "test", 0)).startswith("a ")
    True
    """
    noun = [getattr(thing, part) for part in ("size", "colour", "material") if keep(part)]
    out = "a " + " ".join([*noun, SHAPES[thing.shape].name])
    if keep("lean"):
        out += ", upright" if thing.lean == "upright" else f", leaning {thing.lean}"
    if keep("way"):
        out += f", moving {thing.way} {'slowly' if thing.speed == 'slow' else 'fast'}"
    if keep("mate"):
        out += f", with a {thing.mate_colour} {thing.mate} on the {thing.mate_side}" if thing.mate else ", alone"
    return out + "."


class World:
    """A Dataset of `n` instances of one split. `classes[labels[i]]` is the shape; see the module's text for the
    splits.
    """

    name = "world"
    modalities = MODALITIES
    templates: Sequence[str] = TEMPLATES

    def __init__(self, split: str = "test", n: int = 500, seed: int = 0) -> None:
        if split not in SPLITS:
            raise InputError(f"split {split!r} does not exist in the world; expected one of {', '.join(SPLITS)}")
        if n < 1 or seed < 0:
            raise InputError(f"world of n={n}, seed={seed} cannot be drawn; expected n >= 1 and seed >= 0")
        self.split_name, self.seed = split, seed
        self.classes = HELD_OUT_CLASSES if split == "held_out_classes" else CLASSES
        self.ids: Sequence[str] = [f"world/{split}/{seed}/{i:06d}" for i in range(n)]
        self.labels: Sequence[int] = [i % len(self.classes) for i in range(n)]
        self.fingerprint = hashlib.sha256(f"world {VERSION} {split} {seed} {n}".encode()).hexdigest()
        self._captions: list[str] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, name: str, n: int, seed: int | None = None) -> "World":
        """Another split of the same world; instances of different splits are never the same."""
        return World(name, n, self.seed if seed is None else seed)

    def thing(self, index: int) -> Thing:
        """The latent state of instance `index`."""
        return _draw(self.seed, self.split_name, range(len(self))[index])

    @property
    def captions(self) -> Sequence[str]:
        """One caption per instance; the parts a modality cannot show (a colour, to a microphone) are told
        all the same.
        """
        if self._captions is None:
            self._captions = [caption(self.thing(i)) for i in range(len(self))]
        return self._captions

    def decode(self, modality: str, indices: Sequence[int]) -> list[Decoded]:
        """The instances at `indices` in one modality, decoded. Raises InputError for an unknown modality."""
        return self.render([modality], indices)[modality]

    def render(self, modalities: Sequence[str], indices: Sequence[int]) -> dict[str, list[Decoded]]:
        """Several modalities of the same instances at once, sharing what they share; the bits are those of `decode`."""
        for modality in modalities:
            if modality not in MODALITIES:
                raise InputError(
                    f"modality {modality!r} does not exist in the world; expected one of {', '.join(MODALITIES)}"
                )
        out: dict[str, list[Decoded]] = {modality: [] for modality in modalities}
        for index in indices:
            for modality, sample in _render(self.thing(int(index)), set(modalities)).items():
                out[modality].append(sample)
        return out


def _render(thing: Thing, wanted: set[str]) -> dict[str, Decoded]:
    out: dict[str, Decoded] = {}
    if wanted & {"image", "video", "event"}:
        place = room(thing)
    if wanted & {"image", "thermal"}:
        still: Seen = see(thing, np.zeros(1))
        if "image" in wanted:
            out["image"] = image(thing, still, place)
        if "thermal" in wanted:
            out["thermal"] = thermal(thing, still)
    if wanted & {"video", "event"}:
        moving = see(thing, MOMENTS if "event" in wanted else MOMENTS[::2])
        if "video" in wanted:
            out["video"] = video(thing, moving.every(2) if "event" in wanted else moving, place)
        if "event" in wanted:
            out["event"] = events(thing, moving, place)
    if "audio" in wanted:
        out["audio"] = audio(thing)
    if "point" in wanted:
        out["point"] = points(thing)
    if "text" in wanted:
        out["text"] = caption(thing)
    return out


def load(path: str | Path | None = None, *, split: str = "test", n: int = 500, seed: int = 0) -> World:
    """The built-in world: `n` instances of `split`. It is generated, so a path is refused. Raises InputError."""
    if path is not None:
        raise InputError(f"the world is generated, it is not read from {str(path)!r}; expected no path")
    return World(split, n, seed)


LAYOUT = Layout(load)
