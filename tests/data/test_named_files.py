"""Labels in names, and archives that are not unpacked: what is read, what is told, what is refused in one line."""

import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from command_line import ironbind
from ironbind.data import detect, likeliest, load_dataset
from ironbind.data.layouts.generic.named_files import NamePattern
from ironbind.types import InputError
from layouts.tiny_pictures import encoded
from layouts.tiny_sounds import sound
from refusals import refused

DIGITS = Path(__file__).parents[3] / "shared" / "data" / "spoken-digits.tar"


def folder(path, **options):
    return load_dataset("folder", path, **options)


def tree(root: Path, names) -> Path:
    """Pictures, each another one."""
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(encoded("png", number))
    return root


PETS = ("pets/cat/1.png", "pets/cat/2.png", "pets/guinea_pig/1.png")


def packed(root: Path, kind: str) -> Path:
    """The tree in an archive beside it, with the entries that other systems add."""
    file = root.parent / f"photos.{kind}"
    paths = sorted(path for path in root.rglob("*") if path.is_file())
    if kind == "zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.mkdir("pets") if hasattr(archive, "mkdir") else None
            archive.writestr("__MACOSX/pets/cat/._1.png", b"no picture")
            for path in paths:
                archive.write(path, path.relative_to(root).as_posix())
    else:
        with tarfile.open(file, "w:gz" if kind == "tar.gz" else "w") as archive:
            for path in paths:
                archive.add(path, f"./{path.relative_to(root).as_posix()}" if kind == "tar" else path.name)
    return file


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_of_class_folders_is_the_folder(tmp_path, kind):
    root = tree(tmp_path / "tree", PETS)
    file = packed(root, kind)
    whole, data = folder(root / "pets", modality="image"), folder(file)
    assert likeliest(file) == "folder"
    assert (data.classes, list(data.labels), data.modalities) == (whole.classes, list(whole.labels), ("image",))
    digests = [[each.sources["image"].digest(row) for row in range(3)] for each in (whole, data)]
    assert digests[0] == digests[1]
    again = pickle.loads(pickle.dumps(data))
    assert (again.decode("image", [2])[0].pixels == whole.decode("image", [2])[0].pixels).all()
    assert folder(file, limit=2).sources["image"].absent() == []
    assert folder(file, classes=["guinea pig"]).classes == ("guinea pig",)


def test_imagenets_wnids_are_named_as_its_layout_names_them(tmp_path):
    root = tree(tmp_path / "tree", ["x/n01440764/a.png", "x/n02123045/b.png"])
    whole = load_dataset("imagenet", root / "x")
    assert folder(packed(root, "zip")).classes == whole.classes == ("tench", "tabby cat")


def test_splits_in_an_archive_are_chosen(tmp_path):
    names = [f"x/{split}/{kind}/{i}.png" for split in ("train", "test") for kind in ("cat", "dog") for i in range(2)]
    file = packed(tree(tmp_path / "tree", names), "zip")
    refused(r"holds the splits test, train; expected --data-option split=test", "folder", file)
    assert len(folder(file, split="test")) == 4
    refused("holds no image file below a folder val", "folder", file, modality="image", split="val")


def test_archives_that_cannot_be_used(tmp_path):
    root = tree(tmp_path / "tree", PETS)
    refused("is a compressed tar file, whose members cannot be read alone", "folder", packed(root, "tar.gz"))
    zipped = packed(root, "zip")
    zipped.write_bytes(zipped.read_bytes()[:-30])
    refused(r"photos.zip: cannot be read", "folder", zipped)
    sound(root / "pets" / "cat" / "x.wav")
    refused("holds files of audio, image; expected --modality", "folder", packed(root, "tar"))
    refused("archives and patterns give one modality", "folder", packed(root, "tar"), modality=("image", "audio"))
    assert folder(packed(root, "tar"), modality="audio").classes == ("cat",)
    flat = packed(tree(tmp_path / "flat", ["a.png", "b.png"]), "zip")
    refused("holds files but no class folders; expected <class>/<file>, or the option pattern", "folder", flat)


def test_a_damaged_member_is_named(tmp_path):
    root = tree(tmp_path / "tree", PETS)
    file = tmp_path / "photos.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(root.rglob("*.png")):
            archive.writestr(path.relative_to(root).as_posix(), path.read_bytes()[:40])
    with pytest.raises(InputError, match=r"photos.zip:pets/cat/1.png: cannot be read"):
        folder(file).decode("image", [0])
    assert "_1_" not in str(folder(file).fingerprint)


def test_labels_by_a_pattern(tmp_path):
    root = tree(tmp_path / "flat", ["guinea_pig_anna_1.png", "cat_anna_2.png", "cat_bob_1.png", "readme.png"])
    data = folder(root, pattern="{label}_{by}_{take}", modality="image")
    assert data.classes == ("cat", "guinea pig")
    assert list(data.ids) == ["cat_anna_2", "cat_bob_1", "guinea_pig_anna_1"]
    assert data.notes[0] == "labels by the pattern {label}_{by}_{take}"
    assert "1 files are left out, whose names do not fit the pattern {label}_{by}_{take}" in data.problems[0]
    one = folder(root, pattern="{label}_{by}_{take}", where={"by": "anna", "take": ["1", "2"]})
    assert list(one.ids) == ["cat_anna_2", "guinea_pig_anna_1"]
    assert "where by=anna, take=1+2: 2 of 3 files" in one.notes
    refused("no name fits the pattern", "folder", root, pattern="{label}-{take}")
    refused("where.speaker: is no field of the pattern", "folder", root, pattern="{label}_{by}", where={"speaker": "x"})
    refused("no file has what where asks for; expected some of by: anna, bob", "folder", root,
            pattern="{label}_{by}_{take}", where={"by": "carl"})  # fmt: skip


def test_a_pattern_over_folders_and_names_for_numbers(tmp_path):
    root = tree(tmp_path / "deep", ["anna/1_a.png", "anna/0_b.png", "bob/1_c.png"])
    data = folder(root, pattern="{by}/{label}_{take}", names=["zero", "one"])
    assert (data.classes, list(data.labels)) == (("zero", "one"), [0, 1, 1])
    refused("has the label '1'; expected 0 to 0", "folder", root, pattern="{by}/{label}_{take}", names=["zero"])
    refused("where and names are about labels in file names", "folder", root, names=["zero"], modality="image")


@pytest.mark.parametrize(
    "text", ["{by}_{take}", "{label}{take}", "{label}_{label}", "{}_{label}", "{label}_{a-b}", "{label"]
)
def test_patterns_that_are_none(text):
    with pytest.raises(InputError, match=r"expected text with fields, such as {label}_{speaker}_{take}"):
        NamePattern(text)


def test_a_literal_in_a_pattern_is_no_expression():
    assert NamePattern("a.b({label})").read("a.b(cat)") == {"label": "cat"}
    assert NamePattern("a.b({label})").read("aXb(cat)") is None


def test_the_command_takes_archives_and_patterns(tmp_path):
    root = tree(tmp_path / "flat", [f"{kind}_{i}.png" for kind in ("ball", "cube") for i in range(2)])
    assert "folder" not in detect(root)
    quick = ("--steps", "1", "--eps", "4/255", "--space", "pixels")
    pattern = ("--data-option", "pattern={label}_{take}")
    done = ironbind("audit", "data", "--data", root, *pattern, *quick, "--out", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    assert (
        "expected a folder for each class, <class>/<file>, --data-option pattern=..."
        in ironbind("audit", "data", "--data", root).stderr
    )
    checked = ironbind("data", "check", root, *pattern, "--sheet", tmp_path / "sheet.png")
    assert "classes: 2" in checked.stdout or "2 classes" in checked.stdout, checked.stdout
    file = packed(tree(tmp_path / "tree", [f"{kind}/{i}.png" for kind in ("ball", "cube") for i in range(2)]), "zip")
    done = ironbind("audit", "folder", "--data", file, "--modality", "image", *quick, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not DIGITS.is_file(), reason="the spoken digits are not there")
def test_real_recordings_in_a_tar():
    data = folder(DIGITS, pattern="{label}_{speaker}_{take}", where={"speaker": "theo"})
    assert (len(data), len(data.classes), data.modalities) == (250, 10, ("audio",))
    assert data.decode("audio", [0])[0].rate == 8000
