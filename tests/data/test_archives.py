"""Sharded tar files and the `datasets` library's files: what is taken for what, and what is refused."""

import json
import tarfile

import numpy as np
import pyarrow as pa
import pytest

from ironbind.data import load_dataset
from ironbind.types import InputError
from layouts.tiny_archives import FEATURES, parquet, pets, rows, saved, shard, webdataset
from layouts.tiny_pictures import encoded
from layouts.tiny_sounds import sound, text


def tars(path, **options):
    return load_dataset("webdataset", path, **options)


def tables(path, **options):
    return load_dataset("hf_datasets", path, **options)


# --------------------------------------------------------------------------------------------------------- webdataset


def test_shards_in_order_with_labels_and_captions(tmp_path):
    for number in (10, 2, 0):  # 2 before 10, as shards are numbered
        shard(tmp_path / f"{number}.tar", pets(2, number), first=number)
    text(tmp_path / "classnames.txt", "guinea pig\ncat\n")
    text(tmp_path / "zeroshot_classification_templates.txt", "a photo of a {c}.\na {c}\n")
    data = tars(tmp_path)
    assert list(data.ids) == ["000000", "000001", "000002", "000003", "000010", "000011"]
    assert data.classes == ("guinea pig", "cat")
    assert list(data.labels) == [0, 1] * 3
    assert data.captions[4] == "animal no 10"
    assert data.templates == ("a photo of a {}.", "a {}")
    assert data.notes[0] == "3 shards"
    picture = np.asarray(data.decode("image", [4])[0].pixels)
    (tmp_path / "alone").mkdir()
    (tmp_path / "alone" / "x").mkdir()
    (tmp_path / "alone" / "x" / "a.png").write_bytes(encoded("png", 10))
    assert np.array_equal(
        picture, load_dataset("folder", tmp_path / "alone", modality="image").decode("image", [0])[0].pixels
    )


def test_labels_out_of_json_and_as_names(tmp_path):
    shard(tmp_path / "a.tar", pets(3))
    data = tars(tmp_path, label="json:species")
    assert data.classes == ("cat", "guinea pig")
    assert list(data.labels) == [1, 0, 1]
    named = [{"jpg": encoded("jpeg", i), "cls": name} for i, name in enumerate((b"tabby_cat", b"dog"))]
    shard(tmp_path / "named" / "a.tar", named)
    assert tars(tmp_path / "named").classes == ("dog", "tabby cat")


def test_splits_and_equal_names_in_two_shards(tmp_path):
    for split in ("train", "test"):
        for number in range(2):
            shard(tmp_path / split / f"{number}.tar", pets(2))
    text(tmp_path / "classnames.txt", "a\nb\n")
    data = tars(tmp_path, split="test")
    assert list(data.ids) == ["test/0/000000", "test/0/000001", "test/1/000000", "test/1/000001"]
    with pytest.raises(InputError, match=r"holds no .tar; expected .*, in the split test, train"):
        tars(tmp_path)


def test_modalities_and_samples_that_lack_one(tmp_path):
    wav = sound(tmp_path / "s.wav").read_bytes()
    samples = [{"png": encoded("png", 0), "wav": wav}, {"png": encoded("png", 1)}, {"wav": wav, "txt": b"x"}]
    shard(tmp_path / "a.tar", samples)
    audio = tars(tmp_path, modality="audio")
    assert (list(audio.ids), audio.modalities) == (["000000", "000002"], ("audio",))
    assert "1 samples without a audio file are left out" in audio.notes
    assert audio.captions is None  # one of the two has none
    assert tars(tmp_path).modalities == ("image",)
    with pytest.raises(InputError, match="none of video"):
        tars(tmp_path, modality="video")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "classnames.txt").unlink(), "labels are numbers without names; expected classnames.txt"),
        (lambda root: text(root / "classnames.txt", "one\n"), r"000001: has the label 1; expected 0 to 0"),
        (lambda root: shard(root / "pets-000000.tar", [*pets(1), {"png": encoded("png", 9)}]), "000001: has no label"),
        (
            lambda root: shard(root / "pets-000000.tar", [{"cls": b"x" * (2**20 + 1), "png": b""}]),
            "expected a label or a caption of at most",
        ),
        (lambda root: shard(root / "pets-000000.tar", []), "hold no sample"),
        (
            lambda root: shard(root / "pets-000000.tar", [{"foo": b"1"}]),
            "holds members of the kinds foo, none of any modality",
        ),
        (
            lambda root: (root / "pets-000000.tar").write_bytes(b"PK\3\4 no tar at all"),
            "pets-000000.tar: cannot be read",
        ),
        (
            lambda root: (root / "pets-000000.tar").write_bytes((root / "pets-000000.tar").read_bytes()[:3000]),
            "pets-000000.tar: cannot be read",
        ),
    ],
)
def test_shards_that_cannot_be_used(tmp_path, spoil, message):
    webdataset(tmp_path)
    spoil(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        tars(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_compressed_shard_is_refused(tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w:gz"):
        pass
    with pytest.raises(InputError, match="a.tar: cannot be read"):
        tars(tmp_path)


# ------------------------------------------------------------------------------------------------- the datasets library


def test_parquet_shards_by_split(tmp_path):
    for number in range(2):
        parquet(tmp_path / "data" / f"test-{number:05d}-of-00002.parquet", rows(3, 3 * number))
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", rows(2, 50))
    data = tables(tmp_path)
    assert (len(data), data.classes, data.notes) == (6, ("guinea pig", "cat"), ("split test",))
    assert list(data.labels) == [0, 1] * 3
    assert data.captions[5] == "animal no 5"
    assert data.ids[4] == "data/test-00001-of-00002.parquet/1"
    assert data.decode("image", [4])[0].pixels.shape == (12, 16, 3)
    assert len(tables(tmp_path, split="train")) == 2
    with pytest.raises(InputError, match=r"split 'val' is not in .*; expected one of test, train"):
        tables(tmp_path, split="val")


def test_one_saved_data_set_and_the_same_rows_in_both_kinds_of_file(tmp_path):
    saved(tmp_path / "saved", [rows(3), rows(2, 3)])
    parquet(tmp_path / "parquet" / "test.parquet", rows(5))
    one, other = tables(tmp_path / "saved"), tables(tmp_path / "parquet")
    assert (one.notes, other.notes) == (("split all",), ("split test",))
    assert (one.classes, list(one.labels), list(one.captions)) == (
        other.classes,
        list(other.labels),
        list(other.captions),
    )
    for a, b in zip(one.decode("image", range(5)), other.decode("image", range(5)), strict=True):
        assert np.array_equal(a.pixels, b.pixels)


def test_columns_called_otherwise_and_lists_of_captions(tmp_path):
    table = rows(3).rename_columns(["photo", "fine", "said"])
    table = table.set_column(2, "said", pa.array([["a", "b"], ["c"], ["d", " ", "e"]]))
    parquet(
        tmp_path / "test.parquet",
        table.replace_schema_metadata(None).set_column(1, "fine", pa.array(["x_y", "z", "x_y"])),
    )
    data = tables(tmp_path, columns={"image": "photo", "label": "fine", "caption": "said"})
    assert data.classes == ("x y", "z")
    assert list(data.all_captions) == [("a", "b"), ("c",), ("d", "e")]
    with pytest.raises(InputError, match="has no column 'pic'; expected one of photo, fine, said"):
        tables(tmp_path, columns={"image": "pic"})
    with pytest.raises(InputError, match=r"could be the label or caption \(fine, said\); expected --data-option"):
        tables(tmp_path)
    parquet(tmp_path / "test.parquet", table.drop_columns(["photo"]))
    with pytest.raises(InputError, match="none of encoded files"):
        tables(tmp_path)


def test_captions_without_classes(tmp_path):
    parquet(tmp_path / "test.parquet", rows(3).drop_columns(["label"]))
    data = tables(tmp_path)
    assert data.classes == ("unlabelled",)
    assert data.captions[2] == "animal no 2"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda root: parquet(root / "test.parquet", rows(2).replace_schema_metadata(None)),
            "labels are numbers without names",
        ),
        (
            lambda root: parquet(root / "test.parquet", rows(2).set_column(1, "label", pa.array([0, 7]))),
            "row 1 has the label 7; expected 0 to 1",
        ),
        (
            lambda root: parquet(root / "test.parquet", rows(2).set_column(1, "label", pa.array([0, None]))),
            "row 1 has no label",
        ),
        (
            lambda root: parquet(root / "test.parquet", rows(2).set_column(2, "caption", pa.array(["x", None]))),
            "1 rows of the split .* have no caption",
        ),
        (lambda root: (root / "test.parquet").write_bytes(b"PAR1 nothing"), "test.parquet: cannot be read"),
        (lambda root: text(saved(root, [rows(2)]) / "state.json", "{}"), "lists no data files"),
        (
            lambda root: text(saved(root, [rows(2)]) / "state.json", '{"_data_files": [{"filename": "gone.arrow"}]}'),
            "gone.arrow: is missing",
        ),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, spoil, message):
    spoil(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        tables(tmp_path)
    assert "\n" not in str(caught.value)


def test_files_that_only_have_a_path_are_named(tmp_path):
    table = rows(2).set_column(0, "image", pa.array([{"bytes": None, "path": "somewhere.png"}] * 2))
    features = json.dumps({"info": {"features": FEATURES}})
    parquet(tmp_path / "test.parquet", table.replace_schema_metadata({"huggingface": features}))
    with pytest.raises(InputError, match=r"test.parquet:image.bytes\[0\]: holds NoneType, not bytes"):
        tables(tmp_path).decode("image", [0])
