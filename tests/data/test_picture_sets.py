"""ImageNet in its three layouts, Places365, Caltech-101, on tiny files of the real formats."""

from collections import Counter

import numpy as np
import pytest
from PIL import Image as Pillow

from ironbind.core.names.imagenet_names import names_of, wnids
from ironbind.data import detect, load_dataset
from ironbind.modalities import MODALITIES
from ironbind.types import InputError
from layouts import tiny_pictures as tiny
from refusals import refused

# ------------------------------------------------------------------------------------------------ odd pictures


@pytest.mark.parametrize("kind", ["jpeg", "cmyk", "grey", "png", "rgba", "grey16"])
def test_odd_pictures_called_jpeg_are_read_as_rgb(tmp_path, kind):
    read = MODALITIES["image"].read(tiny.picture(tmp_path / "a.JPEG", kind, 5)).pixels.astype(int)
    channels = 1 if kind.startswith("grey") else 3
    expected = tiny.pixels(5, channels=channels).astype(int)
    expected = expected if channels == 3 else np.repeat(expected[..., None], 3, -1)
    assert read.shape == (12, 16, 3)
    if kind in ("png", "rgba", "grey16"):
        assert np.array_equal(read, expected), "exact: alpha is dropped, 16 bits are scaled"
    else:
        assert np.abs(read - expected).mean() < 6, "as near as a JPEG gets; CMYK is not inverted"


def test_thermal_pictures_keep_their_bits(tmp_path):
    values = np.array([[0, 1, 255, 256], [20_000, 20_001, 65_534, 65_535]], np.uint16)
    for name, options in {"a.tiff": {}, "b.tiff": {"compression": "tiff_lzw"}, "c.png": {}}.items():
        Pillow.fromarray(values).save(tmp_path / name, **options)
        assert np.array_equal(
            np.round(MODALITIES["thermal"].read(tmp_path / name).intensity.astype(np.float64) * 65535), values
        ), name
    Pillow.fromarray(np.uint8([[0, 128, 255]])).convert("RGB").save(tmp_path / "d.png")
    assert np.array_equal(MODALITIES["thermal"].read(tmp_path / "d.png").intensity * 255, [[0, 128, 255]])
    Pillow.fromarray(np.uint8([[[200, 0, 0]]])).convert("CMYK").save(tmp_path / "e.jpg")
    with pytest.raises(InputError, match="colour picture"):
        MODALITIES["thermal"].read(tmp_path / "e.jpg")


# ----------------------------------------------------------------------------------------------------- ImageNet


def test_the_three_layouts_of_imagenet_say_the_same(tmp_path):
    found = {}
    for make in (tiny.imagenet, tiny.imagenet_kaggle, tiny.imagenet_parquet):
        root = tmp_path / make.__name__
        make(root)
        assert next(iter(detect(root))) == "imagenet"
        data = load_dataset("imagenet", root)
        found[make.__name__] = {
            key.rpartition("/")[2].partition(".")[0]: (data.classes[label], one.pixels)
            for key, label, one in zip(data.ids, data.labels, data.decode("image", range(len(data))), strict=True)
        }
    first = found["imagenet"]
    assert Counter(name for name, _ in first.values()) == {"tench": 2, "crane bird": 2, "construction crane": 2}
    for other in found.values():
        assert set(other) == set(first)
        assert all(other[key][0] == first[key][0] and np.array_equal(other[key][1], first[key][1]) for key in first)


def test_imagenet_folders(tmp_path):
    tiny.imagenet(tmp_path)
    (tmp_path / "val" / "n01440764" / "readme.txt").write_text("x")
    data = load_dataset("imagenet", tmp_path)
    assert data.classes == ("tench", "crane bird", "construction crane")
    assert data.ids[0] == "n01440764/ILSVRC2012_val_00000001"
    assert data.notes == ("1 files are ignored: no pictures", "3 of ImageNet's 1000 classes")
    assert list(load_dataset("imagenet", tmp_path / "val").ids) == list(data.ids)
    assert load_dataset("imagenet", tmp_path, names="wordnet").classes == data.classes
    refused("names 'german' are not known", "imagenet", tmp_path, names="german")
    (tmp_path / "val" / "n99999999").mkdir()
    assert "LOC_synset_mapping.txt" in refused("class 'n99999999' is none of the 1000", "imagenet", tmp_path)
    (tmp_path / "LOC_synset_mapping.txt").write_text("n99999999 crane, something new\nn01440764 tench, Tinca tinca\n")
    assert load_dataset("imagenet", tmp_path).classes[-1] == "crane"
    assert load_dataset("imagenet", tmp_path, names="wordnet").classes[-1] == "crane, something new"
    (tmp_path / "LOC_synset_mapping.txt").write_text("1 tench\n")
    refused("'1' for a wnid", "imagenet", tmp_path)


def test_every_class_of_imagenet_has_a_name_of_its_own():
    assert len(wnids()) == 1000
    assert list(wnids()) == sorted(wnids())
    assert (wnids()[0], wnids()[999]) == ("n01440764", "n15075141")
    for kind in ("clip", "wordnet"):
        assert len(set(names_of(wnids(), kind))) == 1000
    clip, wordnet = names_of(wnids()), names_of(wnids(), "wordnet")
    assert [clip[i] for i in (134, 517, 657, 744, 836, 837)] == [
        "crane bird",
        "construction crane",
        "missile",
        "projectile",
        "sunglass",
        "sunglasses",
    ]
    assert [wordnet[i] for i in (134, 517, 638, 639)] == [
        "crane bird",
        "construction crane",
        "maillot",
        "maillot, tank suit",
    ]
    assert names_of(["n03126707"], "wordnet") == ("construction crane",), (
        "a class is called the same when others are left out"
    )


def test_bad_lists_of_imagenet_are_named(tmp_path):
    tiny.imagenet_kaggle(tmp_path)
    solution = tmp_path / "LOC_val_solution.csv"
    whole = solution.read_text()
    for text, words in [
        (whole.replace("n02012849", "n00000000"), "says 'n00000000' of ILSVRC2012_val_0000000"),
        ("a,b\n1,2\n", "columns a, b"), ("", "bytes"),
    ]:  # fmt: skip
        solution.write_text(text)
        assert solution.name in refused(words, "imagenet", tmp_path)
    solution.write_text(whole + "ILSVRC2012_val_00000099,n01440764\n")
    assert "1 of 7" in refused("ILSVRC2012_val_00000099.JPEG: is missing", "imagenet", tmp_path)
    assert len(load_dataset("imagenet", tmp_path, skip_unreadable=True).problems) == 1
    solution.unlink()
    refused("holds no picture folders, LOC_val_solution.csv or validation", "imagenet", tmp_path)


def test_bad_shards_of_imagenet_are_named(tmp_path):
    names = ["tench", "goldfish"]
    tiny.imagenet_parquet(tmp_path, labels=(0, 1, 1, 0), names=names)
    data = load_dataset("imagenet", tmp_path)
    assert (data.classes, list(data.labels)) == (("tench", "goldfish"), [0, 1, 1, 0])
    assert data.decode("image", [3])[0].pixels.shape == (12, 16, 3)
    tiny.imagenet_parquet(tmp_path, labels=(0, 1, 2, 0), names=names)
    refused(r"validation-00001-of-00002\.parquet: row 0 has the label 2; expected 0 to 1", "imagenet", tmp_path)
    tiny.imagenet_parquet(tmp_path, labels=(0, -1, 1, 0), names=names)
    refused("the test split's labels are not public", "imagenet", tmp_path)
    tiny.imagenet_parquet(tmp_path, labels=(0, 1, 1, 0), names=["crane", "crane"])
    refused("two of 2 classes alike", "imagenet", tmp_path)
    shard = tmp_path / "data" / "validation-00000-of-00002.parquet"
    shard.write_bytes(shard.read_bytes()[:100])
    refused("validation-00000-of-00002.parquet: cannot be read", "imagenet", tmp_path)


# ----------------------------------------------------------------------------------------------------- Places365


def test_places365_by_list_and_by_folders(tmp_path):
    tiny.places365(tmp_path / "list")
    data = load_dataset("places365", tmp_path / "list")
    assert data.classes == ("airfield", "apartment building outdoor", "zen garden")
    assert list(data.labels) == [0, 1, 2, 0, 1, 2]
    assert data.ids[5] == "Places365_val_00000006"
    tiny.places365_folders(tmp_path / "folders")
    assert next(iter(detect(tmp_path / "folders"))) == "places365"
    folders = load_dataset("places365", tmp_path / "folders")
    assert folders.classes == data.classes
    assert any("3 of the 365" in note for note in folders.notes)


@pytest.mark.parametrize(("file", "text", "words"), [
    ("places365_val.txt", "Places365_val_00000001.jpg 3\n", "whole number from 0 to 2"),
    ("places365_val.txt", "x.jpg -1\n", "'-1'"),
    ("places365_val.txt", "x.jpg\n", "has the line 'x.jpg'"), ("places365_val.txt", "x.jpg one\n", "'one'"),
    ("categories_places365.txt", "/a/airfield 0\n/b/bar 0\n", "twice"),
    ("categories_places365.txt", "/a/airfield 1\n", "whole number from 0 to 0"),
    ("categories_places365.txt", None, "no such file"),
    ("places365_val.txt", "Places365_val_00000009.jpg 1\n", "is missing"),
])  # fmt: skip
def test_bad_lists_of_places365_are_named(tmp_path, file, text, words):
    tiny.places365(tmp_path)
    if text is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(text)
    assert file in refused(words, "places365", tmp_path)


# ---------------------------------------------------------------------------------------------------- Caltech-101


def test_caltech101_leaves_the_clutter_out_and_keeps_both_faces(tmp_path):
    tiny.caltech101(tmp_path)
    data = load_dataset("caltech101", tmp_path)
    assert data.classes == ("Faces", "Faces easy", "Motorbikes", "car side")
    assert Counter(data.labels) == {0: 3, 1: 3, 2: 3, 3: 3}
    assert "BACKGROUND_Google (3 pictures) is left out" in data.notes
    assert data.decode("image", [len(data) - 1])[0].pixels.shape == (12, 16, 3)
    assert len(load_dataset("caltech101", tmp_path, background=True).classes) == 5
    assert list(load_dataset("caltech101", tmp_path / "101_ObjectCategories").ids) == list(data.ids)


def test_the_split_of_caltech101_is_drawn_by_its_own_seed(tmp_path):
    tiny.caltech101(tmp_path, count=33)
    train, test, all_of = (load_dataset("caltech101", tmp_path, split=one) for one in ("train", "test", "all"))
    assert Counter(train.labels) == dict.fromkeys(range(4), 30)
    assert Counter(test.labels) == dict.fromkeys(range(4), 3)
    assert set(train.ids) | set(test.ids) == set(all_of.ids)
    assert not set(train.ids) & set(test.ids)
    assert list(load_dataset("caltech101", tmp_path, split="test", seed=9).ids) == list(test.ids)
    assert list(load_dataset("caltech101", tmp_path, split="test", split_seed=9).ids) != list(test.ids)
    refused("split 'val'", "caltech101", tmp_path, split="val")
