"""Pictures that say how they were held: upright by default in every reader and format, as stored on request."""

import struct
from functools import partial

import av
import numpy as np
import pytest
from PIL import Image as Pillow
from PIL import ImageOps

from ironbind.modalities import MODALITIES
from ironbind.modalities.orientation import from_display_matrix, turn, turn_picture
from ironbind.types import InputError, Video

RGB = np.random.default_rng(0).integers(0, 256, (11, 13, 3), dtype=np.uint8)
COUNTS = np.random.default_rng(1).integers(0, 65536, (11, 13), dtype=np.uint16)
TURNED = range(2, 9)
FILES = [
    ("image", "a.png", RGB, {}),
    ("image", "a.jpg", RGB, {"quality": 95}),
    ("image", "a.webp", RGB, {"lossless": True}),
    ("thermal", "a.png", COUNTS, {}),
    ("thermal", "a.tif", COUNTS, {}),
    ("thermal", "lzw.tif", COUNTS, {"compression": "tiff_lzw"}),
    ("thermal", "a.jpg", RGB[..., 0], {"quality": 95}),
    ("depth", "a.png", COUNTS, {}),
    ("depth", "a.tif", COUNTS, {}),
]


def save(path, pixels, orientation, options):
    exif = Pillow.Exif()
    exif[0x0112] = orientation
    Pillow.fromarray(pixels).save(path, exif=exif, **options)


def numbers(sample):
    return next(iter(vars(sample).values()))


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(("modality", "name", "pixels", "options"), FILES)
def test_a_picture_is_turned_upright_or_left_as_stored(tmp_path, modality, name, pixels, options, orientation):
    read = MODALITIES[modality].read
    save(tmp_path / f"plain-{name}", pixels, 1, options)
    save(tmp_path / name, pixels, orientation, options)
    stored = numbers(read(tmp_path / f"plain-{name}"))

    upright, as_stored = read(tmp_path / name), read(tmp_path / name, orientation="ignore")
    np.testing.assert_array_equal(numbers(as_stored), stored)
    np.testing.assert_array_equal(numbers(upright), turn(stored, orientation))
    kinds = [(remark.kind, remark.detail) for remark in (*upright.remarks, *as_stored.remarks)]
    assert kinds == [
        ("turned upright by its EXIF orientation", f"orientation {orientation}"),
        ("left as stored, EXIF orientation ignored", f"orientation {orientation}"),
    ]
    assert read(tmp_path / f"plain-{name}").remarks == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turning_is_what_exif_says(orientation):
    picture = Pillow.fromarray(RGB)
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    np.testing.assert_array_equal(turn(RGB, orientation), expected)
    np.testing.assert_array_equal(np.asarray(turn_picture(Pillow.fromarray(RGB), orientation)), expected)


@pytest.mark.parametrize("orientation", [0, 9, 1000])
def test_an_orientation_that_exif_does_not_know_turns_nothing(tmp_path, orientation):
    save(tmp_path / "a.png", RGB, orientation, {})
    sample = MODALITIES["image"].read(tmp_path / "a.png")
    np.testing.assert_array_equal(sample.pixels, RGB)
    assert sample.remarks == ()


def test_a_damaged_exif_block_does_not_cost_the_picture(tmp_path):
    Pillow.fromarray(RGB).save(tmp_path / "a.jpg", quality=95, exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff\xff\xff")
    assert MODALITIES["image"].read(tmp_path / "a.jpg").pixels.shape == RGB.shape


@pytest.mark.parametrize("modality", ["image", "thermal", "depth", "video"])
def test_another_choice_is_refused_in_one_line(tmp_path, modality):
    save(tmp_path / "a.png", COUNTS, 1, {})
    read = partial(MODALITIES[modality].read, orientation="sideways")
    with pytest.raises(InputError, match="^orientation='sideways' is not known; expected one of upright, ignore$"):
        read(tmp_path / "a.png")


def as_matrix(orientation):
    """The display matrix (a, b, u, c, d, v, x, y, w) that brings pixels stored in an orientation upright."""
    a, b, c, d = {
        1: (1, 0, 0, 1), 2: (-1, 0, 0, 1), 3: (-1, 0, 0, -1), 4: (1, 0, 0, -1),
        5: (0, 1, 1, 0), 6: (0, 1, -1, 0), 7: (0, -1, -1, 0), 8: (0, -1, 1, 0),
    }[orientation]  # fmt: skip
    return [a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30]


def test_display_matrices_move_pixels_as_their_orientation_does():
    """Each pixel's place, moved by the matrix and shifted back into the picture, is where `turn` puts it."""
    pixels = np.arange(6).reshape(2, 3)
    for orientation in range(1, 9):
        matrix = np.array(as_matrix(orientation)).reshape(3, 3) / 65536
        y, x = np.mgrid[:2, :3].reshape(2, -1)
        moved = np.stack([x, y], -1) @ matrix[:2, :2]
        column, row = (moved - moved.min(0)).astype(int).T
        expected = np.zeros((row.max() + 1, column.max() + 1), int)
        expected[row, column] = pixels[y, x]
        np.testing.assert_array_equal(turn(pixels, orientation), expected)
        assert from_display_matrix(matrix) == orientation


@pytest.mark.parametrize("suffix", [".mov", ".mp4"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_clip_is_turned_by_its_track_header(tmp_path, suffix, orientation):
    frames = np.random.default_rng(2).integers(0, 256, (3, 6, 8, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    MODALITIES["video"].write(Video(frames, 8.0), path)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", *as_matrix(orientation))
    path.write_bytes(data)

    upright, as_stored = MODALITIES["video"].read(path), MODALITIES["video"].read(path, orientation="ignore")
    np.testing.assert_array_equal(as_stored.frames, frames)
    np.testing.assert_array_equal(upright.frames, np.stack([turn(frame, orientation) for frame in frames]))
    if orientation == 1:
        assert (upright.remarks, as_stored.remarks) == ((), ())
    else:
        assert str(*upright.remarks) == f"turned upright by its display matrix (as EXIF orientation {orientation})"
        assert as_stored.remarks[0].kind == "left as stored, display matrix ignored"


def test_a_phone_held_upright_is_what_libav_calls_a_rotation_of_minus_90(tmp_path):
    """The known case: a portrait recording of an iPhone, which players turn clockwise."""
    path = tmp_path / "a.mov"
    MODALITIES["video"].write(Video(np.zeros((1, 6, 8, 3), np.uint8), 8.0), path)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).rotation == -90
    assert MODALITIES["video"].read(path).frames.shape == (1, 8, 6, 3)


def test_a_clip_that_is_turned_by_another_angle_stays_and_says_so(tmp_path):
    path = tmp_path / "a.mov"
    MODALITIES["video"].write(
        Video(np.zeros((2, 6, 8, 3), np.uint8) + np.arange(8)[:, None].astype(np.uint8), 8.0), path
    )
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", 46341, 46341, 0, -46341, 46341, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    clip = MODALITIES["video"].read(path)
    assert clip.frames.shape == (2, 6, 8, 3)
    assert [remark.kind for remark in clip.remarks] == ["left as stored, display matrix is no quarter turn"]
