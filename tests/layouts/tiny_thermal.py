"""Tiny sets in the real formats of thermal data sets: grey JPEGs of three channels, 16-bit TIFFs, VOC and COCO
annotations.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from layouts.tiny_pictures import picture, pixels
from layouts.tiny_sounds import text

WIDTH, HEIGHT = 64, 48
VOC = """<?xml version="1.0" encoding="utf-8"?>
<annotation>
  <folder>visible</folder>
  <filename>{stem}.jpg</filename>
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
  <segmented>0</segmented>
{objects}</annotation>
"""
OBJECT = """  <object>
    <name>person</name><pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>
    <bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>
  </object>
"""


def grey(path: Path, seed: int = 0) -> Path:
    """A thermal picture as cameras export it: a JPEG of three equal channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(pixels(seed, HEIGHT, WIDTH, 1)).convert("RGB").save(path, "JPEG", quality=95)
    return path


def counts(path: Path, seed: int = 0) -> np.ndarray:
    """A 16-bit TIFF of a sensor's counts, somewhere above 20,000; returns what it wrote."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = (20_000 + np.random.default_rng(seed).integers(0, 5000, (HEIGHT, WIDTH))).astype(np.uint16)
    Pillow.fromarray(values).save(path, "TIFF", compression="tiff_lzw")
    return values


def voc(path: Path, boxes: Sequence[Sequence[float]], width: int = WIDTH, height: int = HEIGHT) -> Path:
    objects = "".join(OBJECT.format(*box) for box in boxes)
    return text(path, VOC.format(stem=path.stem, width=width, height=height, objects=objects))


PERSONS = {"190001": [(5, 10, 15, 40), (30, 8, 42, 45)], "190002": [(50, 20, 60, 44), (7, 7, 7, 30)], "190003": []}


def llvip(root: Path) -> dict[str, Any]:
    """Three pictures: two persons; one and a degenerate box; nobody."""
    for number, (stem, boxes) in enumerate(PERSONS.items()):
        grey(root / "infrared" / "test" / f"{stem}.jpg", number)
        visible = root / "visible" / "test" / f"{stem}.jpg"
        visible.parent.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(pixels(10 + number, HEIGHT, WIDTH)).save(visible, "JPEG")
        voc(root / "Annotations" / f"{stem}.xml", boxes)
    grey(root / "infrared" / "train" / "010001.jpg")
    return {}


def llvip_published(root: Path) -> dict[str, Any]:
    for name in ("background", "person"):
        for number in range(2):
            grey(root / "val" / name / f"{name}_{number}.jpg", number)
    return {}


THINGS = [
    (0, 3, (4.2, 5.0, 20.0, 10.5)),
    (0, 1, (30, 10, 8, 20)),
    (1, 3, (0, 0, 12, 12)),
    (1, 2, (40, 30, 30, 30)),
    (1, 1, (5, 5, 0, 9)),
    (2, 1, (1, 1, 2, 3)),
]


def coco(path: Path, files: Sequence[str]) -> None:
    categories = [
        {"id": 1, "name": "person"},
        {"id": 2, "name": "bicycle"},
        {"id": 3, "name": "car"},
        {"id": 4, "name": "dog"},
    ]
    images = [
        {"id": 10 + number, "file_name": file, "width": WIDTH, "height": HEIGHT} for number, file in enumerate(files)
    ]
    things = [
        {"id": n, "image_id": 10 + image, "category_id": kind, "bbox": box, "iscrowd": 0}
        for n, (image, kind, box) in enumerate(THINGS)
    ]
    things.append({"id": 99, "image_id": 10, "category_id": 4, "bbox": [0, 0, 50, 40], "iscrowd": 1})
    text(path, json.dumps({"images": images, "annotations": things, "categories": categories}))


def flir(root: Path) -> dict[str, Any]:
    """Version 1, raw: 8 bits and 16, three pictures."""
    stems = [f"FLIR_0886{number}" for number in range(3)]
    for number, stem in enumerate(stems):
        grey(root / "val" / "thermal_8_bit" / f"{stem}.jpeg", number)
        counts(root / "val" / "thermal_16_bit" / f"{stem}.tiff", number)
    coco(root / "val" / "thermal_annotations.json", [f"thermal_8_bit/{stem}.jpeg" for stem in stems])
    return {}


def flir_v2(root: Path) -> dict[str, Any]:
    files = [f"data/video-57kWWRyeqqHs3Byei-frame-00081{number}-b6tuLjNco8MfoBs3d.jpg" for number in range(3)]
    for number, file in enumerate(files):
        grey(root / "images_thermal_val" / file, number)
    coco(root / "images_thermal_val" / "coco.json", files)
    return {}


def flir_published(root: Path) -> dict[str, Any]:
    for name in ("bicycle", "car", "dog", "person"):
        for number in range(2):
            grey(root / "val" / name / f"{number}.jpeg", number)
    return {}


def rgbt(root: Path) -> dict[str, Any]:
    for name in ("night_street", "yard"):
        for number in range(2):
            grey(root / "Infrared" / name / f"{number}.jpg", number)
            picture(root / "RGB" / name / f"{number}.png", "png", number)
    return {}


EXAMPLES = {"llvip": llvip, "flir": flir, "rgbt": rgbt}
