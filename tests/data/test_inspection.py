"""`ironbind data check` from the inside: what a folder is taken for, what is counted, what is named, what the sheet
shows.
"""

import re
from importlib import import_module
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import soundfile

from ironbind.data import DATASETS, load_dataset
from ironbind.data.export_files import export
from ironbind.data.inspect.contact_sheet import SIDE, contact_sheet, save_sheet, thumbnail
from ironbind.data.inspect.inspection import inspect_data, kinds_in, some_of
from ironbind.data.names.class_names import class_names
from ironbind.recipes.any_layout import command_for
from ironbind.types import Audio, Depth, Events, Image, Imu, InputError, Points, Thermal, Video


@pytest.fixture
def sounds(tmp_path):
    for label, name in enumerate(("bell", "snare_drum")):
        (tmp_path / "sounds" / name).mkdir(parents=True)
        for i in range(3 + label):
            soundfile.write(
                tmp_path / "sounds" / name / f"{i}.wav", 0.1 * np.random.default_rng(i).standard_normal(800), 8000
            )
    return tmp_path / "sounds"


def test_bare_class_folders_are_counted_and_their_kind_guessed(sounds):
    told = []
    found = inspect_data(sounds, progress=lambda done, total: told.append((done, total)))
    assert (found.layout, found.options, found.listing.modalities) == ("folder", {"modality": "audio"}, ("audio",))
    assert found.counts == {"bell": 3, "snare drum": 4}
    assert found.problems == ()
    assert told == [(i, 7) for i in range(1, 8)]
    text = "\n".join(found.lines())
    for said in (
        "layout: folder",
        "samples: 7 of audio",
        "classes: 2, 3 to 4 samples each",
        "no problems: every file can be read",
    ):
        assert said in text


def test_files_that_cannot_be_read_are_named(sounds):
    (sounds / "bell" / "1.wav").write_bytes(b"hello")
    (sounds / "snare_drum" / "0.wav").write_bytes((sounds / "snare_drum" / "0.wav").read_bytes()[:50])
    found = inspect_data(sounds)
    assert [line.split(":")[0].rpartition("/")[2] for line in found.problems] == ["1.wav", "0.wav"]
    assert found.lines()[-1] == "problems: 2"
    assert set(found.readable) == set(range(7)) - {1, 3}
    assert not set(found.readable) & {1, 3}
    assert all(row in found.readable for rows in some_of(found).values() for row in rows)


def test_members_that_a_list_names_and_nobody_has(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    PIL.Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "list.csv").write_text("image,label\na.png,cat\ngone.png,dog\n")
    found = inspect_data(tmp_path)
    assert found.layout == "csv"
    assert len(found.listing) == 1
    (problem,) = found.problems
    assert "gone.png" in problem


def test_a_list_that_cannot_be_used_at_all(tmp_path):
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "esc50.csv").write_text("nonsense\n")
    with pytest.raises(InputError, match="esc50.csv: has columns nonsense"):
        inspect_data(tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        inspect_data(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="looks like no layout known here; expected --layout NAME"):
        inspect_data(tmp_path / "empty")


def test_whose_classes_they_are(tmp_path):
    for name in class_names("modelnet40")[:38]:
        (tmp_path / name.replace(" ", "_")).mkdir()
        (tmp_path / name.replace(" ", "_") / "a.xyz").write_text("0 0 0\n1 1 1\n0 1 0\n")
    found = inspect_data(tmp_path)
    assert found.official == "38 of the 40 classes of modelnet40; without wardrobe, xbox"
    for name in class_names("modelnet40")[38:]:
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.xyz").write_text("0 0 0\n1 1 1\n0 1 0\n")
    assert inspect_data(tmp_path).official == "all 40 classes of modelnet40"


def test_an_export_and_a_limit(tmp_path):
    export(load_dataset("world", n=12), tmp_path, modalities=["image", "thermal"])
    found = inspect_data(tmp_path, limit=5, seed=1)
    assert (found.layout, len(found.listing), found.listing.modalities) == ("folder", 5, ("image", "thermal"))
    sheet = contact_sheet(found.listing, some_of(found, classes=3, each=2))
    assert sheet.height > 6 * SIDE
    picture = np.asarray(sheet)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 200  # something is drawn


def test_what_readers_remarked_is_counted(tmp_path):
    for number, orientation in enumerate((1, 6, 6, 8)):
        (tmp_path / "cat").mkdir(exist_ok=True)
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation
        PIL.Image.effect_noise((64, 48), 80).save(tmp_path / "cat" / f"{number}.jpg", exif=exif)
    check = inspect_data(tmp_path)
    (line,) = check.remarks_counted()
    assert line == "3 of 4: turned upright by its EXIF orientation (2 orientation 6, 1 orientation 8)"
    assert f"note: {line}" in check.lines()
    alike = inspect_data(
        tmp_path, limit=1, seed=next(seed for seed in range(9) if inspect_data(tmp_path, limit=1, seed=seed).remarks)
    )
    assert re.fullmatch(
        r"1 of 1: turned upright by its EXIF orientation \(orientation [68]\)", alike.remarks_counted()[0]
    )


def test_a_sheet_replaces_no_file_unless_it_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sheet = PIL.Image.new("RGB", (3, 3))
    (tmp_path / "contact-sheet.png").write_bytes(b"mine")
    assert [str(save_sheet(sheet)) for _ in range(2)] == ["contact-sheet-2.png", "contact-sheet-3.png"]
    assert (tmp_path / "contact-sheet.png").read_bytes() == b"mine"
    assert save_sheet(sheet, tmp_path / "contact-sheet.png").read_bytes() != b"mine"
    for wrong in (tmp_path / "nowhere" / "a.png", tmp_path / "a.sheet", tmp_path):
        with pytest.raises(InputError, match=f"--sheet {wrong}: cannot be written"):
            save_sheet(sheet, wrong)


def test_a_sheet_writes_names_in_any_script(tmp_path):
    for name in ("猫", "Übung", "кот", "w\udcfc"):
        (tmp_path / name).mkdir()
        PIL.Image.new("RGB", (6, 4)).save(tmp_path / name / "0.png")
    check = inspect_data(tmp_path, modality="image")
    assert contact_sheet(check.listing, some_of(check)).height > 4 * SIDE


def test_kinds_by_suffix(tmp_path):
    for name in ("a.wav", "b.flac", "c.jpg"):
        (tmp_path / name).write_bytes(b"")
    assert kinds_in(tmp_path)[0] == "audio"
    assert "image" in kinds_in(tmp_path)
    assert kinds_in(tmp_path / "a.wav")[0] == "audio"


EXAMPLES = {}
for file in sorted((Path(__file__).parents[1] / "layouts").glob("*.py")):
    EXAMPLES |= import_module(f"layouts.{file.stem}").EXAMPLES


@pytest.mark.parametrize("name", [one for one in DATASETS if one != "world"])
def test_every_layout_is_recognised_read_and_drawn(name, tmp_path):
    EXAMPLES[name](tmp_path / "data")
    found = inspect_data(tmp_path / "data")
    assert found.layout == name
    assert not [line for line in found.problems if "cannot be read" in line]
    assert len(found.listing) >= 2
    assert all("\n" not in line for line in found.lines())
    sheet = contact_sheet(found.listing, some_of(found, classes=2, each=2))
    assert min(sheet.size) > SIDE
    assert command_for(found).startswith("ironbind audit ")


RNG = np.random.default_rng(0)
SAMPLES = {
    "image": Image(RNG.integers(0, 255, (30, 50, 3), dtype=np.uint8)),
    "video": Video(RNG.integers(0, 255, (5, 20, 10, 3), dtype=np.uint8), 25.0),
    "audio": Audio(0.1 * RNG.standard_normal((2, 4000)).astype(np.float32), 8000),
    "short": Audio(0.1 * RNG.standard_normal((1, 10)).astype(np.float32), 8000),
    "points": Points(RNG.standard_normal((500, 3)).astype(np.float32)),
    "one point": Points(np.zeros((1, 3), np.float32)),
    "thermal": Thermal(RNG.random((40, 30)).astype(np.float32)),
    "flat": Thermal(np.full((4, 4), 0.5, np.float32)),
    "events": Events(
        RNG.integers(0, 30, 200), RNG.integers(0, 20, 200), np.sort(RNG.random(200)), RNG.integers(0, 2, 200), 30, 20
    ),
    "no events": Events(*[np.zeros(0, int)] * 2, np.zeros(0), np.zeros(0, int), 30, 20),
    "depth": Depth(RNG.random((40, 30)).astype(np.float32) * 5),
    "holes": Depth(np.full((4, 4), np.nan, np.float32)),
    "imu": Imu(RNG.standard_normal((6, 100)).astype(np.float32), 100.0),
    "text": "a small, round animal — with accents",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_kind_of_sample_has_a_picture(name):
    picture = thumbnail(SAMPLES[name])
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8
    if name not in ("flat", "no events", "holes"):
        assert picture.std() > 3


def test_the_middle_frame_of_a_video_is_shown():
    frames = np.zeros((5, 8, 8, 3), np.uint8)
    frames[2] = 200
    assert thumbnail(Video(frames, 25.0)).min() == 200
