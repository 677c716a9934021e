import numpy as np
import pytest
from PIL import Image as Pillow

from ironbind.modalities import image
from ironbind.modalities.image import open_picture, read
from ironbind.modalities.reading import reading

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (11, 13, 3), dtype=np.uint8)


@pytest.mark.parametrize(("suffix", "options"), [(".png", {}), (".bmp", {}), (".webp", {"lossless": True})])
def test_lossless_formats_are_exact(tmp_path, suffix, options):
    path = tmp_path / f"a{suffix}"
    Pillow.fromarray(RGB).save(path, **options)
    np.testing.assert_array_equal(read(path).pixels, RGB)


def test_jpeg_is_near_and_the_content_decides_not_the_suffix(tmp_path):
    smooth = np.broadcast_to(np.linspace(0, 255, 64).astype(np.uint8)[:, None, None], (64, 64, 3))
    Pillow.fromarray(smooth.copy()).save(tmp_path / "a.JPEG", format="JPEG", quality=95)
    assert np.abs(read(tmp_path / "a.JPEG").pixels.astype(int) - smooth).max() <= 4
    Pillow.fromarray(RGB).save(tmp_path / "b.JPEG", format="PNG")  # ImageNet has such a file
    np.testing.assert_array_equal(read(tmp_path / "b.JPEG").pixels, RGB)


def test_grey_palette_and_bilevel_become_rgb(tmp_path):
    grey = RGB[..., 0]
    Pillow.fromarray(grey).save(tmp_path / "l.png")
    np.testing.assert_array_equal(read(tmp_path / "l.png").pixels, np.repeat(grey[..., None], 3, -1))
    palette = Pillow.fromarray(RGB).quantize(16)
    palette.save(tmp_path / "p.png", transparency=b"\x00\x40")
    np.testing.assert_array_equal(read(tmp_path / "p.png").pixels, np.asarray(palette.convert("RGB")))
    Pillow.fromarray(grey > 127).save(tmp_path / "1.png")
    np.testing.assert_array_equal(read(tmp_path / "1.png").pixels[..., 2], np.where(grey > 127, 255, 0))


def test_alpha_is_dropped_as_torchvision_drops_it(tmp_path):
    alpha = RNG.integers(0, 256, (11, 13, 1), dtype=np.uint8)
    Pillow.fromarray(np.concatenate([RGB, alpha], -1)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").pixels, RGB)


def test_cmyk_jpeg(tmp_path):
    red = np.zeros((16, 16, 4), np.uint8) + np.array([0, 255, 255, 0], np.uint8)
    Pillow.fromarray(red, mode="CMYK").save(tmp_path / "a.jpg", quality=95)
    pixels = read(tmp_path / "a.jpg").pixels.astype(int)
    assert np.abs(pixels - [255, 0, 0]).max() <= 4


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path):
    values = np.array([[0, 128, 129, 32896, 65535, 257 * 100]], np.uint16)
    Pillow.fromarray(values).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png").pixels[0, :, 0], [0, 0, 1, 128, 255, 100])


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(tmp_path, refused, suffix, keep):
    path = tmp_path / f"a{suffix}"
    Pillow.fromarray(np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    refused(read, path, "cannot be read")


@pytest.mark.parametrize(("name", "options"), [("a.webp", {"lossless": True}), ("a.png", {})])
def test_an_animation_is_its_first_frame_and_says_so(tmp_path, name, options):
    more = [Pillow.fromarray(RGB[::-1].copy()), Pillow.fromarray(RGB[:, ::-1].copy())]
    Pillow.fromarray(RGB).save(tmp_path / name, save_all=True, append_images=more, **options)
    sample = read(tmp_path / name)
    np.testing.assert_array_equal(sample.pixels, RGB)
    assert [str(remark) for remark in sample.remarks] == ["is read as the first of its pages or frames (3 of them)"]


@pytest.mark.parametrize(
    ("pixels", "remarks"),
    [
        (np.full((9, 7, 3), 40, np.uint8), ["is one colour throughout (RGB 40, 40, 40)"]),
        (np.arange(100 * 6, dtype=np.uint8).repeat(3).reshape(100, 6, 3),
         ["is more than 16 times as long as wide (6 x 100 pixels)"]),
        (RGB, []),
    ],
)  # fmt: skip
def test_a_picture_of_nothing_says_so(tmp_path, pixels, remarks):
    Pillow.fromarray(pixels).save(tmp_path / "a.png")
    assert [str(remark) for remark in read(tmp_path / "a.png").remarks] == remarks
    near = pixels.copy()
    near[-1, -2] ^= 1
    Pillow.fromarray(near).save(tmp_path / "b.png")
    kinds = {remark.kind for remark in read(tmp_path / "b.png").remarks}
    assert "is one colour throughout" not in kinds


def test_other_contents_are_refused_and_named(tmp_path, refused):
    path = tmp_path / "a.png"
    path.write_bytes(b"RIFF\x24\x00\x00\x00WAVEfmt ")
    refused(read, path, "WAV data")
    path.write_bytes(b"<html><body>404</body></html>")
    refused(read, path, "HTML")
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    refused(read, path, "Git LFS pointer")
    Pillow.fromarray(RGB).save(path, format="TIFF")
    refused(read, path, "TIFF data")


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(tmp_path, refused, monkeypatch):
    monkeypatch.setattr(image, "MAX_PIXELS", 11 * 13 - 1)
    Pillow.fromarray(RGB).save(tmp_path / "a.png")
    refused(read, tmp_path / "a.png", "13 x 11 pixels")
    monkeypatch.undo()
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = (60_000).to_bytes(4, "big") * 2  # a header of 3.6 thousand million pixels
    (tmp_path / "b.png").write_bytes(data)
    refused(read, tmp_path / "b.png", "expected")
    data[16:24] = (11_000).to_bytes(4, "big") * 2  # between Pillow's warning and its error, with the right checksum
    import zlib

    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (tmp_path / "c.png").write_bytes(data)
    refused(read, tmp_path / "c.png", "11000 x 11000 pixels")


@pytest.mark.parametrize(("name", "at"), [("a.bmp", 18), ("a.tif", None)])
def test_a_header_that_announces_more_than_the_file_holds_takes_no_memory(tmp_path, refused, name, at):
    path = tmp_path / name
    Pillow.fromarray(RGB).save(path)
    data = bytearray(path.read_bytes())
    at = at or data.index(b"\x00\x01\x04\x00\x01\x00\x00\x00\r\x00") + 8  # TIFF's entry 256, the width
    data[at : at + 4] = (5_000_000).to_bytes(4, "little")
    path.write_bytes(data)
    with reading(path, "a picture"):
        refused(lambda file: open_picture(file, ("BMP", "TIFF")), path, "announces 5000000 x 11 pixels")
