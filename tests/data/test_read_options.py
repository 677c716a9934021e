"""Options of readers reach the readers through every kind of storage, and tell the data sets read with them apart."""

import io
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image as Pillow

from ironbind.data import load_dataset
from ironbind.data.loader_options import loader_options
from ironbind.data.read_options import sources_read_with
from ironbind.data.storage.crops import Crops
from ironbind.types import InputError

LYING = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
UPRIGHT = np.rot90(LYING, -1)
COUNTS = (7000 + 20 * np.arange(100).reshape(10, 10)).astype(np.uint16)


def png() -> bytes:
    exif, out = Pillow.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Pillow.fromarray(LYING).save(out, format="PNG", exif=exif)
    return out.getvalue()


def folder(root):
    for name in ("cat", "dog"):
        (root / name).mkdir()
        (root / name / "0.png").write_bytes(png())
    return "folder", {"modality": "image"}


def csv(root):
    (root / "0.png").write_bytes(png())
    (root / "list.csv").write_text("image,label\n0.png,cat\n", encoding="utf-8")
    return "csv", {}


def webdataset(root):
    with tarfile.open(root / "shard-000.tar", "w") as tar:
        for name, content in (("0.png", png()), ("0.cls", b"cat")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return "webdataset", {}


def parquet(root):
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")

    rows = {"image": [{"bytes": png(), "path": None}], "label": ["cat"]}
    pyarrow.parquet.write_table(pyarrow.table(rows), root / "test-00000-of-00001.parquet")
    return "hf_datasets", {}


@pytest.mark.parametrize("storage", [folder, csv, webdataset, parquet])
def test_orientation_reaches_every_storage(tmp_path, storage):
    layout, options = storage(tmp_path)
    path = tmp_path / "list.csv" if storage is csv else tmp_path
    upright, stored = (load_dataset(layout, path, **options, **choice) for choice in ({}, {"orientation": "ignore"}))
    for data, pixels, kind in (
        (upright, UPRIGHT, "turned upright by its EXIF orientation"),
        (stored, LYING, "left as stored, EXIF orientation ignored"),
    ):
        (sample,) = pickle.loads(pickle.dumps(data)).decode("image", [0])  # as a worker process gets it
        np.testing.assert_array_equal(sample.pixels, pixels)
        assert sample.remarks[0].kind == kind
    assert upright.fingerprint != stored.fingerprint
    assert "read with orientation=ignore" in stored.notes
    assert not any(note.startswith("read with") for note in upright.notes)
    assert load_dataset(layout, path, **options, orientation="upright").fingerprint == upright.fingerprint


def test_crops_are_cut_from_what_the_options_give(tmp_path):
    folder(tmp_path)
    source = load_dataset("folder", tmp_path, modality="image").sources["image"]
    crops = Crops(source, [(0, 0, 8, 5)] * 2)  # fits the picture as stored only
    with pytest.raises(InputError, match="leaves its picture of 6 x 9"):
        crops.decode(0)
    options = {"orientation": "ignore", "thermal_range": None, "thermal_percentiles": None}
    stored = sources_read_with("crops", {"image": crops}, options)["image"]
    np.testing.assert_array_equal(stored.decode(0).pixels, LYING[:5, :8])


def thermal(root, **files):
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for stem, numbers in files.items():
            Pillow.fromarray(numbers).save(root / name / f"{stem}.tif")


def test_a_range_of_counts_is_an_option_of_the_command_line(tmp_path):
    thermal(tmp_path, a=COUNTS)
    options = loader_options("folder", ["thermal_range=7000+8980"])
    data = load_dataset("folder", tmp_path, modality="thermal", **options)
    (sample,) = data.decode("thermal", [0])
    np.testing.assert_allclose(sample.intensity, np.linspace(0, 1, 100).reshape(10, 10), atol=1e-6)
    assert "read with thermal_range=(7000.0, 8980.0)" in data.notes
    percentiles = load_dataset("folder", tmp_path, modality="thermal", thermal_percentiles=(0, 100))
    np.testing.assert_allclose(percentiles.decode("thermal", [0])[0].intensity, sample.intensity, atol=1e-6)
    assert len({data.fingerprint, percentiles.fingerprint}) == 2


def test_what_only_a_range_makes_readable_is_not_left_out(tmp_path):
    thermal(tmp_path, a=COUNTS, kelvin=(280 + COUNTS / 1000).astype(np.float32))
    scaled = load_dataset("folder", tmp_path, modality="thermal", thermal_range=(280, 300), skip_unreadable=True)
    assert (len(scaled), scaled.problems) == (4, ())
    assert len(load_dataset("folder", tmp_path, modality="thermal", skip_unreadable=True)) == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"orientation": "sideways"}, "orientation='sideways' is not known; expected one of upright, ignore"),
        ({"thermal_range": (1.0, 2.0)}, r"thermal_range=\(1.0, 2.0\): .* holds image; expected data of thermal"),
        ({"thermal_range": (2.0, 1.0)}, r"thermal_range=\(2.0, 1.0\) is no range; expected two rising numbers"),
        ({"thermal_percentiles": (1.0, 200.0)}, "within 0 to 100"),
    ],
)
def test_options_that_fit_nothing_are_one_line(tmp_path, options, words):
    layout, others = folder(tmp_path)
    with pytest.raises(InputError, match=words) as refusal:
        load_dataset(layout, tmp_path, **others, **options)
    assert "\n" not in str(refusal.value)
