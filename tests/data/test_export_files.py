import csv
import json
from dataclasses import fields, is_dataclass
from functools import partial

import numpy as np
import pytest

from ironbind.data import load_dataset
from ironbind.data.export_files import export
from ironbind.types import Audio, Image, InputError, Points

load = partial(load_dataset, "folder")


def same(one, other) -> bool:
    if not is_dataclass(one):
        return one == other
    return type(one) is type(other) and all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
    )


class Memory:
    """A small data set in memory whose names are as awkward as names get."""

    name = "memory"
    modalities = ("image", "audio", "point")
    classes = ("zebra crossing", "AC/DC: live?", "ac/dc: live!", "Hund")
    templates = ("ein Bild von {}.",)

    def __init__(self, n: int = 12, seed: int = 0) -> None:
        self.ids = [f"split/{seed}/{i}" for i in range(n)][::-1]
        self.ids[:4] = ["a/b", "a:b", "A b", "..hidden"]
        self.labels = [(0, 2, 1, 0)[i % 4] for i in range(n)]
        self.captions = [f'caption "{i}", with a comma\nand a line' for i in range(n)]
        self.captions[5], self.ids[6] = "=cmd|' /C calc'!A0", "@SUM(A1)"
        self.seed, self.fingerprint = seed, f"memory {n} {seed}"
        self.decoded = 0

    def __len__(self) -> int:
        return len(self.ids)

    def decode(self, modality, indices):
        out = []
        for index in indices:
            self.decoded += 1
            rng = np.random.default_rng([self.seed, index])
            out.append({
                "image": Image(rng.integers(0, 256, (6, 4, 3), dtype=np.uint8)),
                "audio": Audio(rng.uniform(-1, 1, (2, 30)).astype(np.float32), 8000),
                "point": Points(rng.normal(size=(9, 3)).astype(np.float32)),
            }[modality])  # fmt: skip
        return out


def check_same(data, back) -> None:
    assert back.name == data.name
    assert list(back.ids) == list(data.ids)
    assert list(back.labels) == list(data.labels)
    assert tuple(back.classes) == tuple(data.classes)
    assert tuple(back.templates) == tuple(data.templates)
    assert list(back.captions) == list(data.captions)
    for modality in back.modalities:
        rows = range(len(data))
        pairs = zip(data.decode(modality, rows), back.decode(modality, rows), strict=True)
        assert all(same(one, other) for one, other in pairs), modality


def test_an_export_read_back_is_the_same_data_set(tmp_path):
    data, calls = Memory(), []
    root = export(data, tmp_path / "new" / "out", progress=lambda done, total: calls.append((done, total)))
    assert root == tmp_path / "new" / "out"
    assert calls[-1] == (36, 36)
    assert "12 samples of 4 classes" in (root / "README.txt").read_text()
    back = load(root)
    assert back.modalities == data.modalities
    assert back.notes == ()
    check_same(data, back)
    check_same(data, load(root / "audio", modality="audio"))  # one modality's folder is a part of its export
    assert not [path for path in root.rglob(".partial*")]
    part = load(root, modality="point", limit=4)
    assert set(part.ids) < set(data.ids)
    assert part.classes == data.classes


def test_without_its_manifest_an_export_is_still_class_folders(tmp_path):
    root = export(Memory(), tmp_path / "out")
    (root / "dataset.json").unlink()
    (root / "captions.csv").unlink()
    back = load(root)
    assert len(back) == 12
    assert len(back.classes) == 3, "a class without samples leaves no folder"


def test_some_modalities_first_others_later(tmp_path):
    data = Memory()
    export(data, tmp_path, modalities=["point"])
    assert load(tmp_path).modalities == ("point",)
    export(data, tmp_path, modalities=["image"])
    assert load(tmp_path).modalities == ("image", "point")
    before = data.decoded
    export(data, tmp_path, modalities=["image"])
    assert data.decoded == before, "nothing is done twice"
    check_same(data, load(tmp_path))


class Killed(Exception):
    pass


def test_an_interrupted_export_resumes(tmp_path):
    data = Memory(n=60)

    def kill(done, total):
        if done >= 32:
            raise Killed

    with pytest.raises(Killed):
        export(data, tmp_path, progress=kill)
    with pytest.raises(InputError, match="interrupted"):
        load(tmp_path)
    done = data.decoded
    assert 0 < done < 180
    (tmp_path / "image" / ".partial-x.png").write_bytes(b"half a file")
    export(data, tmp_path)
    assert data.decoded == 180, "what was written is not decoded again"
    check_same(data, load(tmp_path))


def test_other_folders_are_refused_and_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(InputError, match="is not empty and not an export; expected"):
        export(Memory(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    with pytest.raises(InputError, match="is a file; expected"):
        export(Memory(), tmp_path / "mine.txt")
    out = export(Memory(), tmp_path / "out")
    with pytest.raises(InputError, match="export of another data set"):
        export(Memory(seed=1), out)
    check_same(Memory(), load(out))


def test_wrong_modalities_are_refused_before_anything_is_written(tmp_path):
    for modalities, words in [
        (["video"], "'video' cannot be exported"),
        (["smell"], "'smell' cannot be exported"),
        ([], "no modality"),
    ]:
        with pytest.raises(InputError, match=f"{words}.*expected some of image, audio, point"):
            export(Memory(), tmp_path / "out", modalities=modalities)
    assert not (tmp_path / "out").exists()


def test_the_world_survives_on_disk_bit_for_bit(tmp_path):
    world = load_dataset("world", split="test", n=24)
    back = load_dataset("folder", export(world, tmp_path))
    assert set(back.modalities) >= {"image", "video", "audio", "point", "thermal", "event"}
    check_same(world, back)


@pytest.mark.parametrize(("field", "value"), [
    ("labels", [0.5, 1]), ("labels", [True, False]), ("labels", 3), ("ids", ["a", None]), ("stems", "ab"),
    ("folders", [1, 2]), ("classes", {"a": 1}),
    ("modalities", [{}]), ("modalities", ["smell"]), ("name", None), ("complete", "yes"), ("templates", [1]),
])  # fmt: skip
def test_a_manifest_of_other_kinds_is_refused(tmp_path, field, value):
    export(load_dataset("world", n=2), tmp_path, modalities=["image"])
    path = tmp_path / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))
    with pytest.raises(InputError, match="dataset.json: (cannot be read|names the modality|its ids)"):
        load_dataset("folder", tmp_path)


def test_its_captions_start_no_formula(tmp_path):
    export(Memory(), tmp_path / "out", modalities=["image"])
    with (tmp_path / "out" / "captions.csv").open(encoding="utf-8", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert {"'=cmd|' /C calc'!A0", "'@SUM(A1)"} <= set(cells)
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@")]
