"""One's own data: a CSV with a column mapping, UniBind's JSON lists. And: the world read back through each generic
layout gives the same table.
"""

import csv
import json
import unicodedata
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ironbind.attacks import PGD
from ironbind.data import detect, load_dataset
from ironbind.data.export_files import export
from ironbind.data.layouts.generic.manifest import read_manifest
from ironbind.data.layouts.generic.unibind_json import read_points
from ironbind.data.listing import UNLABELLED
from ironbind.encoders import load_encoder
from ironbind.evaluate.tasks.zero_shot import retrieval, zero_shot
from ironbind.types import InputError, Linf
from layouts import tiny_lists as tiny
from layouts.tiny_pictures import picture
from layouts.tiny_sounds import table, text
from refusals import refused
from toys import audit

# ----------------------------------------------------------------------------------------------------------- CSV


@pytest.fixture
def pets(tmp_path) -> Path:
    for name in "abc":
        picture(tmp_path / "pictures" / f"{name}.png", "png", ord(name))
    return tmp_path


def test_a_csv_whose_columns_are_called_like_what_they_hold(tmp_path):
    tiny.csv(tmp_path)
    for path in (tmp_path, tmp_path / "pets.csv"):
        data = load_dataset("csv", path)
        assert (data.name, data.modalities, data.classes) == ("pets", ("image", "audio"), ("cat", "guinea pig"))
        assert list(data.ids) == ["no-0", "no-1", "no-2", "no-3"]
        assert list(data.labels) == [1, 0, 1, 0]
        assert data.captions[1] == "a small, round animal, the 1th"
        assert next(iter(detect(path))) == "csv"
    assert load_dataset("csv", tmp_path, modality="audio").modalities == ("audio",)
    text(tmp_path / "templates.txt", "a drawing of a {}.\n")
    assert load_dataset("csv", tmp_path).templates == ("a drawing of a {}.",)


def test_columns_of_other_names_are_mapped(pets):
    rows = [
        ("key", "photo", "species", "told", "told too"),
        *((n, f"pictures/{n}.png", "guinea_pig" if n == "a" else "cat", n, n * 2) for n in "abc"),
    ]
    table(pets / "list.csv", rows)
    columns = {"image": "photo", "label": "species", "caption": ["told", "told too"], "id": "key"}
    data = load_dataset("csv", pets / "list.csv", columns=columns)
    assert list(data.ids) == ["a", "b", "c"]
    assert data.classes == ("cat", "guinea pig")
    assert data.all_captions == [("a", "aa"), ("b", "bb"), ("c", "cc")]
    assert list(load_dataset("csv", pets / "list.csv", columns=columns, classes=["guinea_pig"]).ids) == ["a"]
    refused("has no column 'foto'; expected one of key, photo", "csv", pets, columns={"image": "foto"})
    refused("'picture' is neither a modality nor one of id, label", "csv", pets, columns={"picture": "photo"})
    refused("no column is known to name any files, of key, photo", "csv", pets)
    refused("no column is known to name audio files.*columns=.'audio': NAME.", "csv", pets, modality="audio")


def test_rows_of_one_id_are_captions_of_one_sample(pets):
    text(
        pets / "list.csv", "path,caption\n" + "".join(f"pictures/{n}.png,{n} {take}\n" for take in (1, 2) for n in "ab")
    )
    data = load_dataset("csv", pets, modality="image")
    assert list(data.ids) == ["pictures/a.png", "pictures/b.png"]
    assert data.all_captions == [("a 1", "a 2"), ("b 1", "b 2")]
    assert data.classes == UNLABELLED
    assert data.notes == ("no classes: for retrieval with captions only",)


def test_splits_of_a_csv(pets):
    text(
        pets / "list.csv",
        "file,label,split\n" + "".join(f"pictures/{n}.png,x,{'test' if n == 'b' else 'train'}\n" for n in "abc"),
    )
    assert list(load_dataset("csv", pets, modality="image", split="test").ids) == ["pictures/b.png"]
    assert len(load_dataset("csv", pets, modality="image")) == 3
    refused("no row of the split 'val'", "csv", pets, modality="image", split="val")
    text(pets / "val.csv", "file,label\npictures/a.png,x\n")
    assert list(load_dataset("csv", pets, modality="image", split="val").ids) == ["pictures/a.png"]
    refused("holds 2 CSV files .list.csv, val.csv.", "csv", pets, modality="image")


@pytest.mark.parametrize(("content", "words"), [
    ("file,label\npictures/a.png,x\npictures/z.png,x\n",
     "pictures/z.png: is missing; expected what list.csv lists .1 of 2"),
    ("file,label\npictures/a.png,x\npictures/a.png,y\n", "two rows of 'pictures/a.png' with different labels"),
    ("file,label\npictures/a.png,x\npictures/a.png,x\n", "has 'pictures/a.png' twice"),
    ("file,label\npictures/a.png,x\npictures/b.png,\n", "has no label for 1 of 2 samples, the first 'pictures/b.png'"),
    ("file,label\n,x\n", "names no file for ''"),
    ("file,label\npictures/a.png,a_b\npictures/b.png,a b\n", "two labels for the class 'a b'"),
    ("file,label,caption\npictures/a.png,x,told\npictures/b.png,x,\n", "has no caption for 1 of 2"),
    ("file,label\npictures/a.png\n", "has 1 columns of 2"), ('file,label\n"pictures/a.png,x\n', "cannot be read"),
    ("file,label\n", "lists nothing"),
    ("", "bytes"), (b"file,label\n\xff,x\n", "not UTF-8"),
])  # fmt: skip
def test_bad_csv_files_are_one_line(pets, content, words):
    (pets / "list.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert "list.csv" in refused(words, "csv", pets, modality="image")


def test_files_of_another_root_and_of_another_unicode_form(pets):
    decomposed = unicodedata.normalize("NFD", "café.png")
    picture(pets / "pictures" / decomposed, "png", 1)
    text(pets / "lists" / "list.tsv", "file\tlabel\npictures/café.png\tx\npictures\\a.png\ty\n")
    data = load_dataset("csv", pets / "lists" / "list.tsv", modality="image", root=pets, delimiter="\t")
    assert len(data.decode("image", [0, 1])) == 2
    assert data.sources["image"].place(0) == f"pictures/{decomposed}"
    refused("no such folder", "csv", pets / "lists" / "list.tsv", modality="image", root=pets / "none", delimiter="\t")


# ------------------------------------------------------------------------------------------------- UniBind's lists


def test_a_list_of_unibind(tmp_path):
    tiny.unibind_json(tmp_path)
    data = load_dataset("unibind_json", tmp_path, modality="image")
    assert (data.classes, list(data.labels)) == (("cat", "guinea pig"), [1, 0, 1, 0])
    assert data.ids[0] == "guinea_pig_0.png"
    assert data.captions is None
    again = load_dataset("unibind_json", tmp_path / "test_data.json", modality="image", root=tmp_path / "test_dataset")
    assert again.fingerprint == data.fingerprint
    assert next(iter(detect(tmp_path / "test_data.json"))) == "unibind_json"
    refused("does not say what its files are", "unibind_json", tmp_path)
    refused("has no train_data.json", "unibind_json", tmp_path, modality="image", split="train")
    entries = json.loads((tmp_path / "test_data.json").read_text())
    text(tmp_path / "train_data.json", json.dumps([{**one, "description": f"{one['label']}!"} for one in entries]))
    train = load_dataset("unibind_json", tmp_path, modality="image", split="train", root=tmp_path / "test_dataset")
    assert train.captions[0] == "guinea_pig!"


@pytest.mark.parametrize(("content", "words"), [
    ("{}", "holds dict"), ("[]", "holds an empty list"), ('[{"data": "a.png"}]', "entry 0 is"),
    ('[{"data": 1, "label": "x"}]', "entry 0 is"),
    ('["a"]', "entry 0 is a"), ("[", "is no JSON"), ('[{"data": "none.png", "label": "x"}]', "none.png: is missing"),
])  # fmt: skip
def test_bad_lists_of_unibind_are_one_line(tmp_path, content, words):
    text(tmp_path / "test_data.json", content)
    assert "test_data.json" in refused(words, "unibind_json", tmp_path, modality="image")


def test_the_clouds_of_unibind_are_tensors(tmp_path):
    rows = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    for name, held in {
        "a.pt": rows,
        "b.pt": rows.double(),
        "c.pt": {"xyz": rows},
        "d.pt": rows[:, :2],
        "e.pt": rows / 0,
    }.items():
        torch.save(held, tmp_path / name)
    np.save(tmp_path / "f.npy", rows.numpy())
    (tmp_path / "g.pt").write_bytes((tmp_path / "a.pt").read_bytes()[:300])
    text(
        tmp_path / "test_data.json",
        json.dumps(
            [{"data": name, "label": "x"} for name in ("a.pt", "b.pt", "c.pt", "d.pt", "e.pt", "f.npy", "g.pt")]
        ),
    )
    data = load_dataset("unibind_json", tmp_path, modality="point", skip_unreadable=True)
    assert list(data.ids) == ["a.pt", "b.pt", "f.npy"]
    assert all(np.array_equal(one.xyz, rows.numpy()) for one in data.decode("point", range(3)))
    for line, words in zip(
        data.problems, ("holds a dict", r"shape (20, 2)", "NaN or infinite", "g.pt: cannot be read"), strict=True
    ):
        assert words in line


def test_a_tensor_on_its_side_or_far_from_its_origin_is_read_as_the_other_clouds_are(tmp_path):
    rows = torch.rand(200, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.save(rows.T.contiguous(), tmp_path / "side.pt")
    torch.save(rows + torch.tensor([455_000.0, 5_411_000.0, 250.0], dtype=torch.float64), tmp_path / "survey.pt")
    side, survey = (read_points(tmp_path / name) for name in ("side.pt", "survey.pt"))
    np.testing.assert_array_equal(side.xyz, rows.float().numpy())
    middle = (rows.amax(0) + rows.amin(0)) / 2
    np.testing.assert_allclose(survey.xyz, (rows - middle).numpy(), atol=1e-6)
    assert [remark.kind for remark in (*side.remarks, *survey.remarks)] == [
        "is read with rows and columns exchanged",
        "centred before its cast to float32, far from its origin",
    ]


def test_a_list_of_unibind_runs_no_code(tmp_path):
    torch.save({"run": partial(print, "ran")}, tmp_path / "a.pt")
    text(tmp_path / "test_data.json", '[{"data": "a.pt", "label": "x"}]')
    data = load_dataset("unibind_json", tmp_path, modality="point")
    with pytest.raises(InputError, match=r"a\.pt: cannot be read"):
        data.decode("point", [0])


# --------------------------------------------------------------------------------------------- the world on disk

N = 60


@pytest.fixture(scope="module")
def world_on_disk(tmp_path_factory):
    """The world exported, and two lists written over its files."""
    world = load_dataset("world", n=N)
    root = export(world, tmp_path_factory.mktemp("world") / "export", modalities=["image", "audio"])
    manifest = read_manifest(root)
    places = [f"{manifest.folders[label]}/{stem}" for label, stem in zip(manifest.labels, manifest.stems, strict=True)]
    rows = list(zip(world.ids, [world.classes[label] for label in world.labels], places, world.captions, strict=True))
    lists = root.parent / "lists"
    lists.mkdir()
    for modality, suffix in (("image", ".png"), ("audio", ".wav")):
        entries = [
            {"id": one, "data": f"{modality}/{place}{suffix}", "label": name, "description": told}
            for one, name, place, told in rows
        ]
        text(lists / f"{modality}_data.json", json.dumps(entries))
    with (lists / "world.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "label", "picture", "audio", "caption"])
        out.writerows([one, name, f"image/{place}.png", f"audio/{place}.wav", told] for one, name, place, told in rows)
    text(lists / "templates.txt", "\n".join(world.templates))
    order = {"classes": world.classes}  # a list does not say it
    return world, {
        "folder": lambda modality: load_dataset("folder", root),
        "unibind_json": lambda modality: load_dataset(
            "unibind_json", lists, split=modality, modality=modality, root=root, **order
        ),
        "csv": lambda modality: load_dataset("csv", lists, columns={"image": "picture"}, root=root, **order),
    }


@pytest.mark.parametrize("modality", ["image", "audio"])
def test_the_world_through_every_generic_layout_gives_the_same_table(world_on_disk, modality):
    world, layouts = world_on_disk
    encoder = load_encoder("tiny")
    space, budget = ("logmel", Linf("0.1")) if modality == "audio" else (None, Linf("2/255"))

    def rows(data) -> list:
        task = zero_shot if modality == "image" else retrieval
        return audit(task(encoder, data, modality, space=space), PGD(steps=2), budget, checks=False).rows

    expected = rows(world)
    assert len({row.value for row in expected}) > 3
    for name, load in layouts.items():
        assert rows(load(modality)) == expected, name
