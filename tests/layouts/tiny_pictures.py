"""Tiny sets in the real formats of picture data sets: the odd JPEGs and PNGs of ImageNet, its three layouts, Places365,
Caltech-101.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from layouts.tiny_sounds import table, text

WNIDS = ("n01440764", "n02012849", "n03126707")  # tench, crane (a bird), crane (a machine)


def pixels(seed: int, height: int = 12, width: int = 16, channels: int = 3) -> np.ndarray:
    """A smooth picture, which survives JPEG."""
    rng = np.random.default_rng(seed)
    corners = Pillow.fromarray(rng.integers(0, 256, (2, 2, channels), dtype=np.uint8).squeeze())
    return np.asarray(corners.resize((width, height), Pillow.Resampling.BILINEAR))


def encoded(kind: str, seed: int = 0) -> bytes:
    """A picture as one of the kinds met in ImageNet: jpeg, cmyk, grey, png, rgba, grey16."""
    out = io.BytesIO()
    if kind == "cmyk":
        Pillow.fromarray(pixels(seed)).convert("CMYK").save(out, "JPEG", quality=95)
    elif kind == "grey":
        Pillow.fromarray(pixels(seed, channels=1)).save(out, "JPEG", quality=95)
    elif kind == "grey16":
        Pillow.fromarray(pixels(seed, channels=1).astype(np.uint16) * 257).save(out, "PNG")
    elif kind == "rgba":
        Pillow.fromarray(np.dstack([pixels(seed), np.full((12, 16), 128, np.uint8)])).save(out, "PNG")
    else:
        Pillow.fromarray(pixels(seed)).save(out, "PNG" if kind == "png" else "JPEG")
    return out.getvalue()


def picture(path: Path, kind: str = "jpeg", seed: int = 0) -> Path:
    """The bytes decide, not the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(kind, seed))
    return path


KINDS = ("jpeg", "cmyk", "grey", "png", "jpeg", "rgba")


def imagenet(root: Path) -> dict[str, Any]:
    for number, kind in enumerate(KINDS):
        picture(root / "val" / WNIDS[number % 3] / f"ILSVRC2012_val_{number + 1:08}.JPEG", kind, number)
    return {}


def imagenet_kaggle(root: Path) -> dict[str, Any]:
    rows = [
        (f"ILSVRC2012_val_{number + 1:08}", f"{WNIDS[number % 3]} 1 2 9 8 {WNIDS[number % 3]} 3 3 4 4 ")
        for number in range(6)
    ]
    for number, (image, _) in enumerate(rows):
        picture(root / "ILSVRC" / "Data" / "CLS-LOC" / "val" / f"{image}.JPEG", KINDS[number], number)
    table(root / "LOC_val_solution.csv", [("ImageId", "PredictionString"), *reversed(rows)])
    text(root / "LOC_synset_mapping.txt", "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\n")
    return {}


def imagenet_parquet(
    root: Path, labels: Sequence[int] = (0, 134, 517, 0, 134, 517), shards: int = 2, names: Sequence[str] | None = None
) -> dict[str, Any]:
    """As `datasets` writes them: a struct of bytes and path, an int64 label, row groups, and the features in the
    schema's metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    (root / "data").mkdir(parents=True, exist_ok=True)
    features = {
        "image": {"_type": "Image"},
        "label": {"_type": "ClassLabel"} | ({"names": list(names)} if names else {}),
    }
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    each = len(labels) // shards
    for shard in range(shards):
        rows = range(shard * each, (shard + 1) * each)
        images = [
            {"bytes": encoded(KINDS[row % len(KINDS)], row), "path": f"ILSVRC2012_val_{row + 1:08}.JPEG"}
            for row in rows
        ]
        found = pa.table({"image": images, "label": [labels[row] for row in rows]}, schema=schema)
        pq.write_table(found, root / "data" / f"validation-{shard:05}-of-{shards:05}.parquet", row_group_size=2)
    return {}


def places365(root: Path) -> dict[str, Any]:
    text(root / "categories_places365.txt", "/a/airfield 0\n/a/apartment_building/outdoor 1\n/z/zen_garden 2\n")
    lines = [f"Places365_val_{number + 1:08}.jpg {number % 3}\n" for number in range(6)]
    text(root / "places365_val.txt", "".join(lines))
    for number in range(6):
        picture(root / "val_256" / f"Places365_val_{number + 1:08}.jpg", "jpeg", number)
    return {}


def places365_folders(root: Path) -> dict[str, Any]:
    for name in ("airfield", "apartment_building-outdoor", "zen_garden"):
        for number in range(2):
            picture(root / "val" / name / f"Places365_val_{number + 1:08}.jpg", seed=number)
    return {}


def caltech101(root: Path, count: int = 3) -> dict[str, Any]:
    for folder in ("BACKGROUND_Google", "Faces", "Faces_easy", "Motorbikes", "car_side"):
        for number in range(count):
            kind = "grey" if folder == "car_side" else "jpeg"
            picture(root / "101_ObjectCategories" / folder / f"image_{number + 1:04}.jpg", kind, number)
    return {}


EXAMPLES = {"imagenet": imagenet, "places365": places365, "caltech101": caltech101}
