"""Sizes at which the ports are built in a blink: the official architectures, only narrower and shallower."""

from dataclasses import replace

from ironbind.encoders.imagebind.model import HUGE, TowerSize
from ironbind.encoders.languagebind import encoder as languagebind
from ironbind.encoders.languagebind.model import LARGE, VIDEO
from ironbind.encoders.unibind.point_tower import LevelSize

SIZES = {name: TowerSize(16, 2, 2, size.scale) for name, size in HUGE.items()}
LEVELS = (LevelSize(64, 8, 12, 0.4, 1, 2), LevelSize(32, 6, 16, 0.8, 1, 2), LevelSize(8, 4, 24, 1.2, 1, 2))
SMALL = {"width": 16, "depth": 1, "heads": 2, "dim": 12, "text_width": 16, "text_depth": 1, "text_heads": 2}
VARIANTS = {
    "image": languagebind.Variant("image", replace(LARGE, **SMALL), "-"),
    "video": languagebind.Variant("video", replace(VIDEO, **SMALL), "-"),
}
