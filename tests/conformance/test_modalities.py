"""Every modality of the table: files survive a round trip, and whatever is no such file is one clear line. To register
is to be tested.
"""

from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from ironbind.modalities import MODALITIES
from ironbind.types import Audio, Depth, Events, Image, Imu, InputError, Modality, Points, Space, Thermal, Video


def example(kind: type, rng: np.random.Generator):
    """A small decoded sample that every lossless format can hold."""
    if kind is str:
        return "a red teapot, très petit"
    if kind is Image:
        return Image(rng.integers(0, 256, (7, 5, 3), dtype=np.uint8))
    if kind is Video:
        return Video(rng.integers(0, 256, (8, 32, 32, 3), dtype=np.uint8), 8.0)
    if kind is Audio:
        return Audio((rng.integers(-32768, 32768, (1, 4000)) / 32768).astype(np.float32), 8000)
    if kind is Points:
        return Points(rng.normal(size=(50, 3)).astype(np.float32))
    if kind is Thermal:
        return Thermal(rng.integers(0, 65536, (6, 9)).astype(np.float32) / np.float32(65535))
    if kind is Events:
        t = np.sort(rng.integers(0, 300_000, 200)) / 1e6
        return Events(rng.integers(0, 32, 200), rng.integers(0, 24, 200), t, rng.integers(0, 2, 200), 32, 24)
    if kind is Depth:
        return Depth((rng.integers(0, 10_000, (6, 9)) / 1000).astype(np.float32))
    if kind is Imu:
        return Imu(rng.normal(size=(6, 100)).astype(np.float32), 200.0)
    raise AssertionError(f"no example of {kind}")


def same(one, other) -> bool:
    if not is_dataclass(one):
        return one == other
    return type(one) is type(other) and all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
    )


@pytest.fixture(params=list(MODALITIES))
def modality(request) -> Modality:
    return MODALITIES[request.param]


def test_an_entry_is_complete(modality):
    assert MODALITIES.where(modality.name)
    assert MODALITIES[modality.name] is modality
    assert modality.suffixes
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in modality.suffixes)
    assert modality.templates
    assert all(template.count("{}") == 1 for template in modality.templates)
    for name, space in modality.spaces.items():
        assert isinstance(space, Space)
        assert space.name == name
        assert space.unit
        assert space.describe(4 / 255)


def test_spaces_to_attack_come_in_the_agreed_order():
    default = {name: next(iter(MODALITIES[name].spaces), None) for name in MODALITIES}
    expected = {
        "image": "pixels",
        "video": "pixels",
        "thermal": "pixels",
        "audio": "logmel",
        "point": "unit_sphere",
        "event": "event_frames",
    }
    assert {name: default[name] for name in expected} == expected
    assert list(MODALITIES["audio"].spaces) == ["logmel", "waveform"]
    assert default["text"] is None


@pytest.mark.parametrize("name", ["sample", "with space, ünïcode and 日本", "a:b"])
def test_written_files_read_back_exactly(modality, tmp_path, name):
    for seed in range(3):
        sample = example(modality.decoded, np.random.default_rng(seed))
        path = tmp_path / f"{name}{modality.suffixes[0]}"
        modality.write(sample, path)
        back = modality.read(path)
        assert isinstance(back, modality.decoded)
        assert same(sample, back)
        assert same(back, modality.read(path)), "a file must always decode to the same sample"


def test_every_suffix_refuses_what_is_no_such_file(modality, tmp_path):
    garbage = np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8).tobytes()
    for suffix in modality.suffixes:
        path = tmp_path / f"sample{suffix}"
        refuse(modality, path, "no such file")
        path.write_bytes(b"")
        refuse(modality, path, "empty")
        path.write_bytes(b"\x80\x81" + garbage + b"\xff")
        if suffix == ".bin":  # five bytes of anything are an event; only their number can be wrong
            path.write_bytes(garbage + b"123")
        refuse(modality, path, "expected")
        folder = tmp_path / f"folder{suffix}"
        folder.mkdir()
        refuse(modality, folder, "folder")


def test_damaged_files_are_samples_or_one_line(modality, tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / f"sample{modality.suffixes[0]}"
    modality.write(example(modality.decoded, rng), path)
    data = path.read_bytes()
    for i in range(60):
        at = int(rng.integers(len(data)))
        noise = rng.integers(0, 256, 4, dtype=np.uint8).tobytes()
        path.write_bytes([data[:at], data[:at] + noise + data[at + 4 :], data[:at] + noise + data[at:]][i % 3])
        try:
            sample = modality.read(path)
        except InputError as error:
            lines = str(error).splitlines()
            assert [line.startswith(str(path)) for line in lines] == [True]  # noqa: PT017 - either outcome is right
        else:
            assert isinstance(sample, modality.decoded)


def refuse(modality: Modality, path, word: str) -> None:
    with pytest.raises(InputError) as refusal:
        modality.read(path)
    line = str(refusal.value)
    assert str(path) in line
    assert word in line
    assert "expected" in line
    assert "\n" not in line
