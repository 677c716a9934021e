"""Files that look like samples and are in none are counted and named; so are folders that are taken for something else
than they are; names and links of any kind are taken as they come.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow

from ironbind.data import detect, load_dataset
from ironbind.data.folder_entries import printable
from ironbind.data.inspect.inspection import inspect_data
from ironbind.recipes.any_layout import command_for
from ironbind.recipes.any_layout import data as data_recipe
from ironbind.recipes.request import AuditRequest
from ironbind.recipes.world_and_folder import folder
from ironbind.types import InputError
from layouts.tiny_archives import pets, shard
from refusals import refused


def png(path, value=9):
    path.parent.mkdir(parents=True, exist_ok=True)
    Pillow.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)


def wav(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.zeros(800, np.float32), 8000)


@pytest.fixture
def shapes(tmp_path):
    for name in ("ball/0", "ball/1", "cube/0"):
        png(tmp_path / "shapes" / f"{name}.png")
    return tmp_path / "shapes"


def problems(path, **options):
    """What `data check` says is wrong; loading the folder says the same."""
    check = inspect_data(path, modality="image", options=options)
    assert load_dataset("folder", path, modality="image", **options).problems == check.problems
    return check.problems


def test_a_whole_folder_has_no_problems(shapes):
    (shapes / "ball" / "notes.txt").write_text("side file")
    (shapes / "captions.csv").write_text(
        "id,caption\n" + "".join(f"{name},told\n" for name in ("ball/0", "ball/1", "cube/0"))
    )
    assert problems(shapes) == ()


def test_files_in_deeper_folders_are_counted_and_named(shapes):
    for number in range(8):
        png(shapes / "cube" / "batch1" / "a" / f"{number}.png")
    (line,) = problems(shapes)
    assert line == (
        f"{shapes / 'cube'}: 8 image files lie in folders below it and are left out, the first batch1/a/0.png; "
        "expected DIR/<class>/<file>"
    )


def test_a_split_inside_the_classes_hides_the_others_on_purpose(tmp_path):
    for split in ("train", "test"):
        for name in ("ball", "cube"):
            png(tmp_path / name / split / "0.png")
    assert problems(tmp_path, split="test") == ()


def test_a_class_of_another_format_is_named(shapes):
    (shapes / "ring").mkdir()
    (shapes / "ring" / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(90))
    (line,) = problems(shapes)
    assert line.startswith(f"{shapes / 'ring'}: is left out as a class, its 1 files are 1 .heic; expected image files")


def test_single_files_of_another_format_are_counted(shapes):
    for name in ("ball/2.heic", "cube/1.GIF", "cube/2.gif", "ball/0.heic"):
        (shapes / name).write_bytes(b"x")  # the last has a twin that is read: 0.png
    (line,) = problems(shapes)
    assert line.startswith(
        f"{shapes}: 3 files are left out, of formats that are not read: 2 .gif, 1 .heic; expected .png"
    )


def test_lists_beside_class_folders_are_no_clouds(tmp_path):
    for name in ("ball", "cube"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.txt").write_text("0 0 0\n1 1 1\n0 1 0\n")
    for name in ("README.txt", "shape_names.txt"):
        (tmp_path / name).write_text("about these")
    assert load_dataset("folder", tmp_path, modality="point").problems == ()


def test_files_beside_the_class_folders_are_counted(shapes):
    png(shapes / "loose.png")
    png(shapes / "contact-sheet-2.png")  # what a check wrote
    (line,) = problems(shapes)
    assert line.startswith(
        f"{shapes}: 1 image files lie beside the class folders and are left out, the first loose.png"
    )


@pytest.mark.parametrize("folders", [("test",), ("train", "val")])
def test_folders_called_like_splits_are_no_classes(tmp_path, folders):
    for name in folders:
        png(tmp_path / name / "0.png")
    (line,) = problems(tmp_path)
    assert line.startswith(f"{tmp_path}: its folders are called like splits ({', '.join(folders)})")


# ------------------------------------------------------------------------------------- trees named by modality


def test_modality_folders_without_classes_are_no_classes(tmp_path):
    png(tmp_path / "image" / "0.png")
    png(tmp_path / "depth" / "0.png")
    wav(tmp_path / "audio" / "0.wav")
    assert detect(tmp_path) == {"folder": "its folders are modalities (image, audio, depth)"}
    for modality in ("image", None, ("image", "audio")):
        line = refused("hold files and no class folders", "folder", tmp_path, modality=modality)
        assert "(image, audio, depth)" in line
        assert "expected DIR/<modality>/<class>/<file>, or captions.csv" in line
    with pytest.raises(InputError, match="its folders are modalities"):
        inspect_data(tmp_path)
    (tmp_path / "captions.csv").write_text("id,caption\n0,a dog\n")
    data = load_dataset("folder", tmp_path)
    assert (data.modalities, list(data.ids), list(data.captions)) == (("image", "audio", "depth"), ["0"], ["a dog"])
    with pytest.raises(
        InputError, match="holds no classes to tell apart; expected class folders, or the recipe 'data'"
    ):
        folder(AuditRequest(data=str(tmp_path), modalities=("image",)))
    assert " data --data " in command_for(inspect_data(tmp_path))
    (job,) = data_recipe(AuditRequest(data=str(tmp_path), layout="folder", modalities=("image",)))
    assert [extra.kind for extra in job.extra_tasks] == ["retrieval"]
    (tmp_path / "captions.csv").unlink()
    png(tmp_path / "cat" / "0.png")  # with another folder among them, all are classes
    assert load_dataset("folder", tmp_path, modality="image").classes == ("cat", "depth", "image")


def five(root, stem="0"):
    for name in ("ball", "cube"):
        for modality in ("image", "thermal"):
            png(root / modality / name / "0.png")
        for modality in ("audio",):
            wav(root / modality / name / f"{stem}.wav")
        (root / "point" / name).mkdir(parents=True)
        (root / "point" / name / "0.xyz").write_text("0 0 0\n1 1 1\n0 1 0\n")


def test_a_tree_of_several_modalities_is_not_taken_for_pairs_of_two(tmp_path):
    five(tmp_path)
    check = inspect_data(tmp_path)
    assert (check.layout, check.listing.modalities) == ("folder", ("image", "audio", "point", "thermal"))
    assert check.problems == ()


def test_modalities_that_are_left_out_are_named(tmp_path):
    five(tmp_path, stem="other")
    check = inspect_data(tmp_path)
    assert check.listing.modalities == ("image",)
    assert any("no file stem occurs in all of image, audio, point, thermal" in line for line in check.problems)
    assert any(line.startswith("left out: audio, point, thermal") for line in check.lines())
    asked = inspect_data(tmp_path, modality="thermal")
    assert asked.problems == ()
    assert any(line.startswith("left out: image, audio, point") for line in asked.lines())


def test_where_two_layouts_fit_the_user_is_asked(shapes):
    (shapes / "meta").mkdir()
    (shapes / "meta" / "esc50.csv").write_text("filename,fold,target,category\n")
    (shapes / "list.csv").write_text("image,label\nball/0.png,ball\ncube/0.png,cube\n")
    with pytest.raises(InputError, match=r"looks like several layouts .*; expected --layout esc50 or csv") as refusal:
        inspect_data(shapes)
    assert "\n" not in str(refusal.value)
    assert len(inspect_data(shapes, layout="csv").listing) == 2
    (shapes / "meta" / "esc50.csv").unlink()
    assert inspect_data(shapes).layout == "csv"  # class folders fit beside any other


def test_deeper_pictures_of_imagenet_are_counted(tmp_path):
    for name in ("n01440764/a", "n01443537/b", "n01443537/deeper/c"):
        png(tmp_path / "val" / f"{name}.png")
    (line,) = load_dataset("imagenet", tmp_path).problems
    assert line.startswith(f"{tmp_path}/val/n01443537: 1 image files lie in folders below it")


def test_files_that_a_list_does_not_name_are_counted(shapes):
    (shapes / "list.csv").write_text("image,label\nball/0.png,ball\ncube/0.png,cube\n")
    check = inspect_data(shapes)
    assert check.unlisted == ("1 image files beside those that list.csv lists are in no sample, the first ball/1.png",)
    assert f"note: {check.unlisted[0]}" in check.lines()
    assert check.problems == ()
    assert inspect_data(shapes, limit=1).unlisted == inspect_data(shapes, options={"classes": ["cube"]}).unlisted == ()
    (shapes / "ball" / "1.png").unlink()
    assert inspect_data(shapes).unlisted == ()


def test_members_of_another_format_in_a_shard_are_counted(tmp_path):
    unread = [{"heic": b"x", "cls": b"1", "txt": b"told"}, {"gif": b"x", "cls": b"0", "txt": b"told"}]
    shard(tmp_path / "0.tar", [*pets(4), *unread])
    (tmp_path / "classnames.txt").write_text("guinea pig\ncat\n")
    (line,) = load_dataset("webdataset", tmp_path).problems
    assert line.startswith(
        f"{tmp_path}: 2 samples are left out, of formats that are not read: 1 .gif, 1 .heic; expected"
    )


# --------------------------------------------------------------------------------------------- names and links

LATIN = os.fsdecode(b"w\xfcrfel")


def test_names_that_are_not_utf8(shapes):
    os.rename(shapes / "cube" / "0.png", shapes / "cube" / f"{LATIN}.png")
    os.rename(shapes / "ball", shapes / LATIN)
    data = load_dataset("folder", shapes, modality="image")
    assert load_dataset("folder", shapes.rename(shapes.with_name(LATIN)), modality="image").name == "w\\xfcrfel"
    shapes.with_name(LATIN).rename(shapes)
    assert (data.classes, list(data.ids)) == (
        ("cube", "w\\xfcrfel"),
        ["cube/w\\xfcrfel", "w\\xfcrfel/0", "w\\xfcrfel/1"],
    )
    assert len(data.fingerprint) == 64
    assert data.scan() == {}
    assert any("3 file names are not in this system's encoding" in note for note in data.notes)
    (shapes / "cube" / f"{LATIN}.png").write_bytes(b"damaged")
    (line,) = data.scan().values()
    assert line.encode().startswith(f"{shapes}/cube/w".encode())


def test_printable_names():
    assert printable("würfel") == "würfel"
    assert printable(LATIN) == "w\\xfcrfel"
    assert printable("w\udcc3\udcbcrfel") == "würfel"  # UTF-8 seen by a Python whose locale is C
    assert printable("\ud800") == "\\ud800"  # out of a JSON list
    assert str(InputError(f"{LATIN}: is wrong")) == "w\\udcfcrfel: is wrong"


def test_ids_do_not_depend_on_the_locale(shapes):
    os.rename(shapes / "cube", shapes / "würfel")
    code = (
        "import sys; from ironbind.data import load_dataset; d = load_dataset('folder', sys.argv[1], modality='image');"
        "print(ascii((d.classes, list(d.ids))), d.fingerprint)"
    )
    plain = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    told = subprocess.run(
        [sys.executable, "-c", code, shapes], capture_output=True, text=True, check=True, env=plain
    ).stdout
    data = load_dataset("folder", shapes, modality="image")
    assert told.split("\n")[0] == f"{ascii((data.classes, list(data.ids)))} {data.fingerprint}"
    assert "w\\xfcrfel" in told


def test_links_to_themselves_and_to_nowhere_are_one_line(shapes):
    os.symlink("x.png", shapes / "cube" / "x.png")
    os.symlink("gone.png", shapes / "cube" / "y.png")
    os.symlink("loop", shapes / "loop")
    os.symlink("..", shapes / "cube" / "up")
    check = inspect_data(shapes, modality="image")
    assert [line.partition(":")[0] for line in check.problems] == [
        str(shapes / "cube" / f"{name}.png") for name in "xy"
    ]
    data = load_dataset("folder", shapes, modality="image", skip_unreadable=True)
    assert list(data.ids) == ["ball/0", "ball/1", "cube/0"]
    with pytest.raises(InputError, match=r"x\.png: cannot be read"):
        load_dataset("folder", shapes, modality="image").fingerprint  # noqa: B018


@pytest.mark.parametrize(
    "layout",
    ["folder", "caltech101", "ncaltech101", "nimagenet", "imagenet", "nyud", "sund", "rgbt", "kinetics", "csv"],
)
def test_every_layout_looks_past_a_link_to_itself(tmp_path, layout):
    os.symlink("loop", tmp_path / "loop")
    assert layout not in detect(tmp_path)
    with pytest.raises(InputError):
        load_dataset(layout, tmp_path, **({"modality": "image"} if layout in ("folder", "csv") else {}))
