"""Tiny sets in the real formats of depth data sets: 16-bit PNGs in millimetres, and SUN RGB-D's, rotated by
three bits.
"""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from layouts.tiny_pictures import picture
from layouts.tiny_sounds import text


def millimetres(seed: int = 0) -> np.ndarray:
    """Up to 9 m, a hole in the corner."""
    values = np.random.default_rng(seed).integers(500, 9000, (6, 8)).astype(np.uint16)
    values[0, 0] = 0
    return values


def depth(path: Path, seed: int = 0, rotated: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = millimetres(seed)
    Pillow.fromarray(values << 3 | values >> 13 if rotated else values).save(path, "PNG")
    return path


def nyud(root: Path) -> dict[str, Any]:
    for scene in ("bathroom", "dining_room", "home_office", "others"):
        for number in range(2):
            depth(root / "data" / "val" / scene / f"{scene}_{number:05}.png", number)
    return {}


SAMPLES = {
    "kv1/NYUdata/NYU0001": "bathroom", "kv1/NYUdata/NYU0002": "dining_room", "kv2/kinect2data/000065_2014": "bathroom",
    "xtion/sun3ddata/home/0001": "dining_room", "realsense/sa/0001": "idk",
}  # fmt: skip


def sund(root: Path) -> dict[str, Any]:
    for number, (sample, scene) in enumerate(SAMPLES.items()):
        folder = root / "SUNRGBD" / sample
        text(folder / "scene.txt", scene)
        text(
            folder / "intrinsics.txt",
            "518.857901 0.000000 284.582449 \n0.000000 519.469611 208.736166 \n0.000000 0.000000 1.000000 \n",
        )
        depth(folder / "depth" / f"{number}.png", number, rotated=True)
        depth(folder / "depth_bfx" / f"{number}.png", 100 + number, rotated=True)
        picture(folder / "image" / f"{number}.jpg", seed=number)
    return {}


EXAMPLES = {"nyud": nyud, "sund": sund}
