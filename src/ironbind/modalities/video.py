"""Clips: MP4, MOV, AVI, MKV, WEBM -> every frame as uint8 RGB. Rotation tags are not honoured; sound is ignored.

The container is chosen by signature and forced upon libav, whose own guessing would also accept playlists that name
other files.
"""

from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, cast

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from ironbind.modalities.reading import MAX_BYTES, MAX_PIXELS, found, kind_of, reading
from ironbind.modalities.spaces import PIXELS
from ironbind.types import InputError, Modality, Video

av.logging.set_level(None)  # libav writes of damaged frames to stderr; what it means reaches the user as an InputError

_CONTAINERS = {"MP4/MOV": "mov", "AVI": "avi", "MKV/WEBM": "matroska"}
# Lossless in RGB and storable in MP4, the one that more players open first. PNG needs no optional encoder and is always
# there.
_LOSSLESS = {"libx264rgb": {"qp": "0", "preset": "veryfast"}, "png": {}}


def read(path: Path) -> Video:
    """`path` as frames and their rate. Raises InputError for damaged or cut files, no frames, or more than MAX_BYTES of
    them.
    """
    path = Path(path)
    with reading(path, "a whole MP4, MOV, AVI, MKV or WEBM clip"), path.open("rb") as file:
        kind = kind_of(file.read(12))
        if kind not in _CONTAINERS:
            raise InputError(f"{path}: holds {found(path)}; expected an MP4, MOV, AVI, MKV or WEBM clip")
        size = path.stat().st_size
        missing = {"MP4/MOV": _cut_mp4, "AVI": _cut_avi, "MKV/WEBM": _cut_mkv}[kind](file, size)
        if missing > 0:
            raise InputError(f"{path}: is cut short by {missing} bytes; expected a whole {kind} clip")
        file.seek(0)
        with av.open(file, "r", format=_CONTAINERS[kind]) as container:
            if not container.streams.video:
                raise InputError(f"{path}: has no picture, only sound or nothing; expected a {kind} clip")
            stream = container.streams.video[0]
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            frames = _decode(container, stream, path)
            rate = stream.average_rate or stream.guessed_rate
        if not rate and len(frames) > 1:
            raise InputError(f"{path}: does not say how many frames a second it has; expected a frame rate")
        return Video(frames, float(rate) if rate else 1.0)


def _decode(container: InputContainer, stream: VideoStream, path: Path) -> np.ndarray:
    frames: list[np.ndarray] = []
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise InputError(f"{path}: is damaged after {len(frames)} frames; expected a whole clip")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise InputError(f"{path}: frame {len(frames)} is damaged; expected a whole clip")
            if frames and frames[0].shape[:2] != (frame.height, frame.width):
                now = f"frame {len(frames)} is {frame.width} x {frame.height}, the first {frames[0].shape[1]} x {frames[0].shape[0]}"
                raise InputError(f"{path}: {now}; expected frames of one size")
            if (len(frames) + 1) * frame.width * frame.height * 3 > MAX_BYTES:
                held = f"more than {len(frames)} frames of {frame.width} x {frame.height}"
                raise InputError(
                    f"{path}: holds {held}, which is too much for one sample; expected at most {MAX_BYTES:,} bytes decoded"
                )
            frames.append(frame.to_ndarray(format="rgb24"))
    if not frames:
        raise InputError(f"{path}: holds no frame; expected at least one")
    return np.stack(frames)


# libav shortens cut files silently, so each container's own account of its length is compared with the file's.


def _cut_mp4(file: BinaryIO, size: int) -> int:
    """Bytes that the top-level boxes announce beyond the end of the file."""
    offset = 0
    while offset + 8 <= size:
        file.seek(offset)
        head = file.read(16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if length < 8:  # 0: up to the end of the file; otherwise not a box
            return 0
        offset += length
        if offset > size and kind in (b"mdat", b"moov"):
            return offset - size
    return 0


def _cut_avi(file: BinaryIO, size: int) -> int:
    """Bytes that the first RIFF chunk lacks."""
    file.seek(4)
    return int.from_bytes(file.read(4), "little") + 8 - size


def _cut_mkv(file: BinaryIO, size: int) -> int:
    """Bytes that the Segment lacks (EBML, RFC 8794: lengths are variable-sized integers, all ones meaning unknown)."""
    file.seek(4)
    file.seek(_ebml_length(file) or 0, 1)
    if file.read(4) != b"\x18\x53\x80\x67":
        return 0
    length = _ebml_length(file)
    return 0 if length is None else file.tell() + length - size


def _ebml_length(file: BinaryIO) -> int | None:
    first = file.read(1)[0]
    extra = 8 - first.bit_length()
    value = int.from_bytes(bytes([first & (0x7F >> extra)]) + file.read(extra), "big")
    return None if value == (1 << 7 * (extra + 1)) - 1 else value


def write(video: Video, path: Path) -> None:
    """An exact MP4: H.264 in RGB at quantiser 0 (VLC, mpv and ffmpeg play it; some browsers do not), PNG frames where
    libav has no x264.
    """
    codec = next(name for name in _LOSSLESS if name in av.codecs_available)
    with path.open("wb") as file, av.open(file, "w", format="mp4") as container:
        rate = Fraction(video.fps).limit_denominator(10_000)
        stream = cast(VideoStream, container.add_stream(codec, rate=rate, options=_LOSSLESS[codec]))
        stream.height, stream.width = video.frames.shape[1:3]
        stream.pix_fmt = "rgb24"
        stream.codec_context.thread_count = 1  # clips are small, and threads would cost more than they save
        for frame in video.frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


VIDEO = Modality(
    "video",
    Video,
    (".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"),
    read,
    write,
    spaces={PIXELS.name: PIXELS},
    templates=("a video of a {}.", "a clip of a {}.", "{}"),
)
