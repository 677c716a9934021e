import numpy as np
import pytest
from PIL import Image as Pillow

from ironbind.modalities.thermal import read, write
from ironbind.types import InputError, Thermal

SIXTEEN = np.random.default_rng(0).integers(0, 65536, (9, 7), dtype=np.uint16)
EIGHT = np.random.default_rng(1).integers(0, 256, (9, 7), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
def test_sixteen_bits_are_divided_by_65535(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Pillow.fromarray(SIXTEEN).save(path)
    intensity = read(path).intensity
    assert intensity.dtype == np.float32
    np.testing.assert_array_equal(np.round(intensity.astype(np.float64) * 65535), SIXTEEN)
    assert len(np.unique(intensity)) == len(np.unique(SIXTEEN)) > 50, "not cut to 8 bits"


def test_big_endian_tiff(tmp_path):
    Pillow.fromarray(SIXTEEN.astype(">u2")).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").intensity, SIXTEEN.astype(np.float32) / np.float32(65535))


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_eight_bits_one_channel_or_three_equal_ones(tmp_path, suffix):
    expected = EIGHT.astype(np.float32) / np.float32(255)
    for name, pixels in {"one": EIGHT, "three": np.repeat(EIGHT[..., None], 3, -1)}.items():
        path = tmp_path / f"{name}{suffix}"
        Pillow.fromarray(pixels).save(path)
        np.testing.assert_array_equal(read(path).intensity, expected)


def test_three_channel_grey_jpeg(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[:, None], (64, 64))
    Pillow.fromarray(np.repeat(smooth[..., None], 3, -1)).save(tmp_path / "a.jpg", quality=90)
    assert np.abs(read(tmp_path / "a.jpg").intensity * 255 - smooth).max() <= 5


def test_every_multiple_of_1_over_65535_survives(tmp_path):
    every = (np.arange(65536).reshape(256, 256).astype(np.float32)) / np.float32(65535)
    write(Thermal(every), tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").intensity, every)
    eight = np.arange(256, dtype=np.float32)[None] / np.float32(255)
    write(Thermal(eight), tmp_path / "b.png")
    np.testing.assert_array_equal(read(tmp_path / "b.png").intensity, eight)


def test_what_would_lose_bits_or_meaning_is_refused(tmp_path, refused):
    colour = np.zeros((8, 8, 3), np.uint8) + np.array([200, 40, 90], np.uint8)
    Pillow.fromarray(colour).save(tmp_path / "colour.png")
    refused(read, tmp_path / "colour.png", "colour picture .*160 of 255")
    Pillow.fromarray(np.full((4, 4), 100_000, np.int32)).save(tmp_path / "i32.tif")
    refused(read, tmp_path / "i32.tif", "integers")
    (tmp_path / "rgb48.png").write_bytes(png_of_16_bit_colour())
    refused(read, tmp_path / "rgb48.png", "3 channels of 16 bits")


def test_floating_point_tiff(tmp_path, refused):
    unit = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    Pillow.fromarray(unit).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif").intensity, unit)
    Pillow.fromarray(unit * 40).save(tmp_path / "celsius.tif")
    refused(read, tmp_path / "celsius.tif", "from 0 to 40")
    for bad in (np.nan, np.inf):
        unit[1, 1] = bad
        Pillow.fromarray(unit).save(tmp_path / "nan.tif")
        refused(read, tmp_path / "nan.tif", "NaN")


COUNTS = (7000 + np.arange(2001)[: 45 * 44].reshape(45, 44)).astype(np.uint16)  # 7000 to 8979 of 65535


def test_counts_that_fill_little_of_their_range_say_so(tmp_path):
    Pillow.fromarray(COUNTS).save(tmp_path / "a.tiff")
    sample = read(tmp_path / "a.tiff")
    np.testing.assert_array_equal(sample.intensity, COUNTS.astype(np.float32) / np.float32(65535))
    told = [str(remark) for remark in sample.remarks]
    assert told == ["counts fill a small part of their range (3 % of it, 7000 to 8979 of 65535)"]
    Pillow.fromarray((COUNTS - 7000) * 33).save(tmp_path / "b.tiff")
    assert read(tmp_path / "b.tiff").remarks == ()
    Pillow.fromarray(np.full((4, 4), 90, np.uint8)).save(tmp_path / "c.png")
    assert [str(remark) for remark in read(tmp_path / "c.png").remarks] == ["is one intensity throughout (90 of 255)"]


def test_a_range_of_counts_becomes_0_to_1(tmp_path):
    Pillow.fromarray(COUNTS).save(tmp_path / "a.tiff")
    sample = read(tmp_path / "a.tiff", thermal_range=(7000, 8000))
    expected = ((COUNTS.astype(np.float64) - 7000) / 1000).clip(0, 1)
    np.testing.assert_allclose(sample.intensity, expected, atol=1e-7)
    beyond = 100 * (COUNTS > 8000).mean()
    assert [str(remark) for remark in sample.remarks] == [
        f"scaled by the range given (7000 to 8000; {beyond:.1f} % of the pixels beyond)"
    ]


def test_kelvins_have_a_range_too(tmp_path, refused):
    kelvin = np.linspace(280, 310, 12, dtype=np.float32).reshape(3, 4)
    Pillow.fromarray(kelvin).save(tmp_path / "a.tif")
    refused(read, tmp_path / "a.tif", "from 280 to 310.*thermal_range")
    sample = read(tmp_path / "a.tif", thermal_range=(280.0, 310.0))
    np.testing.assert_allclose(sample.intensity, np.linspace(0, 1, 12).reshape(3, 4), atol=1e-6)
    kelvin[0, 0] = np.nan
    Pillow.fromarray(kelvin).save(tmp_path / "a.tif")
    refused(lambda path: read(path, thermal_range=(280, 310)), tmp_path / "a.tif", "NaN")


def test_percentiles_are_those_of_the_picture(tmp_path):
    Pillow.fromarray(COUNTS).save(tmp_path / "a.tiff")
    sample = read(tmp_path / "a.tiff", thermal_percentiles=(1, 99))
    low, high = np.percentile(COUNTS, [1, 99])
    np.testing.assert_allclose(sample.intensity, ((COUNTS - low) / (high - low)).clip(0, 1), atol=1e-6)
    Pillow.fromarray(np.full((4, 4), 9, np.uint8)).save(tmp_path / "flat.png")
    assert (read(tmp_path / "flat.png", thermal_percentiles=(1, 99)).intensity == 0).all()


@pytest.mark.parametrize(
    "options",
    [
        {"thermal_range": (9000, 7000)}, {"thermal_range": (1,)}, {"thermal_range": "7000"}, {"thermal_range": 7000},
        {"thermal_range": (True, 2)}, {"thermal_range": (0, float("nan"))}, {"thermal_percentiles": (-1, 99)},
        {"thermal_percentiles": (5, 101)}, {"thermal_range": (0, 1), "thermal_percentiles": (1, 99)},
    ],
)  # fmt: skip
def test_what_is_no_range_is_refused_in_one_line(tmp_path, options):
    Pillow.fromarray(COUNTS).save(tmp_path / "a.tiff")
    with pytest.raises(InputError, match="^thermal_(range|percentiles).*; expected") as refusal:
        read(tmp_path / "a.tiff", **options)
    assert "\n" not in str(refusal.value)


def test_pages_beyond_the_first_are_told(tmp_path):
    pages = [Pillow.fromarray(SIXTEEN), Pillow.fromarray(np.zeros_like(SIXTEEN))]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    sample = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(sample.intensity, SIXTEEN.astype(np.float32) / np.float32(65535))
    assert [remark.kind for remark in sample.remarks] == ["is read as the first of its pages or frames"]


@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_truncated_files_are_refused(tmp_path, refused, suffix):
    path = tmp_path / f"a{suffix}"
    Pillow.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    refused(read, path, "cannot be read")


def png_of_16_bit_colour() -> bytes:
    """A 2 x 1 PNG of three 16-bit channels, which Pillow can neither write nor read in full."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header, row = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0), b"\x00" + struct.pack(">6H", *[1000] * 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")
