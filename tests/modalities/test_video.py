import contextlib
from fractions import Fraction

import av
import numpy as np
import pytest

from ironbind.modalities import video
from ironbind.modalities.video import read, write
from ironbind.types import InputError, Video

NOISE = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
SMOOTH = np.stack([np.full((32, 48, 3), 30 * t + 10, np.uint8) for t in range(8)])


def encode(path, frames, codec, pixel_format, rate=8, **options):
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001), options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixel_format
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


@pytest.mark.parametrize("shape", [(8, 32, 32, 3), (1, 32, 32, 3), (5, 33, 31, 3), (3, 1, 1, 3), (40, 64, 48, 3)])
@pytest.mark.parametrize("codec", list(video._LOSSLESS))
def test_writing_is_bit_exact_with_either_codec(tmp_path, monkeypatch, shape, codec):
    monkeypatch.setattr(video, "_LOSSLESS", {codec: video._LOSSLESS[codec]})
    frames = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    write(Video(frames, 8.0), tmp_path / "a.mp4")
    back = read(tmp_path / "a.mp4")
    assert back.fps == 8.0
    np.testing.assert_array_equal(back.frames, frames)
    with av.open(str(tmp_path / "a.mp4")) as container:
        assert container.streams.video[0].codec_context.name == {"libx264rgb": "h264"}.get(codec, codec)


@pytest.mark.parametrize("fps", [1.0, 8.0, 12.5, 24000 / 1001, 29.97, 30000 / 1001, 60.0])
def test_the_frame_rate_survives(tmp_path, fps):
    write(Video(NOISE, fps), tmp_path / "a.mp4")
    assert read(tmp_path / "a.mp4").fps == pytest.approx(fps, rel=1e-6)


@pytest.mark.parametrize(("suffix", "codec", "pixel_format"), [
    (".mp4", "mpeg4", "yuv420p"), (".mov", "mpeg4", "yuv420p"),
    (".avi", "mpeg4", "yuv420p"), (".mkv", "mpeg4", "yuv420p"),
    (".avi", "mjpeg", "yuvj420p"), (".webm", "libvpx-vp9", "yuv420p"), (".mkv", "ffv1", "bgr0"),
])  # fmt: skip
def test_containers_and_codecs(tmp_path, suffix, codec, pixel_format):
    path = tmp_path / f"a{suffix}"
    encode(path, SMOOTH, codec, pixel_format)
    clip = read(path)
    assert (clip.frames.shape, clip.frames.dtype) == (SMOOTH.shape, np.uint8)
    assert clip.fps == pytest.approx(8)
    assert np.abs(clip.frames.astype(int) - SMOOTH).max() <= 12


@pytest.mark.parametrize("suffix", [".mp4", ".avi", ".mkv", ".webm"])
@pytest.mark.parametrize("keep", [0.05, 0.5, 0.97])
def test_cut_clips_are_refused(tmp_path, refused, suffix, keep):
    path = tmp_path / f"a{suffix}"
    encode(path, NOISE, "libvpx-vp9" if suffix == ".webm" else "mpeg4", "yuv420p")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    refused(read, path, "cut short|cannot be read")


def test_a_cut_clip_with_its_index_in_front_is_refused(tmp_path, refused):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        for frame in NOISE:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    assert read(path).frames.shape == NOISE.shape
    path.write_bytes(data[:-100])
    refused(read, path, "cut short by 100 bytes")


def test_only_sound_is_refused(tmp_path, refused):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16000
        container.mux(stream.encode(sound))
        container.mux(stream.encode())
    refused(read, path, "no picture")


@pytest.mark.parametrize(
    ("suffix", "words"), [(".avi", "no frame"), (".mp4", "no picture"), (".mkv", "cannot be read")]
)
def test_no_frame_is_refused(tmp_path, refused, suffix, words):
    with av.open(str(tmp_path / f"a{suffix}"), "w") as container:
        stream = container.add_stream("mpeg4", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()
    refused(read, tmp_path / f"a{suffix}", words)


def test_too_much_is_refused_while_decoding(tmp_path, refused, monkeypatch):
    write(Video(NOISE, 8.0), tmp_path / "a.mp4")
    monkeypatch.setattr(video, "MAX_BYTES", 5 * 32 * 32 * 3)
    refused(read, tmp_path / "a.mp4", "more than 5 frames of 32 x 32")


def test_frames_of_two_sizes_are_refused(tmp_path, refused):
    encode(tmp_path / "small.avi", NOISE[:, :16, :16], "mjpeg", "yuvj420p")
    encode(tmp_path / "large.avi", NOISE, "mjpeg", "yuvj420p")
    small, large = ((tmp_path / f"{name}.avi").read_bytes() for name in ("small", "large"))
    first = small[small.index(b"\xff\xd8") : small.index(b"\xff\xd9") + 2]
    at = large.index(b"\xff\xd8", large.index(b"\xff\xd9"))  # the second picture
    assert len(first) < large.index(b"\xff\xd9", at) - at
    (tmp_path / "a.avi").write_bytes(large[:at] + first + large[at + len(first) :])
    refused(read, tmp_path / "a.avi", "frame 1 is 16 x 16, the first 32 x 32")


def test_a_playlist_cannot_make_libav_open_other_files(tmp_path, refused):
    write(Video(NOISE, 8.0), tmp_path / "secret.mp4")
    path = tmp_path / "a.mp4"
    path.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    refused(read, path, "holds text")
    path.write_text("#EXTM3U\n#EXTINF:1,\nsecret.mp4\n")
    refused(read, path, "holds text")


def test_damage_makes_no_noise(tmp_path, capfd):
    encode(tmp_path / "a.avi", NOISE, "mpeg4", "yuv420p")
    data = bytearray((tmp_path / "a.avi").read_bytes())
    at = data.index(b"movi")
    data[at + 300 : at + 900] = bytes(600)
    (tmp_path / "a.avi").write_bytes(data)
    with contextlib.suppress(InputError):
        read(tmp_path / "a.avi")
    assert capfd.readouterr() == ("", "")


def timed(path, frames, stamps, codec="png", container_format=None, **streams):
    """A clip of frames at times in milliseconds; with `sound=True` beside a second of silence."""
    with av.open(str(path), "w", format=container_format) as container:
        stream = container.add_stream(codec, rate=8)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = {"png": "rgb24", "ffv1": "bgr0", "mjpeg": "yuvj420p"}[codec]
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if streams.get("cover"):
            stream.disposition = av.stream.Disposition.attached_pic
        voice = container.add_stream("aac", rate=16000) if streams.get("sound") else None
        for pixels, stamp in zip(frames, stamps, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        if voice is not None:
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
            sound.sample_rate = 16000
            container.mux(voice.encode(sound))
            container.mux(voice.encode())


@pytest.mark.parametrize("suffix", [".mov", ".mkv"])
def test_frames_of_variable_rate_are_taken_by_their_time(tmp_path, suffix):
    """Eight pictures of an eighth of a second, of which the first two are stored eight times as dense."""
    path = tmp_path / f"a{suffix}"
    dense = [(t, 125 * t + 1000 * k // 64) for t in range(8) for k in range(8 if t < 2 else 1)]
    codec = "ffv1" if suffix == ".mkv" else "png"
    timed(path, [NOISE[t] for t, _ in dense], [stamp for _, stamp in dense], codec)
    clip = read(path)
    count = len(dense)
    assert len(clip.frames) == count == 22
    assert count / clip.fps == pytest.approx(1.0, abs=0.002)
    shown = [int(8 * (k + 0.5) / count) for k in range(count)]  # what a player shows in the middle of each step
    np.testing.assert_array_equal(clip.frames, NOISE[shown])
    assert [str(remark) for remark in clip.remarks] == [
        "frames of variable rate, taken anew at equal steps of time (8 to 66.7 frames a second)"
    ]


def test_a_pause_in_a_recording_is_as_long_as_it_was(tmp_path):
    timed(tmp_path / "a.mov", NOISE, [0, 100, 200, 300, 1900, 2000, 2100, 2200])
    clip = read(tmp_path / "a.mov")
    shown = [int(np.argmin(np.abs(frame.astype(int) - NOISE).sum((1, 2, 3)))) for frame in clip.frames]
    assert shown == [1, 3, 3, 3, 3, 3, 3, 6]


@pytest.mark.parametrize("jitter", [0, 1, 3, 50])
def test_a_constant_rate_with_jitter_keeps_its_frames(tmp_path, jitter):
    stamps = [125 * t + (jitter if t % 2 else 0) for t in range(8)]
    timed(tmp_path / "a.mov", NOISE, stamps)
    clip = read(tmp_path / "a.mov")
    np.testing.assert_array_equal(clip.frames, NOISE)
    assert clip.remarks == ()


@pytest.mark.parametrize(("suffix", "cover"), [(".mp4", True), (".mp4", False), (".mov", False), (".m4v", True)])
def test_a_song_with_a_cover_is_no_clip(tmp_path, refused, suffix, cover):
    """As an attached picture, and as a track of one frame."""
    path = tmp_path / f"a{suffix}"
    timed(path, NOISE[:1], [0], codec="mjpeg", container_format="mp4", sound=True, cover=cover)
    refused(read, path, "no picture but a cover")


def test_a_cover_beside_a_clip_is_passed_over(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        cover, stream = container.add_stream("mjpeg", rate=1), container.add_stream("png", rate=8)
        cover.height = cover.width = stream.height = stream.width = 32
        cover.pix_fmt, stream.pix_fmt = "yuvj420p", "rgb24"
        cover.disposition = av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(NOISE[0], format="rgb24").reformat(format="yuvj420p")
        picture.pts = 0
        container.mux([*cover.encode(picture), *cover.encode()])
        for frame in NOISE:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    np.testing.assert_array_equal(read(path).frames, NOISE)


@pytest.mark.parametrize(
    ("frames", "remarks"),
    [
        (np.full((3, 8, 8, 3), 7, np.uint8), ["is one colour throughout (RGB 7, 7, 7)"]),
        (NOISE[:1], ["is a clip of a single frame"]),
        (np.arange(3, dtype=np.uint8)[:, None, None, None] + np.zeros((3, 8, 8, 3), np.uint8), []),
    ],
)
def test_a_clip_of_nothing_says_so(tmp_path, frames, remarks):
    write(Video(frames, 8.0), tmp_path / "a.mp4")
    assert [str(remark) for remark in read(tmp_path / "a.mp4").remarks] == remarks
