import json
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow

from ironbind.data import load_dataset
from ironbind.data.listing import stratified
from ironbind.modalities import MODALITIES
from ironbind.types import Audio, Dataset, Image, InputError, Points

RNG = np.random.default_rng(0)

load = partial(load_dataset, "folder")


def png(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.full((4, 5, 3), value, np.uint8)).save(path, format="PNG")
    return path


def wav(path: Path, value: float = 0.25) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(100, value), 8000)
    return path


@pytest.fixture
def pets(tmp_path) -> Path:
    """Two classes, three pictures, and the litter of real folders."""
    root = tmp_path / "pets"
    png(root / "guinea_pig" / "b.png", 1)
    png(root / "guinea_pig" / "a.PNG", 2)
    png(root / "cat" / "x.1.jpg", 3)
    (root / "cat" / "notes.txt").write_text("x")
    (root / "cat" / ".DS_Store").write_bytes(b"x")
    (root / ".git" / "objects").mkdir(parents=True)
    (root / "LICENSE").write_text("x")
    return root


def test_folders_called_by_wordnets_numbers_are_imagenets_classes(tmp_path):
    """Those of photographs sorted as ImageNet is: a number is no prompt. One other folder, and all are names."""
    for synset in ("n02012849", "n01440764"):
        png(tmp_path / synset / "a.png")
    found = load(tmp_path, modality="image")
    assert (found.classes, found.ids) == (("tench", "crane bird"), ["n01440764/a", "n02012849/a"])
    assert any("ImageNet's names" in note for note in found.notes)
    png(tmp_path / "cat" / "a.png")
    assert load(tmp_path, modality="image").classes == ("cat", "n01440764", "n02012849")


def refused(words: str, *arguments, **options) -> str:
    with pytest.raises(InputError, match=words) as refusal:
        load(*arguments, **options)
    assert "\n" not in str(refusal.value)
    assert "expected" in str(refusal.value)
    return str(refusal.value)


def test_class_folders(pets):
    data = load_dataset("folder", pets, modality="image")
    assert isinstance(data, Dataset)
    assert (data.name, data.modalities, data.classes) == ("pets", ("image",), ("cat", "guinea pig"))
    assert list(data.ids) == ["cat/x.1", "guinea_pig/a", "guinea_pig/b"]
    assert list(data.labels) == [0, 1, 1]
    assert data.captions is None
    assert data.templates is None
    assert [int(one.pixels[0, 0, 0]) for one in data.decode("image", [2, 1, 0])] == [1, 2, 3]
    assert data.notes == ("2 files are ignored: 1 .txt, 1 hidden",)


@pytest.mark.parametrize(("name", "suffixes"), [
    ("image", (".png", ".jpg", ".bmp", ".webp")), ("audio", (".wav", ".flac")),
    ("point", (".off", ".ply", ".npy", ".xyz")), ("thermal", (".png", ".tiff")),
])  # fmt: skip
def test_mixed_formats_of_one_modality(tmp_path, name, suffixes):
    for i, suffix in enumerate(suffixes):
        path = tmp_path / "thing" / f"{i}{suffix}"
        path.parent.mkdir(exist_ok=True)
        if name == "audio":
            soundfile.write(path, np.zeros(50), 8000)
        elif name == "thermal":
            Pillow.fromarray(np.zeros((4, 4), np.uint16)).save(path)
        elif name == "image":
            Pillow.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
        elif suffix == ".npy":
            np.save(path, np.eye(3))
        elif suffix == ".ply":
            MODALITIES["point"].write(Points(np.eye(3, dtype=np.float32)), path)
        else:
            path.write_text(("OFF\n3 0 0\n" if suffix == ".off" else "") + "1 0 0\n0 1 0\n0 0 1\n")
    data = load(tmp_path, modality=name)
    assert len(data) == len(suffixes)
    assert {type(one) for one in data.decode(name, range(len(data)))} == {MODALITIES[name].decoded}


def test_stems_that_collide_keep_their_suffix(tmp_path):
    png(tmp_path / "cat" / "a.jpg", 1)
    png(tmp_path / "cat" / "a.png", 2)
    data = load(tmp_path, modality="image")
    assert list(data.ids) == ["cat/a", "cat/a.png"]
    assert [int(one.pixels[0, 0, 0]) for one in data.decode("image", [0, 1])] == [1, 2]


def test_modality_folders_are_paired_by_stem(tmp_path):
    for stem, value in [("1", 10), ("2", 20), ("only", 30)]:
        png(tmp_path / "image" / "dog" / f"{stem}.png", value)
    for stem, value in [("2", 0.5), ("1", 0.25)]:
        wav(tmp_path / "audio" / "dog" / f"{stem}.wav", value)
    wav(tmp_path / "audio" / "cat" / "1.wav")
    for modality in (None, ("image", "audio")):
        data = load(tmp_path, modality=modality)
        assert data.modalities == ("image", "audio")
        assert (list(data.ids), data.classes) == (["dog/1", "dog/2"], ("dog",))
        images, sounds = data.decode("image", [0, 1]), data.decode("audio", [0, 1])
        assert [int(one.pixels[0, 0, 0]) for one in images] == [10, 20]
        assert [float(one.waveform[0, 0]) for one in sounds] == [0.25, 0.5]
        assert any("1 image files are left out" in note for note in data.notes)
        assert any("1 audio files are left out" in note for note in data.notes)
        assert any("1 folders without samples" in note and "cat" in note for note in data.notes)
    assert list(load(tmp_path, modality="image").ids) == ["dog/1", "dog/2", "dog/only"], (
        "ids do not depend on what else is loaded"
    )
    refused("no folder thermal/", tmp_path, modality=("image", "thermal"))
    png(tmp_path / "thermal" / "dog" / "elsewhere.png")
    refused("no file stem occurs in all of image, thermal", tmp_path, modality=("image", "thermal"))


@pytest.mark.parametrize("layout", ["{split}/{name}/{i}.png", "{name}/{split}/{i}.png"])
def test_splits_outside_and_inside_classes(tmp_path, layout):
    for split, count in [("train", 3), ("test", 2)]:
        for name in ("desk", "night_stand"):
            for i in range(count):
                png(tmp_path / layout.format(split=split, name=name, i=i))
    data = load(tmp_path, modality="image", split="test")
    assert (len(data), data.classes) == (4, ("desk", "night stand"))
    line = refused("point at one of them, or name a split", tmp_path, modality="image")
    assert "train" in line


def test_captions_and_templates(pets):
    (pets / "captions.csv").write_text(
        'id,caption\nguinea_pig/a,"a small, round animal"\ncat/x.1,ein Kätzchen\nguinea_pig/b, b \n',
        encoding="utf-8-sig",
    )
    (pets / "templates.txt").write_text("a drawing of a {}.\n\n{}, drawn\n")
    data = load(pets, modality="image")
    assert data.captions == ["ein Kätzchen", "a small, round animal", "b"]
    assert data.templates == ("a drawing of a {}.", "{}, drawn")
    assert load(pets, modality="image", classes=["guinea_pig"]).captions == ["a small, round animal", "b"]
    (pets / "other.csv").write_text("caption,id\nfirst,cat/x.1\nsecond,cat/x.1\nb,guinea_pig/a\nc,guinea_pig/b\n")
    data = load(pets, modality="image", captions=pets / "other.csv")
    assert data.captions == ["first", "b", "c"]
    assert any("1 further captions" in note for note in data.notes)


@pytest.mark.parametrize(("file", "text", "words"), [
    ("captions.csv", "id,text\na,b\n", "columns id, text"), ("captions.csv", "", "columns .none."),
    ("captions.csv", "id,caption\ncat/x.1,b\n", "2 of 3 samples"),
    ("captions.csv", 'id,caption\n"a', "cannot be read"), ("captions.csv", b"id,caption\n\xff\xfe,b", "cannot be read"),
    ("templates.txt", "a photo\n", "'a photo'"), ("templates.txt", "\n", "one {}"),
    ("dataset.json", "{", "cannot be read"),
    ("dataset.json", '{"format": "ironbind export 99"}', "is not of format"), ("dataset.json", "[]", "cannot be read"),
    ("dataset.json", '{"format": "ironbind export 1"}', "cannot be read"),
])  # fmt: skip
def test_bad_files_beside_the_classes_are_named(pets, file, text, words):
    (pets / file).write_bytes(text if isinstance(text, bytes) else text.encode())
    assert str(pets / file) in refused(words, pets, modality="image")


def test_wrong_folders_are_one_line(tmp_path, pets):
    refused("path is missing", None)
    refused("no such folder", tmp_path / "nowhere", modality="image")
    refused("is a file, not a folder", pets / "LICENSE", modality="image")
    (tmp_path / "empty").mkdir()
    refused("is an empty folder", tmp_path / "empty", modality="audio")
    refused("no class folders", pets / "cat", modality="image")
    (tmp_path / "hollow" / "cat").mkdir(parents=True)
    refused("no image file in its 1 class folders, found no file", tmp_path / "hollow", modality="image")
    line = refused("no audio file in its 2 class folders", pets, modality="audio")
    assert ".png (1)" in line or ".png (2)" in line
    assert ".wav, .flac, .ogg" in line
    refused("one modality", pets)
    refused("modality 'sound' is not known", pets, modality="sound")
    refused("modality 'sound' is not known", pets, modality=("image", "sound"))
    refused("limit 0", pets, modality="image", limit=0)
    refused("class 'dog' does not exist", pets, modality="image", classes=["dog"])
    refused("each once", pets, modality="image", classes=["cat", "cat"])
    refused("no such file", pets, modality="image", captions=pets / "none.csv")
    with pytest.raises(InputError, match="modality 'audio' was not loaded"):
        load(pets, modality="image").decode("audio", [0])
    png(pets / "guinea pig" / "c.png")
    refused("two folders for the class 'guinea pig'", pets, modality="image")


def test_one_class_is_allowed_and_noted(tmp_path):
    png(tmp_path / "cat" / "a.png")
    data = load(tmp_path, modality="image")
    assert any(note.startswith("one class only (cat)") for note in data.notes)


def test_chosen_classes_keep_the_order_given(pets):
    data = load(pets, modality="image", classes=["guinea_pig", "cat"])
    assert data.classes == ("guinea pig", "cat")
    assert list(data.labels) == [1, 0, 0]
    assert list(load(pets, modality="image", classes=("cat",)).ids) == ["cat/x.1"]


def test_unreadable_files_stop_a_decode_and_can_be_dropped_by_name(pets):
    (pets / "guinea_pig" / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (pets / "guinea_pig" / "c.jpg").write_bytes(b"")
    data = load(pets, modality="image")
    assert len(data) == 4
    with pytest.raises(InputError, match=r"b\.png: cannot be read"):
        data.decode("image", [1, 2])
    seen = []
    assert list(data.scan(lambda done, total: seen.append((done, total)))) == [2, 3]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    clean = load(pets, modality="image", skip_unreadable=True)
    assert list(clean.ids) == ["cat/x.1", "guinea_pig/a"]
    assert len(clean.problems) == 2
    assert "b.png" in clean.problems[0]
    assert "c.jpg: is empty" in clean.problems[1]
    assert len(clean.decode("image", range(2))) == 2
    for file in pets.glob("*/*.*"):
        if file.suffix.lower() in (".png", ".jpg"):
            file.write_bytes(b"x")
    refused("none of its 4 samples can be read", pets, modality="image", skip_unreadable=True)


def test_a_sample_unreadable_in_one_modality_is_dropped_from_all(tmp_path):
    for stem in "12":
        png(tmp_path / "image" / "dog" / f"{stem}.png")
        wav(tmp_path / "audio" / "dog" / f"{stem}.wav")
    (tmp_path / "audio" / "dog" / "1.wav").write_bytes(b"RIFF")
    data = load(tmp_path, skip_unreadable=True)
    assert list(data.ids) == ["dog/2"]
    assert {modality: len(source) for modality, source in data.sources.items()} == {"image": 1, "audio": 1}
    assert len(data.problems) == 1


def test_a_limit_keeps_the_share_of_each_class_and_smaller_ones_are_subsets():
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    for seed in range(5):
        rows = stratified(labels, 100, seed)
        assert rows == sorted(set(rows))
        counts = Counter(labels[rows].tolist())
        assert all(abs(counts[one] - share) <= 1 for one, share in {0: 60, 1: 30, 2: 10}.items())
        assert set(stratified(labels, 20, seed)) < set(rows)
    assert stratified(labels, 100, 0) != stratified(labels, 100, 1)
    chosen = Counter(row for seed in range(400) for row in stratified(np.repeat([0, 1], [6, 4]), 5, seed))
    assert all(abs(chosen[row] / 400 - 0.5) < 0.1 for row in range(10)), "every sample is as likely as any other"


def test_a_negative_seed_is_one_line():
    with pytest.raises(InputError, match="seed -1 is too small; expected at least 0"):
        stratified([0, 1, 0], 2, -1)


def test_limit_of_a_folder(tmp_path):
    for name, count in [("a", 8), ("b", 4)]:
        for i in range(count):
            png(tmp_path / name / f"{i}.png", i)
    whole, part = load(tmp_path, modality="image"), load(tmp_path, modality="image", limit=6, seed=3)
    assert Counter(part.labels) == {0: 4, 1: 2}
    assert set(part.ids) < set(whole.ids)
    assert list(part.ids) == list(load(tmp_path, modality="image", limit=6, seed=3).ids)
    for row, one in enumerate(part.ids):
        assert part.decode("image", [row])[0].pixels[0, 0, 0] == int(one[-1])
    assert len(load(tmp_path, modality="image", limit=100)) == 12
    assert part.fingerprint != whole.fingerprint


def test_the_fingerprint_follows_names_contents_and_captions_not_place_or_time(tmp_path, pets):
    def fingerprint():
        return load(pets, modality="image").fingerprint

    before = fingerprint()
    assert before == fingerprint()
    (pets / "cat" / "x.1.jpg").touch()
    moved = pets.rename(tmp_path / "elsewhere").rename(pets)
    assert fingerprint() == before
    path = moved / "cat" / "x.1.jpg"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    changed = fingerprint()
    assert changed != before
    path.rename(path.with_name("y.jpg"))
    assert fingerprint() not in (before, changed)
    (pets / "captions.csv").write_text("id,caption\ncat/y,a\nguinea_pig/a,b\nguinea_pig/b,c\n")
    assert fingerprint() not in (before, changed)


def test_the_fingerprint_sees_every_edit_in_place(tmp_path):
    path = tmp_path / "a" / "large.npy"
    path.parent.mkdir()
    np.save(path, RNG.normal(size=(60_000, 3)))
    seen = {load(tmp_path, modality="point").fingerprint}
    data = path.read_bytes()
    places = (200, 20_000, len(data) // 3, len(data) // 2, len(data) - 20_000, len(data) - 1)
    for at in places:
        changed = bytearray(data)
        changed[at] ^= 1
        path.write_bytes(changed)
        seen.add(load(tmp_path, modality="point").fingerprint)
    assert len(seen) == 1 + len(places)
    path.write_bytes(data)
    assert load(tmp_path, modality="point").fingerprint in seen
    path.unlink()
    with pytest.raises(InputError, match="expected the file that was there"):
        _ = load_gone(tmp_path, path, data).fingerprint


def load_gone(root, path, data):
    path.write_bytes(data)
    folder = load(root, modality="point")
    path.unlink()
    return folder


def test_text_and_sound_are_values_of_their_type(tmp_path):
    for name in ("yes", "no"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.txt").write_text(f"{name}!")
        wav(tmp_path / name / "1.wav")
    assert load(tmp_path, modality="text").decode("text", [0, 1]) == ["no!", "yes!"]
    sound = load(tmp_path, modality="audio").decode("audio", [0])[0]
    assert isinstance(sound, Audio)
    assert not isinstance(sound, Image)


def test_an_interrupted_export_and_a_mutilated_one_are_refused(tmp_path):
    fields = {
        "format": "ironbind export 1", "name": "n", "source": "s", "complete": False, "modalities": ["image"],
        "classes": ["cat", "dog"],
        "folders": ["cat", "dog"], "templates": None, "ids": ["one", "two"], "labels": [1, 0], "stems": ["1", "2"],
    }  # fmt: skip
    png(tmp_path / "image" / "dog" / "1.png")
    (tmp_path / "dataset.json").write_text(json.dumps(fields))
    refused("interrupted", tmp_path)
    (tmp_path / "dataset.json").write_text(json.dumps({**fields, "complete": True}))
    refused(r"2\.\*: is gone.*1 such of n", tmp_path)
    refused("was exported without audio", tmp_path, modality="audio")
    data = load(tmp_path, skip_unreadable=True)
    assert (list(data.ids), list(data.labels), data.classes) == (["one"], [1], ("cat", "dog"))
    assert len(data.problems) == 1
    (tmp_path / "dataset.json").write_text(json.dumps({**fields, "complete": True, "labels": [1, 2]}))
    refused("do not fit each other", tmp_path)
