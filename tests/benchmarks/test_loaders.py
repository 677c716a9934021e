"""The benchmark of loaders: it has a set of every layout, measures what it says and writes between the markers. What it
finds is not tested.
"""

import sys

import loaders
import numpy as np
import pytest
from loader_sets import SETS

from ironbind.data import DATASETS


def test_there_is_a_set_of_every_layout():
    assert {made.name for made in SETS} == set(DATASETS) - {"world"}


@pytest.mark.skipif(sys.platform != "linux", reason="peaks of memory are read from /proc")
@pytest.mark.parametrize(
    "made",
    [made for made in SETS if "fps" not in made.sample and "off" not in made.sample],
    ids=lambda made: made.sample,
)
def test_each_set_is_what_its_layout_expects(tmp_path, made, monkeypatch):
    monkeypatch.setattr(loaders, "PASSES", 1)
    made.write(tmp_path, 4, np.random.default_rng(0))
    found = loaders.measure(made.name, tmp_path, made.options)
    assert found["n"] == 4
    assert found["load"] > 0
    assert found["rate"] > 0
    assert loaders.row_of(made, found).count("|") == 7
