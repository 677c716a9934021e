"""Boxes around things in pictures: read from Pascal VOC (XML) and COCO (JSON) annotations, and drawn at random beside
them.
"""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

import numpy as np

from ironbind.data.list_files import json_of
from ironbind.modalities.reading import reading
from ironbind.types import InputError

Box = tuple[int, int, int, int]
"""left, top, right, bottom in pixels; right and bottom excluded."""
TRIES = 100  # places drawn for a box before it is given up


class Boxed(NamedTuple):
    """A picture's annotation: `file` as the annotation names it, `width` and `height` in pixels, and each thing's name
    and box as annotated.
    """

    file: str
    width: int
    height: int
    things: list[tuple[str, tuple[float, float, float, float]]]


def within(box: tuple[float, float, float, float], width: int, height: int) -> Box | None:
    """`box` in whole pixels, cut to the picture; None where it is degenerate: nothing of it is left, or it is not
    finite.
    """
    if not np.isfinite(box).all():
        return None
    left, top, right, bottom = (round(edge) for edge in box)
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    return (left, top, right, bottom) if left < right and top < bottom else None


def beside(
    things: Sequence[Box], size: tuple[int, int], width: int, height: int, key: Sequence[int | str]
) -> Box | None:
    """A box of `size` (width, height) somewhere in the picture that touches none of `things`, drawn by `key`; None
    where none was found.

    The draw depends on `key` alone (ours: a seed, the picture's name, a number), not on other pictures.
    """
    rng = np.random.default_rng([part if isinstance(part, int) else zlib.crc32(part.encode()) for part in key])
    wide, high = size
    if wide > width or high > height:
        return None
    for _ in range(TRIES):
        left, top = int(rng.integers(width - wide + 1)), int(rng.integers(height - high + 1))
        if not any(left < r and l < left + wide and top < b and t < top + high for l, t, r, b in things):  # noqa: E741
            return left, top, left + wide, top + high
    return None


def read_voc(path: Path) -> Boxed:
    """A Pascal VOC annotation. Its corners are taken as edges: a box is xmax - xmin wide. Raises InputError, also for
    any document type (DTD): entities can make a small file endless, and VOC has none."""
    expected = "a Pascal VOC annotation: size (width, height) and objects (name, bndbox)"
    trail: list[str] = []
    text: dict[str, str] = {}  # of the annotation's own fields
    objects: list[dict[str, str]] = []  # of each object's

    def start(tag: str, _: dict[str, str]) -> None:
        trail.append(tag)
        if len(trail) == 2 and tag == "object":
            objects.append({})

    def data(written: str) -> None:
        inside = len(trail) > 2 and trail[1] == "object"
        place, key = (objects[-1], "/".join(trail[2:])) if inside else (text, "/".join(trail[1:]))
        place[key] = place.get(key, "") + written

    def refuse(*_: object) -> None:
        raise InputError(f"{path}: declares a document type; expected {expected}, without one")

    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, lambda _: trail.pop()
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = data, refuse
    edges = ("bndbox/xmin", "bndbox/ymin", "bndbox/xmax", "bndbox/ymax")
    with reading(path, expected):
        parser.Parse(path.read_bytes(), True)
        lacking = [key for fields in objects for key in ("name", *edges) if key not in fields]
        lacking += [key for key in ("size/width", "size/height") if key not in text]
        if lacking:
            raise InputError(f"{path}: has no {lacking[0]}; expected {expected}")
        boxes = [
            (float(fields[edges[0]]), float(fields[edges[1]]), float(fields[edges[2]]), float(fields[edges[3]]))
            for fields in objects
        ]
        things = [(fields["name"].strip(), box) for fields, box in zip(objects, boxes, strict=True)]
        return Boxed(text.get("filename", "").strip(), int(text["size/width"]), int(text["size/height"]), things)


def read_coco(path: Path) -> tuple[list[Boxed], dict[int, str]]:
    """The pictures of a COCO file in its order, and its categories by number. Boxes around crowds are left out. Raises
    InputError.
    """
    expected = (
        "COCO: images (id, file_name, width, height), annotations (image_id, category_id, bbox), categories (id, name)"
    )
    coco = json_of(path, expected)
    try:
        names = {int(category["id"]): str(category["name"]) for category in coco["categories"]}
        pictures = {
            image["id"]: Boxed(str(image["file_name"]), int(image["width"]), int(image["height"]), [])
            for image in coco["images"]
        }
        for annotation in coco["annotations"]:
            if not annotation.get("iscrowd"):
                left, top, wide, high = map(float, annotation["bbox"])
                pictures[annotation["image_id"]].things.append(
                    (names[int(annotation["category_id"])], (left, top, left + wide, top + high))
                )
    except (
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        OverflowError,
    ) as error:  # the last: int() of an infinite number
        what = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:100]
        raise InputError(f"{path}: {what}; expected {expected}") from error
    return list(pictures.values()), names
