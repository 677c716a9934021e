"""NYU-D and SUN RGB-D on tiny 16-bit PNGs: millimetres, and millimetres rotated by three bits."""

import numpy as np
import pytest
from PIL import Image as Pillow
from scipy.io import savemat

from ironbind.data import detect, load_dataset
from ironbind.data.layouts.depth.sund import read_rotated
from ironbind.types import InputError
from layouts import tiny_rooms as tiny
from layouts.tiny_pictures import picture
from refusals import refused


def test_nyud_is_metres(tmp_path):
    tiny.nyud(tmp_path)
    data = load_dataset("nyud", tmp_path)
    assert (data.name, data.classes, data.modalities) == (
        "nyud",
        ("bathroom", "dining room", "home office", "others"),
        ("depth",),
    )
    assert np.array_equal(np.round(data.decode("depth", [1])[0].metres * 1000), tiny.millimetres(1))
    picture(tmp_path / "data" / "val" / "others" / "visualised.png", "png")
    kept = load_dataset("nyud", tmp_path, skip_unreadable=True)
    assert len(kept.problems) == 1
    assert "expected one channel of 16-bit millimetres" in kept.problems[0]


def test_every_rotated_value_comes_back(tmp_path):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Pillow.fromarray(values << 3 | values >> 13).save(tmp_path / "a.png")
    metres = read_rotated(tmp_path / "a.png").metres
    assert np.array_equal(np.round(metres * 1000), np.minimum(values, 8000)), "cut at 8 m, as the toolbox does"
    Pillow.fromarray(values.astype(np.uint8)).save(tmp_path / "b.png")
    with pytest.raises(InputError, match="is a picture of mode L; expected one channel of 16 bits"):
        read_rotated(tmp_path / "b.png")


def test_sund_raw(tmp_path):
    tiny.sund(tmp_path)
    data = load_dataset("sund", tmp_path)
    assert len(data.classes) == 19
    assert [data.classes[label] for label in data.labels] == ["bathroom", "dining room", "bathroom", "dining room"]
    assert data.ids[0] == "kv1/NYUdata/NYU0001"
    assert any("1 samples of other than the 19" in note for note in data.notes)
    assert np.array_equal(np.round(data.decode("depth", [0])[0].metres * 1000), np.minimum(tiny.millimetres(0), 8000))
    filled = load_dataset("sund", tmp_path, filled=True)
    assert np.array_equal(
        np.round(filled.decode("depth", [0])[0].metres * 1000), np.minimum(tiny.millimetres(100), 8000)
    )
    both = load_dataset("sund", tmp_path / "SUNRGBD", modality=("depth", "image"))
    assert both.modalities == ("depth", "image")
    assert both.decode("image", [3])[0].pixels.shape == (12, 16, 3)
    refused("modality 'audio'", "sund", tmp_path, modality="audio")
    (tmp_path / "SUNRGBD" / "kv1/NYUdata/NYU0001" / "depth" / "0.png").unlink()
    refused("kv1/NYUdata/NYU0001/depth: holds no picture; expected one .1 such of sund", "sund", tmp_path)
    assert len(load_dataset("sund", tmp_path, skip_unreadable=True).problems) == 1


def test_the_official_split_of_sund(tmp_path):
    tiny.sund(tmp_path)
    refused("has no allsplit.mat for the split 'test'", "sund", tmp_path, split="test")
    folder = tmp_path / "SUNRGBDtoolbox" / "traintestSUNRGBD"
    folder.mkdir(parents=True)
    places = [f"/n/fs/sun3d/data/SUNRGBD/{one}" for one in tiny.SAMPLES]
    savemat(
        folder / "allsplit.mat",
        {
            "alltest": np.array([places[:1] + places[3:]], dtype=object),
            "alltrain": np.array([places[1:3]], dtype=object),
        },
    )
    assert list(load_dataset("sund", tmp_path, split="test").ids) == [
        "kv1/NYUdata/NYU0001",
        "xtion/sun3ddata/home/0001",
    ]
    assert list(load_dataset("sund", tmp_path, split="train").ids) == [
        "kv1/NYUdata/NYU0002",
        "kv2/kinect2data/000065_2014",
    ]
    refused("has no split 'val'", "sund", tmp_path, split="val")
    (folder / "allsplit.mat").write_bytes(b"MATLAB 5.0 MAT-file, or not")
    refused("allsplit.mat: cannot be read", "sund", tmp_path, split="test")


def test_sund_in_class_folders(tmp_path):
    for number, scene in enumerate(("bathroom", "study_space")):
        tiny.depth(tmp_path / "val" / scene / "a.png", number, rotated=True)
    data = load_dataset("sund", tmp_path, split="val")
    assert data.classes == ("bathroom", "study space")
    assert np.array_equal(np.round(data.decode("depth", [1])[0].metres * 1000), np.minimum(tiny.millimetres(1), 8000))
    plain = load_dataset("sund", tmp_path, split="val", rotated=False)
    assert not np.array_equal(plain.decode("depth", [1])[0].metres, data.decode("depth", [1])[0].metres)
    assert "sund" not in detect(tmp_path), "class folders of rooms could be anyone's"
