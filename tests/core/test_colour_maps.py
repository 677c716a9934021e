"""Colour maps are a picture of ours: no plotting library, no setting of one, takes part in drawing."""

import ast
from pathlib import Path

import numpy as np
import pytest

import ironbind
from ironbind.core.colour_maps import NAMES, colour_map

SOURCE = Path(ironbind.__file__).parent


@pytest.mark.parametrize("name", NAMES)
def test_the_same_colours_as_matplotlib(name):
    colormaps = pytest.importorskip("matplotlib").colormaps
    values = np.random.default_rng(0).uniform(-0.2, 1.2, (40, 50)).astype(np.float32)
    values[0, :5] = 0, 1, 0.5, np.nextafter(np.float32(1), np.float32(0)), 255 / 256
    theirs = (255 * colormaps[name](np.clip(values, 0, 1))[..., :3]).round().astype(np.uint8)
    np.testing.assert_array_equal(colour_map(name, values), theirs)


def test_ends_and_what_is_not_a_number():
    below, low, high, above, unknown = colour_map("viridis", np.array([-3.0, 0.0, 1.0, np.inf, np.nan]))
    assert (below == low).all()
    assert (above == high).all()
    assert (low == (68, 1, 84)).all()
    assert (high == (253, 231, 37)).all()
    assert (unknown == 0).all()


def test_one_channel_of_any_shape():
    assert colour_map("magma", np.zeros((2, 3, 4), np.float64)).shape == (2, 3, 4, 3)
    assert colour_map("magma", np.float32(0.5)).shape == (3,)


def test_nothing_imports_a_plotting_library():
    """Its backend comes from the environment: a notebook's MPLBACKEND then ends a run that has done all its work."""
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.split(".")[0] == "matplotlib" for name in names), path
