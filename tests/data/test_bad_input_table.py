"""The table of bad input in docs/your-data.md: each kind of fault gives just the line that stands there."""

import os
import re
from pathlib import Path

import pytest
import soundfile
from PIL import Image

from ironbind.data import load_dataset
from ironbind.data.inspect.inspection import inspect_data
from ironbind.data.loader_options import loader_options
from ironbind.types import InputError

PAGE = (Path(__file__).parents[2] / "docs" / "your-data.md").read_text(encoding="utf-8")
SECTION = PAGE.partition("<!-- bad input: begin -->")[2].partition("<!-- bad input: end -->")[0]
ROWS = dict(re.findall(r"^\| (?!kind of fault|-)(.+?) \| `(.+?)` \|$", SECTION, re.MULTILINE))


def png(*names):
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((8, 6), 50).save(name, "PNG")


def noise(path):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, [0.1, -0.1] * 400, 8000)


def csv(text):
    Path("list.csv").write_text(text)


def tar_list():
    Path("pets/meta").mkdir()
    Path("pets/meta/esc50.csv").write_text("filename,fold,target,category\n")
    Path("pets/list.csv").write_text("image,label\ncat/1.png,cat\n")


# kind -> what makes the fault; what is asked; "check": a line of `data check`, "load": the refusal
CASES = {
    "files in deeper folders": (lambda: png("pets/cat/batch/1.png", "pets/cat/batch/2.png"), {}, "check"),
    "a class of files that are not read": (
        lambda: [Path("pets/ring").mkdir(), Path("pets/ring/1.HEIC").write_bytes(b"x")], {}, "check"),
    "some files that are not read": (lambda: Path("pets/cat/2.gif").write_bytes(b"GIF89a"), {}, "check"),
    "files beside the class folders": (lambda: png("pets/a.png"), {}, "check"),
    "splits without class folders": (lambda: png("flat/train/1.png", "flat/test/1.png"), {"path": "flat"}, "check"),
    "a link to nowhere or to itself": (lambda: os.symlink("3.png", "pets/cat/3.png"), {}, "check"),
    "a file that is no picture": (lambda: Path("pets/cat/4.png").write_bytes(b"hello"), {}, "check"),
    "one class": (lambda: png("one/cat/1.png"), {"path": "one"}, "note"),
    "a name that is not UTF-8": (lambda: png(os.fsdecode(b"pets/cat/w\xfc.png")), {}, "note"),
    "modality folders without class folders": (
        lambda: [png("assets/image/0.png"), noise("assets/audio/0.wav")], {"path": "assets"}, "load"),
    "modalities whose files cannot be paired": (
        lambda: [png("both/image/cat/0.png"), noise("both/audio/cat/1.wav")],
        {"path": "both", "modality": None}, "load"),
    "several layouts fit": (tar_list, {"modality": None}, "check refused"),
    "no layout fits": (lambda: Path("empty").mkdir(), {"path": "empty"}, "check refused"),
    "a list with another separator": (
        lambda: csv("image;label\na.png;cat\n"), {"layout": "csv", "path": "list.csv", "modality": None}, "load"),
    "a list without known columns": (
        lambda: csv("photo,kind\na.png,cat\n"), {"layout": "csv", "path": "list.csv", "modality": None}, "load"),
    "a list that names missing files": (
        lambda: csv("image,label\npets/cat/1.png,cat\ngone.png,dog\n"),
        {"layout": "csv", "path": "list.csv", "modality": None}, "load"),
    "an option that does not exist": (lambda: None, {"layout": "esc50", "option": "flod=1"}, "option"),
    "an option of another type": (lambda: None, {"layout": "esc50", "option": "fold=x"}, "option"),
    "a mapping without a name": (lambda: None, {"layout": "csv", "option": "columns=photo"}, "option"),
    "a class that does not exist": (lambda: None, {"classes": ["dog"]}, "load"),
}  # fmt: skip


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    png("pets/cat/1.png", "pets/guinea_pig/1.png")


def said(options, how) -> list[str]:
    options = {"path": "pets", "layout": "folder", "modality": "image", **options}
    path, layout = options.pop("path"), options.pop("layout")
    try:
        if how == "option":
            loader_options(layout, [options["option"]])
        if how == "load":
            load_dataset(layout, path, **{name: value for name, value in options.items() if value is not None})
        check = inspect_data(path, None if how == "check refused" else layout, modality=options["modality"])
    except InputError as error:
        return [str(error)]
    return list(check.problems if how == "check" else check.listing.notes)


def test_every_kind_has_a_row():
    assert list(ROWS) == list(CASES)


@pytest.mark.parametrize("kind", CASES)
def test_the_line_of_the_table_is_what_is_said(kind, here):
    make, options, how = CASES[kind]
    make()
    lines = said(options, how)
    assert len(lines) == 1, lines
    assert lines == [ROWS.get(kind)]
