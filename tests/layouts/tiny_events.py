"""Tiny sets in the real formats of event recordings: 5 bytes an event with overflow rows, structured arrays.

Each example fills the folder it is given and returns the options that load it.
"""

from pathlib import Path
from typing import Any

import numpy as np

from layouts.tiny_sounds import text

WNIDS = ("n01440764", "n02123045", "n15075141")  # tench, tabby, toilet tissue


def five_byte_events(path: Path, seed: int, count: int = 60, width: int = 200, height: int = 150) -> Path:
    """An N-Caltech101 recording with two overflow rows; its first and last event lie in the corners, so that its size
    is known.
    """
    rng = np.random.default_rng(seed)
    x, y, p = rng.integers(0, width, count), rng.integers(0, height, count), rng.integers(0, 2, count)
    x[[0, -1]], y[[0, -1]] = (0, width - 1), (0, height - 1)
    t = np.sort(rng.integers(0, 300_000, count))
    y[[count // 3, count // 2]] = 240
    path.parent.mkdir(parents=True, exist_ok=True)
    np.stack([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255], axis=-1).astype(np.uint8).tofile(path)
    return path


def ncaltech101(root: Path) -> dict[str, Any]:
    for label, name in enumerate(("Faces_easy", "accordion", "BACKGROUND_Google")):
        for number in (1, 2):
            path = root / "Caltech101" / name / f"image_{number:04d}.bin"
            five_byte_events(path, 10 * label + number, width=200 + number, height=150 + label)
    text(root / "Caltech101_annotations" / "accordion" / "annotation_0001.bin", "not events")
    return {}


def nimagenet(root: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    for part, wnid in enumerate(WNIDS, start=1):
        for number in (1, 2):
            rows = np.zeros(50, [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "?")])
            rows["x"], rows["y"] = rng.integers(0, 640, 50), rng.integers(0, 480, 50)
            rows["t"], rows["p"] = np.sort(rng.integers(0, 50_000, 50)), rng.integers(0, 2, 50)
            path = root / "extracted_val" / f"Part_{part}" / wnid / f"ILSVRC2012_val_{part}{number:07d}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(path, event_data=rows)
    return {}


EXAMPLES = {"ncaltech101": ncaltech101, "nimagenet": nimagenet}
