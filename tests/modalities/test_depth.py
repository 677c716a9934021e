import numpy as np
import pytest
from PIL import Image as Pillow

from ironbind.modalities.depth import read
from ironbind.types import InputError

MILLIMETRES = np.random.default_rng(0).integers(0, 10_000, (9, 7), dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_are_millimetres(tmp_path, suffix):
    Pillow.fromarray(MILLIMETRES).save(tmp_path / f"a{suffix}")
    metres = read(tmp_path / f"a{suffix}").metres
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(metres, MILLIMETRES.astype(np.float32) / np.float32(1000))


def test_floats_are_metres(tmp_path):
    metres = MILLIMETRES.astype(np.float32) / 777
    np.save(tmp_path / "a.npy", metres)
    Pillow.fromarray(metres).save(tmp_path / "a.tif")
    for name in ("a.npy", "a.tif"):
        np.testing.assert_array_equal(read(tmp_path / name).metres, metres)


@pytest.mark.parametrize(
    "values",
    [
        np.full((3, 3), np.nan, np.float32),
        -np.ones((3, 3), np.float32),
        np.ones((3, 3, 3), np.float32),
        np.ones((0, 3)),
    ],
)
def test_what_no_depth_can_be_is_refused(tmp_path, values):
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=r"a\.npy: holds"):
        read(tmp_path / "a.npy")


def test_a_visualisation_is_refused(tmp_path):
    Pillow.fromarray(MILLIMETRES.astype(np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="mode L; expected one channel of 16-bit"):
        read(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("values", "remarks"),
    [
        (np.zeros((8, 8), np.uint16), ["holds no measurement (every depth is 0)"]),
        (np.full((8, 8), 2500, np.uint16), ["is one depth throughout (2.5 m)"]),
        (np.pad(MILLIMETRES[:2, :2] + 1, 8), ["is mostly not measured (98.8 % of the depths are 0)"]),
        (MILLIMETRES, []),
        (MILLIMETRES.astype(np.float32), ["holds depths above 100 m (up to {:g} m; floating point means metres)"]),
    ],
)
def test_a_map_of_nothing_or_of_millimetres_taken_for_metres_says_so(tmp_path, values, remarks):
    path = tmp_path / "a.tif"
    Pillow.fromarray(values).save(path)
    assert [str(remark) for remark in read(path).remarks] == [remark.format(values.max()) for remark in remarks]
