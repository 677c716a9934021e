"""MSR-VTT, UCF-101, Kinetics on tiny clips encoded by PyAV, beside lists in the real formats."""

import json

import pytest

from ironbind.data import load_dataset
from ironbind.data.layouts.video.msrvtt import CATEGORIES
from ironbind.data.listing import UNLABELLED
from layouts import tiny_videos as tiny
from refusals import refused

# ------------------------------------------------------------------------------------------------------- MSR-VTT


def test_msrvtt_classifies_by_category_and_keeps_every_caption(tmp_path):
    tiny.msrvtt(tmp_path)
    data = load_dataset("msrvtt", tmp_path)
    assert list(data.ids) == [f"video{number}" for number in range(7010, 7016)]
    assert data.classes == CATEGORIES
    assert list(data.labels) == [number % 20 for number in range(7010, 7016)]
    assert data.all_captions[2] == ("a man does 7012, take 0", "a man does 7012, take 1", "a man does 7012, take 2")
    assert data.captions[2] == "a man does 7012, take 0"
    assert data.decode("video", [0])[0].frames.shape == (4, 32, 48, 3)
    refused("video0.mp4: is missing", "msrvtt", tmp_path, split="train")
    refused("has no video of the split 'validate'.*it has test, train", "msrvtt", tmp_path, split="validate")
    refused("split 'val'", "msrvtt", tmp_path, split="val")


def test_retrieval_on_msrvtt_has_one_caption_each_in_the_order_of_its_list(tmp_path):
    tiny.msrvtt(tmp_path)
    data = load_dataset("msrvtt", tmp_path, split="1k-a")
    assert list(data.ids) == ["video7014", "video7011", "video7013"]
    assert data.captions == [f'one "sentence", of {number}' for number in (7014, 7011, 7013)]
    assert [data.classes[label] for label in data.labels] == [CATEGORIES[number % 20] for number in (7014, 7011, 7013)]
    (tmp_path / "MSRVTT_data.json").unlink()
    alone = load_dataset("msrvtt", tmp_path, split="1k-a")
    assert alone.classes == UNLABELLED
    assert alone.captions == data.captions
    refused("has no MSRVTT_data.json or test_videodatainfo.json", "msrvtt", tmp_path)


def test_msrvtt_as_the_challenge_published_it(tmp_path):
    tiny.msrvtt(tmp_path)
    (tmp_path / "MSRVTT_data.json").rename(tmp_path / "test_videodatainfo.json")
    (tmp_path / "MSRVTT_Videos").rename(tmp_path / "TestVideo")
    (tmp_path / "category.txt").write_text("".join(f"kind {20 - n}\t{n}\n" for n in range(20)))
    data = load_dataset("msrvtt", tmp_path)
    assert data.classes[3] == "kind 17"
    assert len(data) == 6


def test_bad_lists_of_msrvtt_are_named(tmp_path):
    tiny.msrvtt(tmp_path)
    path = tmp_path / "MSRVTT_data.json"
    whole = json.loads(path.read_text())
    for change, words in [
        ({"videos": [{**one, "category": 20} for one in whole["videos"]]}, "has the category 20; expected 0 to 19"),
        ({"videos": [{"video_id": "video1"}]}, "lacks 'category'"),
        ({"sentences": whole["sentences"][:1]}, "no caption of video7010"),
        ({"sentences": {}}, "no caption"), ({"videos": 3}, "not iterable"),
    ]:  # fmt: skip
        path.write_text(json.dumps({**whole, **change}))
        assert path.name in refused(words, "msrvtt", tmp_path)
    path.write_text("{")
    refused("is no JSON", "msrvtt", tmp_path)
    path.write_text(json.dumps(whole))
    (tmp_path / "MSRVTT_JSFUSION_test.csv").write_text("key,vid_key,video_id,sentence\nret0,msr1,video1,never seen\n")
    refused("lists video1, which .* does not", "msrvtt", tmp_path, split="1k-a")


# ------------------------------------------------------------------------------------------------------- UCF-101


def test_ucf101_counts_classes_from_one_and_ignores_capitals(tmp_path):
    tiny.ucf101(tmp_path)
    data = load_dataset("ucf101", tmp_path)
    assert data.classes == ("Apply Eye Makeup", "Handstand Pushups", "Yo Yo")
    assert list(data.labels) == [0, 0, 1, 1, 2, 2]
    assert data.ids[2] == "HandstandPushups/v_HandStandPushups_g01_c01"
    assert data.decode("video", [2])[0].frames.shape == (4, 32, 48, 3)
    assert data.decode("video", [2])[0].fps == 8
    assert data.notes == ("test split 1 of 3",)
    refused("v_ApplyEyeMakeup_g08_c01.avi: is missing", "ucf101", tmp_path, split="train")
    refused("testlist02.txt: no such file", "ucf101", tmp_path, fold=2)
    refused("fold 4", "ucf101", tmp_path, fold=4)


@pytest.mark.parametrize(("file", "text", "words"), [
    ("classInd.txt", "0 ApplyEyeMakeup\n1 YoYo\n", "not each there once, from 1 to 2"),
    ("classInd.txt", "1 A\n1 B\n", "not each there once"),
    ("classInd.txt", "ApplyEyeMakeup\n", "whole number"), ("classInd.txt", "", "bytes"),
    ("testlist01.txt", "Smiling/v_Smiling_g01_c01.avi\n", "none of the 3 classes"),
    ("testlist01.txt", "v_YoYo_g01_c01.avi\n", "none of the 3"),
    ("testlist01.txt", "YoYo/v_YoYo_g01_c01.avi 2\n", "says class 2 .*; expected 3"),
])  # fmt: skip
def test_bad_lists_of_ucf101_are_named(tmp_path, file, text, words):
    tiny.ucf101(tmp_path)
    (tmp_path / "ucfTrainTestlist" / file).write_text(text)
    assert file in refused(words, "ucf101", tmp_path)


# ------------------------------------------------------------------------------------------------------ Kinetics


def test_kinetics_reports_how_many_clips_are_left(tmp_path):
    tiny.kinetics(tmp_path)
    data = load_dataset("kinetics", tmp_path)
    assert data.classes == ("abseiling", "air drumming", "archery"), "all of the list, whichever are left"
    assert list(data.ids) == [
        "0wR5jVB-WPk_000417_000427", "6d0SkT3ZJ4k_000000_000010", "3caPS4FHFF8_000036_000046",
        "-0NX1JkX_Qs_000012_000022",
    ]  # fmt: skip
    assert list(data.labels) == [0, 1, 0, 2]
    assert data.notes == ("n = 4 of the 6 samples that val.csv lists: the others are missing",)
    assert [line.partition(":")[0] for line in data.problems] == [
        "air drumming/gone_Video1_000005_000015.mp4", "archery/gone_Video2_001200_001210.mp4",
    ]  # fmt: skip
    assert data.decode("video", [1])[0].frames.shape == (4, 32, 48, 3)
    listed = (tmp_path / "annotations" / "val.csv").rename(tmp_path / "mine.txt")
    refused("no CSV of the split 'val'", "kinetics", tmp_path)
    assert len(load_dataset("kinetics", tmp_path, annotations=listed)) == 4


def test_a_limit_on_kinetics_chooses_among_the_clips_that_are_there(tmp_path):
    tiny.kinetics(tmp_path)
    assert len(load_dataset("kinetics", tmp_path, limit=4)) == 4


@pytest.mark.parametrize(("text", "words"), [
    ("label,youtube_id,start,end,split\na,b,0,1,val\n", "not time_start, time_end"),
    ("label,youtube_id,time_start,time_end\na,b,zero,1\n", "'zero'"),
    ("label,youtube_id,time_start,time_end\na,b,0\n", "line 2 has 3 columns of 4"),
    ("label,youtube_id,time_start,time_end\n", "lists nothing"),
    ("label,youtube_id,time_start,time_end\na,gone,0,1\n", "gone_000000_000001.mp4: is missing.*1 of 1"),
    ("label,youtube_id,time_start,time_end\n,gone,0,1\n", "says no label of gone"),
])  # fmt: skip
def test_bad_lists_of_kinetics_are_named(tmp_path, text, words):
    tiny.kinetics(tmp_path)
    (tmp_path / "annotations" / "val.csv").write_text(text)
    assert "val.csv" in refused(words, "kinetics", tmp_path)
