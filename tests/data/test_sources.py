"""Where samples come from: rows of tables, members of archives, crops; their fingerprints, errors and worker
processes.
"""

import io
import multiprocessing
import os
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image as Pillow

from ironbind.data.listing import UNLABELLED, Listing, choose
from ironbind.data.storage.crops import Crops
from ironbind.data.storage.files import Files
from ironbind.data.storage.hdf5 import Hdf5Rows
from ironbind.data.storage.parquet import ParquetRows
from ironbind.data.storage.tar import TarMembers
from ironbind.modalities import MODALITIES
from ironbind.modalities.reading import read_bytes
from ironbind.types import Dataset, Image, InputError, Points, Thermal

READ = MODALITIES["image"].read


def png(value: int, size: tuple[int, int] = (4, 5)) -> bytes:
    out = io.BytesIO()
    Pillow.fromarray(np.full((*size, 3), value, np.uint8)).save(out, "PNG")
    return out.getvalue()


def points(row: np.ndarray) -> Points:
    if row.shape != (7, 3):
        raise ValueError(f"has shape {row.shape}; expected (7, 3)")
    return Points(row)


def files(root: Path) -> Files:
    for value in range(6):
        (root / f"{value}.png").write_bytes(png(value))
    return Files(root, [f"{value}.png" for value in range(6)], READ)


def parquet(root: Path) -> ParquetRows:
    for shard in range(2):
        rows = [{"bytes": png(3 * shard + row), "path": None} for row in range(3)]
        pq.write_table(pa.table({"image": rows}), root / f"{shard}.parquet", row_group_size=2)
    return ParquetRows(root, [(f"{row // 3}.parquet", row % 3) for row in range(6)], "image.bytes", READ, ".png")


def tar(root: Path) -> TarMembers:
    members = []
    with tarfile.open(root / "shard.tar", "w") as archive:
        for value in range(6):
            info = tarfile.TarInfo(f"{value}.png")
            info.size = len(png(value))
            archive.addfile(info, io.BytesIO(png(value)))
    with tarfile.open(root / "shard.tar") as archive:
        members = [("shard.tar", one.name, one.offset_data, one.size) for one in archive]
    return TarMembers(root, members, READ)


def hdf5(root: Path) -> Hdf5Rows:
    with h5py.File(root / "a.h5", "w") as file:
        file["data"] = np.arange(6, dtype=np.float32)[:, None, None] + np.zeros((6, 7, 3), np.float32)
    return Hdf5Rows(root, [("a.h5", row) for row in range(6)], "data", points)


MAKERS = {"files": files, "parquet": parquet, "tar": tar, "hdf5": hdf5}


def value(decoded) -> int:
    return int(decoded.xyz[0, 0] if isinstance(decoded, Points) else decoded.pixels[0, 0, 0])


def listing(source, **more) -> Listing:
    modality = "point" if isinstance(source, Hdf5Rows) else "image"
    return Listing(
        "toy",
        ("even", "odd"),
        [f"s{row}" for row in range(len(source))],
        [row % 2 for row in range(len(source))],
        {modality: source},
        **more,
    )


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_rows_are_samples(make, tmp_path):
    data = listing(make(tmp_path))
    assert isinstance(data, Dataset)
    (modality,) = data.modalities
    assert [value(one) for one in data.decode(modality, [5, 0, 3])] == [5, 0, 3]
    part = data.keep([4, 1])
    assert [value(one) for one in part.decode(modality, [0, 1])] == [4, 1]
    assert (list(part.ids), list(part.labels), part.classes) == (["s4", "s1"], [0, 1], ("even", "odd"))
    assert data.sources[modality].absent() == []
    assert len({data.sources[modality].place(row) for row in range(6)}) == 6


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_the_fingerprint_follows_content_and_not_place(make, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = listing(make(tmp_path / "a")), listing(make(tmp_path / "b"))
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint not in {one.keep([0, 1, 2]).fingerprint, one.keep([1, 0, 2, 3, 4, 5]).fingerprint}
    source = next(iter(one.sources.values()))
    digests = {source.digest(row) for row in range(6)}
    assert len(digests) == 6


@pytest.mark.parametrize("make", [files, parquet, tar])
def test_an_edit_in_place_changes_the_fingerprint_wherever_it_is(make, tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "png", lambda value: np.random.default_rng(value).bytes(100_000))
    before = listing(make(tmp_path)).fingerprint
    path = next(path for path in sorted(tmp_path.rglob("*")) if path.is_file())
    data = path.read_bytes()
    at = data.index(png(0)[:100]) + 20_000  # between the start, the middle and the end of sample 0
    source = make(tmp_path)
    path.write_bytes(data)
    assert listing(source).fingerprint == before
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert listing(source).fingerprint != before


@pytest.mark.parametrize("make", [files, tar])
def test_of_very_long_members_the_date_counts_beside_pieces(make, tmp_path, monkeypatch):
    for name, number in (("WHOLE", 5_000), ("PIECE", 10), ("PIECES", 5)):
        monkeypatch.setattr(f"ironbind.data.storage.files.{name}", number)
    monkeypatch.setitem(globals(), "png", lambda value: np.random.default_rng(value).bytes(10_000))
    source = make(tmp_path)
    path = next(path for path in sorted(tmp_path.rglob("*")) if path.is_file())
    date, data = path.stat().st_mtime_ns, path.read_bytes()
    before = source.digest(0)
    start = data.index(png(0))
    for at in (0, 2_500, 5_000, 9_999):  # in a piece
        path.write_bytes(data[: start + at] + bytes([data[start + at] ^ 1]) + data[start + at + 1 :])
        os.utime(path, ns=(date, date))
        assert source.digest(0) != before
    path.write_bytes(data[: start + 50] + bytes([data[start + 50] ^ 1]) + data[start + 51 :])  # in none
    os.utime(path, ns=(date + 1, date + 1))
    assert source.digest(0) != before
    path.write_bytes(data)
    os.utime(path, ns=(date, date))
    assert source.digest(0) == before


def decode_all(data: Listing) -> list[int]:
    (modality,) = data.modalities
    return [value(one) for one in data.decode(modality, range(len(data)))]


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
def test_forked_workers_open_their_own(make, tmp_path):
    data = listing(make(tmp_path))
    assert decode_all(data) == list(range(6))  # now a file is open here
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(decode_all, [data, data.keep([2, 5])]) == [list(range(6)), [2, 5]]


@pytest.mark.parametrize("make", [parquet, tar, hdf5])
def test_missing_and_damaged_containers_are_named(make, tmp_path):
    data = listing(make(tmp_path))
    (modality,) = data.modalities
    path = next(path for path in sorted(tmp_path.iterdir()))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    unreadable = data.scan()
    assert unreadable
    assert all(path.name in line and "\n" not in line for line in unreadable.values())
    path.unlink()
    rows = data.sources[modality].absent()
    assert rows == ([0, 1, 2] if make is parquet else list(range(6)))
    with pytest.raises(InputError, match=path.name):
        data.decode(modality, [0])
    with pytest.raises(InputError, match=f"is missing; expected what list.txt lists .{len(rows)} of 6"):
        choose(replace(data, listed="list.txt"))
    path.write_bytes(whole)
    assert decode_all(data) == list(range(6)), "a file that is whole again is opened anew"


@pytest.mark.parametrize("make", [parquet, hdf5])
def test_a_rewritten_table_is_read_anew(make, tmp_path):
    source = make(tmp_path)
    assert value(source.decode(0)) == 0
    if make is parquet:
        pq.write_table(pa.table({"image": [{"bytes": png(77), "path": "x"}] * 3}), tmp_path / "0.parquet")
    else:
        (tmp_path / "a.h5").unlink()
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["data"] = np.full((9, 7, 3), 77, np.float32)
    assert value(source.decode(0)) == 77


def test_rows_that_are_no_samples_are_named(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros((2, 9, 3), np.float32)
    source = Hdf5Rows(tmp_path, [("a.h5", 1)], "data", points)
    with pytest.raises(InputError, match=r"a\.h5:data\[1\]: has shape \(9, 3\); expected \(7, 3\)"):
        source.decode(0)
    with pytest.raises(InputError, match=r"a\.h5: cannot be read"):
        Hdf5Rows(tmp_path, [("a.h5", 2)], "data", points).decode(0)
    with pytest.raises(InputError, match=r"a\.h5: cannot be read"):
        Hdf5Rows(tmp_path, [("a.h5", 0)], "label", points).decode(0)
    pq.write_table(
        pa.table({"image": [{"bytes": b"\x89PNG\r\n\x1a\nbroken"}, {"bytes": None}]}), tmp_path / "a.parquet"
    )
    for row, words in (
        (0, r"a\.parquet:image\.bytes\[0\]: cannot be read .PNG data"),
        (1, "holds NoneType, not bytes"),
    ):
        with pytest.raises(InputError, match=words):
            ParquetRows(tmp_path, [("a.parquet", row)], "image.bytes", READ, ".png").decode(0)


def test_bytes_are_read_as_the_file_they_would_be():
    assert read_bytes(png(9), READ, ".JPEG", "there").pixels[0, 0, 0] == 9
    cloud = io.BytesIO()
    np.save(cloud, np.eye(3))
    assert np.array_equal(read_bytes(cloud.getvalue(), MODALITIES["point"].read, ".npy", "there").xyz, np.eye(3))
    with pytest.raises(InputError, match="there: is empty") as caught:
        read_bytes(b"", READ, ".png", "there")
    assert "ironbind-" not in str(caught.value)


def test_crops_are_cut_without_loss(tmp_path):
    values = np.random.default_rng(0).integers(0, 65536, (12, 10)).astype(np.uint16)
    Pillow.fromarray(values).save(tmp_path / "a.tiff")
    Pillow.fromarray((values >> 8).astype(np.uint8)).convert("RGB").save(tmp_path / "a.png")
    boxes = [(2, 3, 7, 9), (0, 0, 10, 12), (9, 11, 10, 12)]
    thermal = Crops(Files(tmp_path, ["a.tiff"] * 3, MODALITIES["thermal"].read), boxes)
    image = Crops(Files(tmp_path, ["a.png"] * 3, READ), boxes)
    for row, (left, top, right, bottom) in enumerate(boxes):
        cut = thermal.decode(row)
        assert isinstance(cut, Thermal)
        assert np.array_equal(np.round(cut.intensity * 65535), values[top:bottom, left:right])
        assert isinstance(image.decode(row), Image)
        assert np.array_equal(image.decode(row).pixels[..., 1], values[top:bottom, left:right] >> 8)
    assert len({thermal.place(row) for row in range(3)}) == 3
    for box in [(0, 0, 11, 3), (-1, 0, 4, 4), (3, 3, 3, 9), (5, 5, 4, 8)]:
        with pytest.raises(InputError, match="leaves its picture of 10 x 12 pixels, or is empty"):
            Crops(thermal.pictures.keep([0]), [box]).decode(0)
    sound = Crops(Files(tmp_path, ["a.txt"], MODALITIES["text"].read), [(0, 0, 1, 1)])
    (tmp_path / "a.txt").write_text("words")
    with pytest.raises(InputError, match="is no picture but str"):
        sound.decode(0)


def test_a_picture_is_decoded_once_for_the_crops_that_follow_each_other(tmp_path, monkeypatch):
    source = files(tmp_path)
    seen = []
    monkeypatch.setattr(
        Files, "decode", lambda self, row: seen.append(self.files[row]) or Image(np.zeros((4, 5, 3), np.uint8))
    )
    crops = Crops(Files(tmp_path, ["0.png"] * 4 + ["1.png"] * 2, source.read), [(0, 0, 1, 1)] * 6)
    for row in range(6):
        crops.decode(row)
    assert seen == ["0.png", "1.png"]


def test_a_listing_that_does_not_fit_together_is_refused(tmp_path):
    source = files(tmp_path)
    with pytest.raises(InputError, match="6 ids, but 5"):
        Listing("toy", ("a",), list("abcdef"), [0] * 5, {"image": source})
    with pytest.raises(InputError, match="'c' has the label 2; expected 0 to 1"):
        Listing("toy", ("a", "b"), list("abcdef"), [0, 1, 2, 0, 0, 0], {"image": source})
    with pytest.raises(InputError, match="two samples called 'a'"):
        Listing("toy", ("a",), list("abcdea"), [0] * 6, {"image": source})


def test_several_captions_and_labels_stay_with_their_sample(tmp_path):
    captions = [tuple(f"{row} told {take}" for take in range(1 + row % 3)) for row in range(6)]
    labels = [(0,), (1, 0), (0,), (1,), (0, 1), (1,)]
    data = Listing(
        "toy", ("even", "odd"), list("abcdef"), [one[0] for one in labels], {"image": files(tmp_path)}, captions, labels
    )
    assert data.captions == [f"{row} told 0" for row in range(6)]
    part = data.keep([4, 1])
    assert part.all_captions == [captions[4], captions[1]]
    assert part.all_labels == [(0, 1), (1, 0)]
    odd = choose(data, classes=["odd"])
    assert (list(odd.ids), odd.all_labels, odd.labels) == (["b", "d", "e", "f"], [(0,)] * 4, [0] * 4)
    both = choose(data, classes=["odd", "even"])
    assert both.all_labels == [(1,), (0, 1), (1,), (0,), (1, 0), (0,)]
    assert both.labels == [1, 0, 1, 0, 1, 0]
    assert pickle.loads(pickle.dumps(data)).fingerprint == data.fingerprint != data.keep(range(5)).fingerprint


def test_missing_members_are_refused_or_told(tmp_path):
    data = listing(files(tmp_path))
    for gone in (1, 4):
        (tmp_path / f"{gone}.png").unlink()
    with pytest.raises(InputError, match=r"1\.png: is missing; expected what list\.csv lists .2 of 6 samples of toy"):
        choose(replace(data, listed="list.csv"))
    for options in ({"skip_unreadable": True}, {"often_missing": True}):
        kept = choose(replace(data, listed="list.csv"), **options)
        assert list(kept.ids) == ["s0", "s2", "s3", "s5"]
        assert [line.partition(":")[0] for line in kept.problems] == ["1.png", "4.png"]
        assert "n = 4 of the 6 samples that list.csv lists: the others are missing" in kept.notes
    for row in (0, 2, 3, 5):
        (tmp_path / f"{row}.png").unlink()
    with pytest.raises(InputError, match="6 of 6"):
        choose(replace(data, listed="list.csv"), often_missing=True)


def test_data_without_classes_says_so(tmp_path):
    source = files(tmp_path)
    data = choose(Listing("toy", UNLABELLED, list("abcdef"), [0] * 6, {"image": source}, [("told",)] * 6))
    assert data.notes == ("no classes: for retrieval with captions only",)
