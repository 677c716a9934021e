"""Parquet files of any name and any columns: what each column is taken for, and the one line where several would do."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import ironbind
from ironbind.data import likeliest, load_dataset
from ironbind.recipes import AUDITS
from ironbind.recipes.request import AuditRequest
from ironbind.types import InputError
from layouts.tiny_archives import parquet, rows
from layouts.tiny_pictures import encoded
from layouts.tiny_sounds import sound

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar10" / "data" / "test-00000-of-00001.parquet"


def tables(path, **options):
    return load_dataset("hf_datasets", path, **options)


def raw(count: int, first: int = 0, **columns) -> pa.Table:
    """Pictures as bare bytes, without any description of the columns."""
    return pa.table({"photo": [encoded("png", first + i) for i in range(count)], **columns})


def described(table: pa.Table, **features) -> pa.Table:
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def test_a_file_of_any_name_is_a_data_set(tmp_path):
    file = parquet(tmp_path / "my photos, 2024.PARQUET", rows(3))
    assert likeliest(file) == "hf_datasets"
    data = tables(file)
    assert (data.name, len(data), data.classes) == ("my photos, 2024", 3, ("guinea pig", "cat"))
    assert data.notes[0] == "file my photos, 2024.PARQUET"
    with pytest.raises(InputError, match="split 'train' is not in .*: it is one file"):
        tables(file, split="train")


def test_files_whose_names_tell_no_split_are_one_split(tmp_path):
    parquet(tmp_path / "zebras.parquet", rows(2, 4))
    parquet(tmp_path / "inside" / "part-0.snappy.parquet", rows(3))
    parquet(tmp_path / ".hidden.parquet", rows(1))
    data = tables(tmp_path)
    assert list(data.ids) == [f"inside/part-0.snappy.parquet/{i}" for i in range(3)] + [
        f"zebras.parquet/{i}" for i in range(2)
    ]
    assert data.notes[0] == "all 2 parquet files: their names tell no split"
    assert likeliest(tmp_path) == "hf_datasets"
    parquet(tmp_path / "test.parquet", rows(1))
    assert tables(tmp_path).notes == ("split test", "2 parquet files whose names tell no split are left out")
    (tmp_path / "test.parquet").rename(tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"holds the splits all, train; expected --data-option split="):
        tables(tmp_path)


def test_bare_bytes_and_texts_are_recognised_by_what_they_hold(tmp_path):
    file = parquet(tmp_path / "a.parquet", raw(4, kind=["guinea_pig", "cat"] * 2, width=[16] * 4))
    data = tables(file)
    assert (data.classes, list(data.labels), data.captions) == (("cat", "guinea pig"), [1, 0, 1, 0], None)
    assert "the column kind is taken for the label: 2 texts in 4 rows" in data.notes
    assert data.decode("image", [3])[0].pixels.shape == (12, 16, 3)
    told = tables(parquet(tmp_path / "b.parquet", raw(3, words=["one cat", "two cats", "three"])))
    assert (told.classes, list(told.captions)) == (("unlabelled",), ["one cat", "two cats", "three"])
    assert "the column words is taken for the caption" in told.notes


def test_numbers_that_repeat_are_labels_where_they_have_names(tmp_path):
    file = parquet(tmp_path / "a.parquet", raw(4, y=[1, 0, 1, 0], row=[0, 1, 2, 3]))
    data = tables(file, names=["cat", "guinea pig"])
    assert (data.classes, list(data.labels)) == (("cat", "guinea pig"), [1, 0, 1, 0])
    assert "the column y is taken for the label: 2 numbers in 4 rows" in data.notes
    assert tables(file).classes == ("unlabelled",)
    several = parquet(tmp_path / "b.parquet", raw(4, y=[1, 0, 1, 0], width=[16] * 4))
    with pytest.raises(InputError, match=r"several columns could be the label \(y, width\); expected --data-option"):
        tables(several, names=["cat", "guinea pig"])


def test_sounds_by_their_bytes_and_two_modalities_of_a_row(tmp_path):
    wav = sound(tmp_path / "s.wav").read_bytes()
    photos = [encoded("png", i) for i in range(3)]
    table = pa.table({"clip": [None, wav, wav], "photo": photos, "label": ["a", "b", "a"]})
    file = parquet(tmp_path / "both.parquet", table)
    data = tables(file)
    assert data.modalities == ("image",)
    assert "holds audio files as well, in the column clip" in data.notes
    assert tables(file, modality="audio").decode("audio", [1])[0].rate == 8000
    assert tables(file, modality=("image", "audio")).modalities == ("image", "audio")
    with pytest.raises(InputError, match=r"none of video; expected --data-option columns.video=NAME"):
        tables(file, modality="video")


def test_several_columns_that_would_do_are_named_with_the_option(tmp_path):
    two = raw(2, mask=[encoded("png", i) for i in range(2)], label=["a", "b"])
    file = parquet(tmp_path / "two.parquet", two)
    with pytest.raises(InputError, match=r"could be the image \(photo, mask\); expected --data-option columns.image="):
        tables(file)
    assert tables(file, columns={"image": "mask"}).sources["image"].column == "mask"
    usual = parquet(tmp_path / "usual.parquet", two.rename_columns(["image", "mask", "label"]))
    assert tables(usual).sources["image"].column == "image"
    kinds = {"names": ["x", "y"], "_type": "ClassLabel"}
    table = raw(2, fine=[0, 1], coarse=[1, 1])
    file = parquet(tmp_path / "labels.parquet", described(table, fine=kinds, coarse=kinds))
    with pytest.raises(InputError, match=r"could be the label \(fine, coarse\); expected --data-option columns.label="):
        tables(file)
    assert list(tables(file, columns={"label": "coarse"}).labels) == [1, 1]


def test_numbers_are_named_by_an_option_or_a_file_beside(tmp_path):
    file = parquet(tmp_path / "a.parquet", raw(3, label=[1, 0, 2]))
    with pytest.raises(InputError, match=r"numbers without names; expected .* --data-option names=FILE"):
        tables(file)
    assert tables(file, names=["cat", "dog", "eel"]).classes == ("cat", "dog", "eel")
    (tmp_path / "kinds.txt").write_text("ant\nbee\nguinea_pig\n", encoding="utf-8")
    assert tables(file, names=str(tmp_path / "kinds.txt")).classes == ("ant", "bee", "guinea_pig")
    (tmp_path / "classes.txt").write_text("ant\nbee\n", encoding="utf-8")
    with pytest.raises(InputError, match="row 2 has the label 2; expected 0 to 1"):
        tables(file)


def test_files_of_one_set_must_have_the_same_columns_and_class_names(tmp_path):
    kinds = {"names": ["x", "y"], "_type": "ClassLabel"}
    parquet(tmp_path / "a.parquet", described(raw(2, label=[0, 1]), label=kinds))
    parquet(tmp_path / "b.parquet", described(raw(2, label=[0, 1]), label={**kinds, "names": ["y", "x"]}))
    with pytest.raises(InputError, match=r"b.parquet: names the classes of its column 'label' otherwise than a"):
        tables(tmp_path)
    parquet(tmp_path / "b.parquet", raw(2, kind=[0, 1]))
    with pytest.raises(InputError, match=r"b.parquet: has no column 'label' as the files before it have"):
        tables(tmp_path)


def test_a_row_that_names_a_file_beside_the_table(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(encoded("png", 1))
    column = pa.array([{"bytes": None, "path": "pictures/1.png"}, {"bytes": encoded("png", 2), "path": "2.png"}])
    file = parquet(tmp_path / "a.parquet", pa.table({"image": column, "label": ["a", "b"]}))
    data = tables(file)
    assert [picture.pixels.shape for picture in data.decode("image", [0, 1])] == [(12, 16, 3)] * 2
    before = data.sources["image"].digest(0)
    (tmp_path / "pictures" / "1.png").write_bytes(encoded("png", 3))
    assert data.sources["image"].digest(0) != before


def test_the_command_audits_a_file_and_a_folder_whatever_they_are_called(tmp_path):
    kinds = {"names": ["ball", "cube"], "_type": "ClassLabel"}
    file = parquet(tmp_path / "set" / "x y.parquet", described(raw(4, label=[0, 1, 0, 1]), label=kinds))
    for data, run in ((file, tmp_path / "one"), (file.parent, tmp_path / "two")):
        quick = ("--steps", "1", "--eps", "4/255", "--space", "pixels")
        done = ironbind("audit", "data", "--data", data, *quick, "--out", run)
        assert done.returncode == 0, done.stderr
        assert "image pixels" in done.stdout


def test_commands_that_take_class_folders_take_tables_too(tmp_path):
    kinds = {"names": ["ball", "cube"], "_type": "ClassLabel"}
    file = parquet(tmp_path / "set.parquet", described(raw(8, label=[0, 1] * 4), label=kinds))
    quick = ("--modality", "image", "--steps", "1")
    done = ironbind("audit", "folder", "--data", file, *quick, "--eps", "4/255", "--space", "pixels",
                    "--out", tmp_path / "run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = ironbind(
        "calibrate", "l2", "--data", file, "--modality", "image", "--samples", "8", "--out", tmp_path / "heads"
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not CIFAR.is_file(), reason="CIFAR-10's pictures are not there")
def test_real_pictures_under_another_name(tmp_path):
    pq.write_table(pq.read_table(CIFAR).slice(0, 50), tmp_path / "anything at all.parquet")
    data = tables(tmp_path)
    assert (len(data), len(data.classes), data.classes[0]) == (50, 10, "airplane")
    assert np.asarray(data.decode("image", [49])[0].pixels).shape == (32, 32, 3)


def test_every_audit_of_classes_takes_data_as_they_come(tmp_path):
    """The recipe "data" is not the only one that finds the layout out."""
    file = parquet(tmp_path / "mine.parquet", rows(3))
    for recipe in ("defences", "curve", "illusion", "hub"):
        jobs = AUDITS[recipe](AuditRequest(data=str(file)))
        assert {(job.modality, job.data.layout) for job in jobs} == {("image", "hf_datasets")}
