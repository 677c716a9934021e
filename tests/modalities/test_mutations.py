"""Damaged files: whatever happens to the bytes, a reader gives a sample of its type or one InputError, soon and without
a sound.
"""

import warnings

import av
import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow

from battery import batter
from ironbind.modalities import MODALITIES
from ironbind.types import Audio, Depth, Events, Image, Imu, Points, Thermal, Video

COUNT, MORE = 70, 1000  # mutations of each kind of file


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
    MODALITIES["event"].write(
        Events(*rng.integers(0, 20, (2, 60)), np.sort(rng.integers(0, 999, 60)) / 1e6, rng.integers(0, 2, 60), 20, 20),
        path,
    )


MESH = "OFF\n5 3 0\n0 0 0\n1 0 0\n1 1 0\n0 1 0.5\n-1 2 1e-3\n3 0 1 2\n4 0 1 2 3\n3 2 3 4\n"
PLY_FACES = """ply\nformat ascii 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z
element face 2
property list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n1 1 0\n0 1 0.5\n3 0 1 2\n3 0 2 3\n"""

KINDS = {
    ("image", "a.png"): picture,
    ("image", "a.jpg"): picture,
    ("image", "a.bmp"): picture,
    ("image", "a.webp"): lambda path, rng: picture(path, rng, lossless=True),
    ("video", "a.mp4"): lambda path, rng: MODALITIES["video"].write(
        Video(rng.integers(0, 256, (4, 16, 16, 3), dtype=np.uint8), 8.0), path
    ),
    ("video", "b.mp4"): lambda path, rng: clip(path, rng, "mpeg4", "yuv420p"),
    ("video", "a.avi"): lambda path, rng: clip(path, rng, "mjpeg", "yuvj420p"),
    ("video", "a.mkv"): lambda path, rng: clip(path, rng, "ffv1", "bgr0"),
    ("video", "a.webm"): lambda path, rng: clip(path, rng, "libvpx-vp9", "yuv420p"),
    ("audio", "a.wav"): lambda path, rng: soundfile.write(path, rng.uniform(-0.9, 0.9, (400, 2)), 8000),
    ("audio", "float.wav"): lambda path, rng: soundfile.write(path, rng.uniform(-0.9, 0.9, 400), 8000, subtype="FLOAT"),
    ("audio", "a.flac"): lambda path, rng: soundfile.write(path, rng.uniform(-0.9, 0.9, 400), 8000),
    ("audio", "a.ogg"): lambda path, rng: soundfile.write(path, rng.uniform(-0.9, 0.9, 400), 8000),
    ("point", "a.off"): lambda path, rng: path.write_text(MESH),
    ("point", "a.ply"): lambda path, rng: MODALITIES["point"].write(
        Points(rng.normal(size=(20, 3)).astype(np.float32)), path
    ),
    ("point", "ascii.ply"): lambda path, rng: path.write_text(PLY_FACES),
    ("point", "a.npy"): lambda path, rng: np.save(path, rng.normal(size=(20, 3))),
    ("point", "a.xyz"): lambda path, rng: np.savetxt(path, rng.normal(size=(20, 6))),
    ("thermal", "a.png"): grey16,
    ("thermal", "a.tif"): grey16,
    ("thermal", "lzw.tif"): lambda path, rng: Pillow.fromarray(rng.integers(0, 256, (12, 10), dtype=np.uint8)).save(
        path, compression="tiff_lzw"
    ),
    ("event", "a.npz"): events,
    ("event", "a.bin"): lambda path, rng: path.write_bytes(rng.integers(0, 200, 300, dtype=np.uint8).tobytes()),
    ("depth", "a.png"): grey16,
    ("depth", "a.tif"): lambda path, rng: Pillow.fromarray(rng.uniform(0, 9, (12, 10)).astype(np.float32)).save(path),
    ("depth", "a.npy"): lambda path, rng: np.save(path, rng.uniform(0, 9, (12, 10))),
    ("imu", "a.npz"): lambda path, rng: MODALITIES["imu"].write(
        Imu(rng.normal(size=(6, 30)).astype(np.float32), 200.0), path
    ),
    ("imu", "a.csv"): lambda path, rng: np.savetxt(
        path, np.c_[np.arange(30) / 200, rng.normal(size=(30, 6))], delimiter=",", fmt="%.5f"
    ),
    ("text", "a.txt"): lambda path, rng: path.write_text("a dog, naïve"),
}


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
    elif isinstance(sample, Depth):
        assert sample.metres.dtype == np.float32
        assert np.isfinite(sample.metres).all()
        assert sample.metres.min() >= 0
    elif isinstance(sample, Imu):
        assert sample.signal.dtype == np.float32
        assert np.isfinite(sample.signal).all()
        assert 0 < sample.rate < np.inf
    else:
        assert isinstance(sample, str)
        assert sample


@pytest.mark.parametrize(("modality", "name"), KINDS)
@pytest.mark.parametrize("count", [COUNT, pytest.param(MORE, marks=pytest.mark.slow)])
def test_damaged_files_are_samples_or_one_line(tmp_path, capfd, modality, name, count):
    path, kind = tmp_path / name, MODALITIES[modality]
    KINDS[modality, name](path, np.random.default_rng(count))

    def read():
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            sample = kind.read(path)
        assert isinstance(sample, kind.decoded)
        check_finite(sample)

    told = batter(read, path, count, seed=count)
    assert told.wrong == []
    assert told.outcomes["refused"] > 0
    assert told.outcomes.total() == count
    assert capfd.readouterr() == ("", ""), "decoders must be silent"


def test_there_are_enough_mutations():
    assert len(KINDS) * COUNT >= 2000
    assert {modality for modality, _ in KINDS} >= {
        "image",
        "video",
        "audio",
        "point",
        "thermal",
        "event",
        "depth",
        "imu",
        "text",
    }
