"""Damaged files: whatever happens to the bytes, a reader gives a sample of its type or one InputError, soon and without a sound."""

import time
import warnings
from collections import Counter

import av
import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow

from ironbind.modalities import MODALITIES
from ironbind.types import Audio, Events, Image, InputError, Points, Thermal, Video

COUNT, MORE = 200, 1000  # mutations of each kind of file
PATIENCE = 30.0  # seconds for one small file; of 120,000 tried none took more than 2.2, which was 100 million announced pixels


def picture(path, rng, **options):
    Pillow.fromarray(rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)).save(path, **options)


def grey16(path, rng):
    Pillow.fromarray(rng.integers(0, 65536, (12, 10), dtype=np.uint16)).save(path)


def clip(path, rng, codec, pixel_format):
    frames = rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=8)
        stream.height, stream.width, stream.pix_fmt = 16, 16, pixel_format
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def events(path, rng):
    MODALITIES["event"].write(Events(*rng.integers(0, 20, (2, 60)), np.sort(rng.integers(0, 999, 60)) / 1e6, rng.integers(0, 2, 60), 20, 20), path)


MESH = "OFF\n5 3 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0.5\n-1 2 1e-3\n3 0 1 2\n4 0 1 2 3\n3 2 3 4\n"
PLY_FACES = """ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\nelement face 2
property list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0.5\n3 0 1 2\n3 0 2 3\n"""

KINDS = {
    ("image", "a.png"): picture,
    ("image", "a.jpg"): picture,
    ("image", "a.bmp"): picture,
    ("image", "a.webp"): lambda path, rng: picture(path, rng, lossless=True),
    ("video", "a.mp4"): lambda path, rng: MODALITIES["video"].write(Video(rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8), 8.0), path),
    ("video", "b.mp4"): lambda path, rng: clip(path, rng, "mpeg4", "yuv420p"),
    ("video", "a.avi"): lambda path, rng: clip(path, rng, "mjpeg", "yuvj420p"),
    ("video", "a.mkv"): lambda path, rng: clip(path, rng, "ffv1", "bgr0"),
    ("video", "a.webm"): lambda path, rng: clip(path, rng, "libvpx-vp9", "yuv420p"),
    ("audio", "a.wav"): lambda path, rng: soundfile.write(path, rng.uniform(-0.9, 0.9, (400, 2)), 8000),
    ("audio", "float.wav"): lambda path, rng: soundfile.write(path, rng.uniform(-0.9, 0.9, 400), 8000, subtype="FLOAT"),
    ("audio", "a.flac"): lambda path, rng: soundfile.write(path, rng.uniform(-0.9, 0.9, 400), 8000),
    ("audio", "a.ogg"): lambda path, rng: soundfile.write(path, rng.uniform(-0.9, 0.9, 400), 8000),
    ("point", "a.off"): lambda path, rng: path.write_text(MESH),
    ("point", "a.ply"): lambda path, rng: MODALITIES["point"].write(Points(rng.normal(size=(20, 3)).astype(np.float32)), path),
    ("point", "ascii.ply"): lambda path, rng: path.write_text(PLY_FACES),
    ("point", "a.npy"): lambda path, rng: np.save(path, rng.normal(size=(20, 3))),
    ("point", "a.xyz"): lambda path, rng: np.savetxt(path, rng.normal(size=(20, 6))),
    ("thermal", "a.png"): grey16,
    ("thermal", "a.tif"): grey16,
    ("thermal", "lzw.tif"): lambda path, rng: Pillow.fromarray(rng.integers(0, 256, (12, 10), dtype=np.uint8)).save(path, compression="tiff_lzw"),
    ("event", "a.npz"): events,
    ("event", "a.bin"): lambda path, rng: path.write_bytes(rng.integers(0, 200, 300, dtype=np.uint8).tobytes()),
    ("text", "a.txt"): lambda path, rng: path.write_text("a dog, naïve"),
}


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """One to four of: bits flipped, a stretch zeroed or set, bytes inserted, a stretch removed or repeated, the end cut; headers more often."""
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not damaged:
            return b""
        reach = len(damaged) if rng.random() < 0.6 else min(len(damaged), 128)
        at, length = int(rng.integers(reach)), int(rng.integers(1, 17))
        kind = rng.integers(7)
        if kind == 0:
            damaged[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            damaged[at : at + length] = bytes(len(damaged[at : at + length]))
        elif kind == 2:
            damaged[at : at + length] = b"\xff" * len(damaged[at : at + length])
        elif kind == 3:
            damaged[at:at] = rng.integers(0, 256, length, dtype=np.uint8).tobytes()
        elif kind == 4:
            del damaged[at : at + length]
        elif kind == 5:
            damaged[at:at] = damaged[at : at + length]
        else:
            del damaged[at:]
    return bytes(damaged)


def check_finite(sample) -> None:
    """What types.py promises of a decoded sample."""
    if isinstance(sample, Image):
        assert sample.pixels.dtype == np.uint8
        assert sample.pixels.ndim == 3
        assert sample.pixels.size
    elif isinstance(sample, Video):
        assert sample.frames.dtype == np.uint8
        assert sample.frames.shape[0] > 0
        assert 0 < sample.fps < np.inf
    elif isinstance(sample, Audio):
        assert sample.waveform.dtype == np.float32
        assert sample.waveform.size
        assert np.abs(sample.waveform).max() <= 1
        assert sample.rate > 0
    elif isinstance(sample, Points):
        assert sample.xyz.dtype == np.float32
        assert sample.xyz.shape == (len(sample.xyz), 3)
        assert np.isfinite(sample.xyz).all()
        assert len(sample.xyz)
    elif isinstance(sample, Thermal):
        assert sample.intensity.dtype == np.float32
        assert sample.intensity.min() >= 0
        assert sample.intensity.max() <= 1
    elif isinstance(sample, Events):
        assert len(sample.t)
        assert (np.diff(sample.t) >= 0).all()
        assert set(sample.p) <= {0, 1}
        assert 0 <= sample.x.min() <= sample.x.max() < sample.width
        assert 0 <= sample.y.min() <= sample.y.max() < sample.height
    else:
        assert isinstance(sample, str)
        assert sample


def batter(folder, modality: str, name: str, count: int, seed: int) -> Counter:
    """`count` mutations of one file, each read; how many were still samples and how many were refused."""
    rng = np.random.default_rng(seed)
    whole, path = folder / name, folder / f"damaged-{name}"
    KINDS[modality, name](whole, rng)
    check_finite(MODALITIES[modality].read(whole))
    data, outcomes = whole.read_bytes(), Counter()
    for _ in range(count):
        path.write_bytes(mutate(data, rng))
        start = time.process_time()
        try:
            sample = MODALITIES[modality].read(path)
        except InputError as error:
            outcomes["refused"] += 1
            outcomes["not one line about the file"] += not str(error).startswith(str(path)) or "\n" in str(error)
        else:
            outcomes["read"] += 1
            assert isinstance(sample, MODALITIES[modality].decoded)
            check_finite(sample)
        assert time.process_time() - start < PATIENCE
    return outcomes


@pytest.mark.parametrize(("modality", "name"), KINDS)
@pytest.mark.parametrize("count", [COUNT, pytest.param(MORE, marks=pytest.mark.slow)])
def test_damaged_files_are_samples_or_one_line(tmp_path, capfd, modality, name, count):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcomes = batter(tmp_path, modality, name, count, seed=count)
    assert outcomes["refused"] > 0
    assert outcomes["refused"] + outcomes["read"] == count
    assert outcomes["not one line about the file"] == 0
    assert capfd.readouterr() == ("", ""), "decoders must be silent"


def test_there_are_enough_mutations():
    assert len(KINDS) * COUNT >= 2000
    assert {modality for modality, _ in KINDS} >= {"image", "video", "audio", "point", "thermal", "event", "text"}
