"""The table of trainable shares: counted from shapes alone, by hand where a hand can, and that of the docs."""

from pathlib import Path

import parameter_shares as shares
import pytest

from ironbind.calibration.adapters import share
from ironbind.recipes.calibrations import FOLDABLE
from ironbind.types import AdapterShape

DOCS = Path(__file__).parents[2] / "docs" / "hardening.md"


def test_a_clip_tower_by_hand():
    width, depth, rank, channels = 1024, 24, 4, 16
    attention = 4 * rank * (width + width)
    mlp = 2 * rank * (width + 4 * width)
    norms = 2 * 2 * width
    stem = rank * 3 * 14 * 14 + rank * width
    ends = 2 * 2 * width + rank * (width + 768)
    full = (2 * 3 * 9 + 1) * channels + (channels * 9 + 1) * 3
    half = (channels * 9 + 1) * 2 * channels + (2 * channels * 9 + 1) * 2 * channels + (2 * channels + 1) * channels
    purifier = full + half
    counted = share(shares.languagebind("languagebind-image"), "image", AdapterShape(rank, True, channels))
    assert counted.trained == depth * (attention + mlp + norms) + stem + ends + purifier
    assert counted.trained / counted.tower < 0.01


def test_the_whole_of_imagebind_keeps_99_parts_in_a_hundred():
    encoder = shares.imagebind()
    for modality in ("image", "audio", "thermal"):
        counted = share(encoder, modality, AdapterShape())
        assert counted.trained / counted.tower < 0.01
        assert counted.trained / counted.encoder < 0.0025
        assert counted.encoder == 1_200_781_057
        cores = share(encoder, modality, FOLDABLE)
        assert cores.trained < counted.trained / 5


@pytest.mark.slow
def test_the_docs_show_the_table_as_it_is():
    shown = DOCS.read_text(encoding="utf-8").split("<!-- shares: begin -->\n")[1].split("<!-- shares: end -->")[0]
    assert shown.strip() == shares.table().strip()
