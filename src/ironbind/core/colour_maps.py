"""Five colour maps as a picture of 256 columns, so that drawing needs no plotting library and none of its settings."""

from functools import cache
from pathlib import Path

import numpy as np

NAMES = ("viridis", "inferno", "magma", "plasma", "RdBu_r")
"""The rows of `colour_maps.png`: matplotlib's public-domain maps, and ColorBrewer's red to blue, reversed."""


@cache
def _table() -> dict[str, np.ndarray]:
    from PIL import Image

    with Image.open(Path(__file__).with_name("colour_maps.png")) as picture:
        return dict(zip(NAMES, np.asarray(picture.convert("RGB")), strict=True))


def colour_map(name: str, values: np.ndarray) -> np.ndarray:
    """Numbers -> uint8 RGB in a last axis of 3, through one of NAMES.

    0 is the map's first colour, 1 its last; what lies outside has the colour of the nearer end, what is not a number is
    black.
    """
    table = np.concatenate([_table()[name], np.zeros((1, 3), np.uint8)])
    values = np.asarray(values)
    known = ~np.isnan(values)
    index = np.full(np.shape(values), len(table) - 1)
    index[known] = (np.clip(values[known], 0, 1) * 256).astype(int).clip(0, 255)
    return table[index]
