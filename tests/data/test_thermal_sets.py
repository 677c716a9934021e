"""LLVIP, FLIR and RGB-T on tiny files of the real formats: crops from VOC and COCO boxes, paired pictures, 16 bits
kept.
"""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ironbind.data import detect, load_dataset
from ironbind.data.layouts.thermal.boxes import beside, read_coco, read_voc, within
from ironbind.types import InputError
from layouts import tiny_thermal as tiny
from refusals import refused

# --------------------------------------------------------------------------------------------------------- boxes


@given(st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=4), st.integers(1, 100), st.integers(1, 100))
def test_a_box_lies_within_its_picture_or_is_degenerate(edges, width, height):
    box = within(tuple(edges), width, height)
    if box is not None:
        left, top, right, bottom = box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height


def test_boxes_that_are_not_finite_are_degenerate():
    for bad in (float("nan"), float("inf"), -float("inf")):
        assert within((0, 0, bad, 5), 10, 10) is None
    assert within((0, 0, 10, 10), 10, 10) == (0, 0, 10, 10)
    assert within((2, 2, 2, 9), 10, 10) is None


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 30))
def test_a_box_beside_others_touches_none_of_them(seed, width, height):
    things = [(5, 10, 15, 40), (30, 8, 42, 45)]
    free = beside(things, (width, height), 64, 48, (seed, "picture", 0))
    assert free == beside(things, (width, height), 64, 48, (seed, "picture", 0))
    if free is not None:
        left, top, right, bottom = free
        assert (right - left, bottom - top) == (width, height)
        assert left >= 0
        assert top >= 0
        assert right <= 64
        assert bottom <= 48
        cover = np.zeros((48, 64), int)
        for one in (*things, free):
            cover[one[1] : one[3], one[0] : one[2]] += 1
        assert cover.max() == 1


def test_the_place_beside_depends_on_seed_picture_and_number_alone():
    places = {beside([], (3, 3), 640, 480, key) for key in [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]}
    assert len(places) == 4
    assert beside([(0, 0, 64, 48)], (1, 1), 64, 48, (0, "a", 0)) is None
    assert beside([], (65, 1), 64, 48, (0, "a", 0)) is None


@pytest.mark.parametrize(("text", "words"), [
    ("<annotation", "cannot be read"), ("", "is empty"), ("<annotation></annotation>", "has no size/width"),
    ('<?xml version="1.0" encoding="utf-9"?><annotation></annotation>', "unknown encoding"),
    ('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;">]><annotation>&c;</annotation>',
     "declares a document type"),
    ('<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "declares a document type"),
    (tiny.VOC.format(stem="a", width=9, height=9, objects=tiny.OBJECT.format(1, "x", 3, 4)), "could not convert"),
    (tiny.VOC.format(stem="a", width=9, height=9, objects="<object><name>person</name></object>"),
     "has no bndbox/xmin"),
    (tiny.VOC.format(stem="a", width="wide", height=9, objects=""), "cannot be read"),
])  # fmt: skip
def test_bad_voc_annotations_are_one_line(tmp_path, text, words):
    path = tmp_path / "a.xml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_voc(path)
    assert "a.xml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_voc_annotation_with_parts_inside_an_object(tmp_path):
    box = "<bndbox><xmin>9</xmin><ymin>9</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    inner = f"<part><name>head</name>{box}</part></object>"
    path = tmp_path / "a.xml"
    path.write_text(
        tiny.VOC.format(
            stem="a", width=9, height=8, objects=tiny.OBJECT.format(1, 2, 3.5, 4).replace("</object>", inner)
        )
    )
    assert read_voc(path) == ("a.jpg", 9, 8, [("person", (1, 2, 3.5, 4))])


@pytest.mark.parametrize(("text", "words"), [
    ("[", "is no JSON"), ("{}", "lacks 'categories'"), ("[]", "expected COCO"),
    ('{"categories": 3, "images": [], "annotations": []}', "expected COCO"),
    ('{"categories": [], "images": [], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}]}',
     "lacks 1"),
    ('{"categories": [{"id": 1, "name": "a"}], "images": [{"id": 1, "file_name": "a", "width": 1, "height": 1}], '
     '"annotations": [{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3]}]}', "not enough values"),
])  # fmt: skip
def test_bad_coco_annotations_are_one_line(tmp_path, text, words):
    path = tmp_path / "coco.json"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as caught:
        read_coco(path)
    assert "\n" not in str(caught.value)


# --------------------------------------------------------------------------------------------------------- LLVIP


def test_llvip_crops_persons_and_as_much_background(tmp_path):
    tiny.llvip(tmp_path)
    data = load_dataset("llvip", tmp_path)
    assert data.classes == ("background", "person")
    assert data.modalities == ("thermal", "image")
    assert list(data.ids) == [
        f"{stem}/{kind}/{n}"
        for stem, n in (("190001", 0), ("190001", 1), ("190002", 0))
        for kind in ("person", "background")
    ]
    assert data.problems == ("190002.xml: box 1 is degenerate (7.0, 7.0, 7.0, 30.0)",)
    assert "3 crops of persons, 3 of background of the same sizes (ours, drawn with seed 0)" in data.notes
    thermal, image = (data.decode(one, range(6)) for one in ("thermal", "image"))
    shapes = [one.intensity.shape for one in thermal]
    assert shapes == [(30, 10), (30, 10), (37, 12), (37, 12), (24, 10), (24, 10)]
    assert [one.pixels.shape[:2] for one in image] == shapes, "both sides are cut alike"
    boxes = data.sources["thermal"].boxes
    assert boxes == data.sources["image"].boxes
    assert boxes[0] == (5, 10, 15, 40)
    assert load_dataset("llvip", tmp_path, seed=5).sources["thermal"].boxes == boxes
    assert load_dataset("llvip", tmp_path, crop_seed=5).sources["thermal"].boxes != boxes
    assert load_dataset("llvip", tmp_path, modality="thermal").modalities == ("thermal",)
    refused("modality 'audio' is not in LLVIP", "llvip", tmp_path, modality="audio")
    refused("has no infrared/val/", "llvip", tmp_path, split="val")


def test_llvip_tells_of_damaged_annotations_and_pictures(tmp_path):
    tiny.llvip(tmp_path)
    (tmp_path / "Annotations" / "190001.xml").write_text("<annotation>")
    assert "1 such of llvip; skip_unreadable" in refused("190001.xml: cannot be read", "llvip", tmp_path)
    kept = load_dataset("llvip", tmp_path, skip_unreadable=True)
    assert {key.partition("/")[0] for key in kept.ids} == {"190002"}
    assert len(kept.problems) == 2
    tiny.llvip(tmp_path)
    (tmp_path / "visible" / "test" / "190001.jpg").unlink()
    assert "4 of 6" in refused("visible/test/190001.jpg.* is missing", "llvip", tmp_path)
    assert len(load_dataset("llvip", tmp_path, modality="thermal")) == 6
    assert len(load_dataset("llvip", tmp_path, skip_unreadable=True)) == 2
    tiny.voc(tmp_path / "Annotations" / "190001.xml", [(5, 10, 15, 40)], width=9999, height=9999)
    (tmp_path / "Annotations" / "190002.xml").unlink()
    refused("190002.xml: no such file", "llvip", tmp_path, modality="thermal")


def test_a_person_as_large_as_the_picture_has_no_background(tmp_path):
    tiny.llvip(tmp_path)
    tiny.voc(tmp_path / "Annotations" / "190003.xml", [(-3, -3, 99, 99)])
    data = load_dataset("llvip", tmp_path)
    assert "1 background crops found no place free of persons" in data.notes
    assert data.decode("thermal", [len(data) - 1])[0].intensity.shape == (tiny.HEIGHT, tiny.WIDTH)


def test_llvip_as_published(tmp_path):
    tiny.llvip_published(tmp_path)
    assert next(iter(detect(tmp_path))) == "llvip"
    data = load_dataset("llvip", tmp_path)
    assert (data.name, data.classes, data.modalities) == ("llvip", ("background", "person"), ("thermal",))
    assert len(data) == 4


# ---------------------------------------------------------------------------------------------------------- FLIR


def test_flir_crops_from_coco_boxes(tmp_path):
    tiny.flir(tmp_path)
    data = load_dataset("flir", tmp_path)
    assert data.classes == ("person", "bicycle", "car"), "in order of category; dog has only a crowd"
    assert [data.classes[label] for label in data.labels] == ["car", "person", "car", "bicycle", "person"]
    assert len(data.problems) == 1
    assert "box 2 (person) is degenerate" in data.problems[0]
    shapes = [one.intensity.shape for one in data.decode("thermal", range(5))]
    assert shapes == [(11, 20), (20, 8), (12, 12), (18, 24), (3, 2)], "rounded to pixels, cut at the border"
    assert len(load_dataset("flir", tmp_path, smallest=8)) == 4
    assert any(
        "1 crops with a side below 8 pixels" in note for note in load_dataset("flir", tmp_path, smallest=8).notes
    )
    refused("bits 12", "flir", tmp_path, bits=12)
    refused("split 'test'|expected", "flir", tmp_path, split="test")


def test_sixteen_bits_of_flir_are_never_cut_to_eight(tmp_path):
    tiny.flir(tmp_path)
    data = load_dataset("flir", tmp_path, bits=16)
    values = tiny.counts(tmp_path / "val" / "thermal_16_bit" / "FLIR_08860.tiff", 0)
    crop = data.decode("thermal", [1])[0].intensity.astype(np.float64) * 65535
    assert np.array_equal(np.round(crop), values[10:30, 30:38])
    assert len(np.unique(np.round(crop))) > 100
    assert any("divided by 65535" in note for note in data.notes)
    assert data.fingerprint != load_dataset("flir", tmp_path).fingerprint
    (tmp_path / "val" / "thermal_16_bit" / "FLIR_08861.tiff").unlink()
    assert "2 of 5" in refused("FLIR_08861.tiff.* is missing", "flir", tmp_path, bits=16)


def test_other_releases_of_flir(tmp_path):
    tiny.flir_v2(tmp_path / "v2")
    assert len(load_dataset("flir", tmp_path / "v2")) == 5
    assert next(iter(detect(tmp_path / "v2"))) == "flir"
    tiny.flir_published(tmp_path / "flirv1")
    data = load_dataset("flir", tmp_path / "flirv1")
    assert (data.name, data.classes) == ("flirv1", ("bicycle", "car", "dog", "person"))
    assert next(iter(detect(tmp_path / "flirv1"))) == "flir"
    refused("which 16 bits need", "flir", tmp_path / "flirv1", bits=16)
    found = json.loads((tmp_path / "v2" / "images_thermal_val" / "coco.json").read_text())
    found["categories"][1]["name"] = "person"
    (tmp_path / "v2" / "images_thermal_val" / "coco.json").write_text(json.dumps(found))
    refused("two of its categories", "flir", tmp_path / "v2")


# --------------------------------------------------------------------------------------------------------- RGB-T


def test_rgbt_pairs_whatever_its_folders_are_called(tmp_path):
    root = tmp_path / "MFNet"
    tiny.rgbt(root)
    data = load_dataset("rgbt", root)
    assert (data.name, data.modalities, data.classes) == ("rgbt MFNet", ("thermal", "image"), ("night street", "yard"))
    assert list(data.ids) == ["night_street/0", "night_street/1", "yard/0", "yard/1"]
    assert data.decode("image", [0])[0].pixels.shape == (12, 16, 3)
    (root / "RGB" / "yard" / "1.png").unlink()
    assert len(load_dataset("rgbt", root)) == 3
    assert len(load_dataset("rgbt", root, modality="thermal")) == 4
    alone = load_dataset("rgbt", root / "Infrared")
    assert (alone.modalities, len(alone)) == (("thermal",), 4)
    refused("modality 'audio'", "rgbt", root, modality="audio")
