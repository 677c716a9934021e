import numpy as np
import pytest

from ironbind.data import load_dataset
from ironbind.types import InputError
from layouts.tiny_events import WNIDS, five_byte_events, ncaltech101, nimagenet


def test_ncaltech101_recordings_differ_in_size_and_drop_overflow_rows(tmp_path):
    ncaltech101(tmp_path)
    data = load_dataset("ncaltech101", tmp_path)
    assert data.classes == ("Faces easy", "accordion")
    assert any("BACKGROUND_Google (2 recordings) is left out" in note for note in data.notes)
    whole = load_dataset("ncaltech101", tmp_path, background=True)
    assert whole.classes == ("BACKGROUND Google", "Faces easy", "accordion")
    assert len(whole) == 6
    sizes = {
        one: (events.width, events.height) for one, events in zip(data.ids, data.decode("event", range(4)), strict=True)
    }
    assert sizes["Faces_easy/image_0001"] == (201, 150)
    assert sizes["accordion/image_0002"] == (202, 151)
    events = data.decode("event", [0])[0]
    assert len(events.t) == 58
    raw = np.fromfile(tmp_path / "Caltech101" / "Faces_easy" / "image_0001.bin", np.uint8).reshape(-1, 5).astype(int)
    plain = (raw[:, 2] & 127) << 16 | raw[:, 3] << 8 | raw[:, 4]
    assert round(events.t[-1] * 1e6) == plain[-1] + 2 * 2**13
    assert set(events.p) <= {0, 1}


def test_ncaltech101_pointed_at_its_classes_and_damaged(tmp_path):
    ncaltech101(tmp_path)
    assert len(load_dataset("ncaltech101", tmp_path / "Caltech101")) == 4
    path = tmp_path / "Caltech101" / "accordion" / "image_0002.bin"
    path.write_bytes(path.read_bytes()[:-2])
    data = load_dataset("ncaltech101", tmp_path)
    with pytest.raises(InputError, match=r"image_0002\.bin: has 298 bytes, which is not a multiple of 5"):
        data.decode("event", range(4))
    kept = load_dataset("ncaltech101", tmp_path, skip_unreadable=True)
    assert (len(kept), len(kept.problems)) == (3, 1)
    with pytest.raises(InputError, match="no event file"):
        load_dataset("ncaltech101", five_byte_events(tmp_path / "other" / "a" / "b" / "c.bin", 0).parents[2])


def test_nimagenet_gathers_its_parts(tmp_path):
    nimagenet(tmp_path)
    data = load_dataset("nimagenet", tmp_path)
    assert data.classes == ("tench", "tabby cat", "toilet paper")
    assert load_dataset("nimagenet", tmp_path, names="wordnet").classes == ("tench", "tabby", "toilet tissue")
    assert list(data.labels) == [0, 0, 1, 1, 2, 2]
    assert data.ids[0] == f"{WNIDS[0]}/ILSVRC2012_val_10000001"
    assert any("3 of ImageNet's 1000" in note for note in data.notes)
    rows = np.load(tmp_path / "extracted_val" / "Part_2" / WNIDS[1] / "ILSVRC2012_val_20000001.npz")["event_data"]
    events = data.decode("event", [2])[0]
    assert (events.width, events.height) == (640, 480)
    for column, expected in [
        (events.x, rows["x"]),
        (events.y, rows["y"]),
        (events.p, rows["p"]),
        (events.t, rows["t"] / 1e6),
    ]:
        np.testing.assert_array_equal(column, expected)


def test_nimagenet_with_a_class_in_two_parts_or_without_parts(tmp_path):
    nimagenet(tmp_path)
    ids = list(load_dataset("nimagenet", tmp_path).ids)
    base = tmp_path / "extracted_val"
    (base / "Part_9").mkdir()
    moved = base / "Part_1" / WNIDS[0] / "ILSVRC2012_val_10000002.npz"
    (base / "Part_9" / WNIDS[0]).mkdir()
    moved.rename(base / "Part_9" / WNIDS[0] / moved.name)
    assert list(load_dataset("nimagenet", tmp_path).ids) == ids
    for part in list(base.glob("Part_[123]")):
        for folder in list(part.iterdir()):
            folder.rename(base / folder.name)
    assert list(load_dataset("nimagenet", base).ids) == ids


@pytest.mark.parametrize(("options", "words"), [
    ({"split": "test"}, "split 'test' does not exist"), ({"split": "train"}, "holds no <wnid>"),
    ({"names": "latin"}, "names 'latin' are not known"),
])  # fmt: skip
def test_nimagenet_refusals(tmp_path, options, words):
    nimagenet(tmp_path)
    with pytest.raises(InputError, match=words):
        load_dataset("nimagenet", tmp_path, **options)
