"""Clips: MP4, MOV, AVI, MKV, WEBM -> frames of uint8 RGB, at a constant rate. Sound is ignored; a cover is no clip.

Frames are turned upright by the clip's display matrix (phones record lying and say how to turn), unless
`orientation="ignore"`. Encoders count frames, so the frames of a clip of variable rate are taken anew by their time
stamps: as many as there are, at equal steps, each the one that a player shows then. A clip of constant rate, up to half
a frame of jitter, gives its frames as they are.

The container is chosen by signature and forced upon libav, whose own guessing would also accept playlists that name
other files.
"""

from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import av
import numpy as np
from av.container import InputContainer
from av.sidedata.sidedata import Type as SideData
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from ironbind.modalities.blanks import about_frames
from ironbind.modalities.orientation import AS_STORED, Orientation, check_choice, from_display_matrix, turn
from ironbind.modalities.reading import MAX_BYTES, MAX_PIXELS, content_of, kind_of, reading
from ironbind.modalities.spaces import PIXELS
from ironbind.types import InputError, Modality, Remark, Video

av.logging.set_level(None)  # libav writes of damaged frames to stderr; what it means reaches the user as an InputError

_STILL = ("mjpeg", "png", "bmp", "gif", "webp", "tiff")  # codecs of cover pictures
_CONTAINERS = {"MP4/MOV": "mov", "AVI": "avi", "MKV/WEBM": "matroska"}
# Lossless in RGB and storable in MP4, the one that more players open first. PNG needs no optional encoder and is always
# there.
_LOSSLESS = {"libx264rgb": {"qp": "0", "preset": "veryfast"}, "png": {}}


def read(path: Path, orientation: Orientation = "upright") -> Video:
    """`path` as frames and their rate, `orientation` "upright" or "ignore". Raises InputError for damaged or cut files,
    no frames, or more than MAX_BYTES of them.
    """
    path = Path(path)
    check_choice(orientation)
    with reading(path, "a whole MP4, MOV, AVI, MKV or WEBM clip"), path.open("rb") as file:
        kind = kind_of(file.read(12))
        if kind not in _CONTAINERS:
            raise InputError(f"{path}: holds {content_of(path)}; expected an MP4, MOV, AVI, MKV or WEBM clip")
        size = path.stat().st_size
        missing = {"MP4/MOV": _cut_mp4, "AVI": _cut_avi, "MKV/WEBM": _cut_mkv}[kind](file, size)
        if missing > 0:
            raise InputError(f"{path}: is cut short by {missing} bytes; expected a whole {kind} clip")
        file.seek(0)
        with av.open(file, "r", format=_CONTAINERS[kind]) as container:
            stream = _moving_picture(container, path, kind)
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
            clip = _decode(container, stream, path)
            rate = stream.average_rate or stream.guessed_rate
            if len(clip.frames) == 1 and container.streams.audio and stream.codec_context.name in _STILL:
                raise InputError(f"{path}: has no picture but a cover, as songs have; expected a {kind} clip")
        if not rate and len(clip.frames) > 1:
            raise InputError(f"{path}: does not say how many frames a second it has; expected a frame rate")
        per_second = float(rate) if rate else 1.0
        order, per_second, remarks = _at_equal_steps(clip.times, per_second)
        frames = np.stack([clip.frames[i] for i in order] if order is not None else clip.frames)
        frames, turned = _upright(frames, clip.matrix, orientation)
        return Video(frames, per_second, turned + remarks + about_frames(frames))


class Clip(NamedTuple):
    """What a video stream decodes to: `frames` as stored, each uint8 `h w 3`; their `times` in seconds where every one
    has some, else none; the display matrix of the first, `3 3`, if any.
    """

    frames: list[np.ndarray]
    times: list[float]
    matrix: np.ndarray | None


def _moving_picture(container: InputContainer, path: Path, kind: str) -> VideoStream:
    """The first video stream that is no attached picture."""
    streams = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    if streams:
        return streams[0]
    if container.streams.video:
        raise InputError(f"{path}: has no picture but a cover, as songs have; expected a {kind} clip")
    raise InputError(f"{path}: has no picture, only sound or nothing; expected a {kind} clip")


def _decode(container: InputContainer, stream: VideoStream, path: Path) -> Clip:
    frames: list[np.ndarray] = []
    times: list[float | None] = []
    matrix = None
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise InputError(f"{path}: is damaged after {len(frames)} frames; expected a whole clip")
        for frame in packet.decode():
            if frame.is_corrupt:
                raise InputError(f"{path}: frame {len(frames)} is damaged; expected a whole clip")
            if frames and frames[0].shape[:2] != (frame.height, frame.width):
                first = f"the first {frames[0].shape[1]} x {frames[0].shape[0]}"
                now = f"frame {len(frames)} is {frame.width} x {frame.height}, {first}"
                raise InputError(f"{path}: {now}; expected frames of one size")
            if (len(frames) + 1) * frame.width * frame.height * 3 > MAX_BYTES:
                held = f"more than {len(frames)} frames of {frame.width} x {frame.height}"
                raise InputError(
                    f"{path}: holds {held}, which is too much for one sample; "
                    f"expected at most {MAX_BYTES:,} bytes decoded"
                )
            if not frames:
                matrix = _display_matrix(frame)
            frames.append(frame.to_ndarray(format="rgb24"))
            times.append(frame.time)
    if not frames:
        raise InputError(f"{path}: holds no frame; expected at least one")
    known = [time for time in times if time is not None]
    return Clip(frames, known if len(known) == len(times) else [], matrix)


def _display_matrix(frame: VideoFrame) -> np.ndarray | None:
    side_data = frame.side_data.get(SideData.DISPLAYMATRIX)  # type: ignore[call-overload]
    return None if side_data is None else np.frombuffer(bytes(side_data), np.int32).reshape(3, 3)


def _upright(
    frames: np.ndarray, matrix: np.ndarray | None, choice: Orientation
) -> tuple[np.ndarray, tuple[Remark, ...]]:
    """The frames `t h w 3` turned by their display matrix, and what there is to say about that."""
    orientation = AS_STORED if matrix is None else from_display_matrix(matrix)
    if orientation == AS_STORED:
        return frames, ()
    if orientation is None:
        return frames, (Remark("left as stored, display matrix is no quarter turn", str(matrix[:2, :2].tolist())),)  # type: ignore[index]
    detail = f"as EXIF orientation {orientation}"
    if choice == "ignore":
        return frames, (Remark("left as stored, display matrix ignored", detail),)
    upright = turn(np.moveaxis(frames, 0, 2), orientation)  # turns rows and columns, the first two axes
    return np.ascontiguousarray(np.moveaxis(upright, 2, 0)), (
        Remark("turned upright by its display matrix", detail, corrected=True),
    )


def _at_equal_steps(times: list[float], rate: float) -> tuple[np.ndarray | None, float, tuple[Remark, ...]]:
    """Which frame is shown in the middle of each of as many equal steps as there are frames, and the steps per second.

    None for the frames as they are: at a constant rate (up to half a step of jitter), or without rising times. `rate`:
    what the container says, which also tells how long the last frame is shown.
    """
    stamps = np.array(times)
    if len(stamps) < 3 or not (np.diff(stamps) > 0).all():
        return None, rate, ()
    stamps = stamps - stamps[0]
    count = len(stamps)
    even = stamps[-1] / (count - 1)
    if np.abs(stamps - np.arange(count) * even).max() <= even / 2:
        return None, rate, ()
    steps = np.diff(stamps)
    # the container's rate is frames over duration; where it is not (MKV only guesses it), the last frame is taken to
    # last as long as the one before
    last = count / rate - stamps[-1]
    if not 0 < last <= 2 * steps.max():
        last = steps[-1]
    step = float(stamps[-1] + last) / count
    order = np.searchsorted(stamps, (np.arange(count) + 0.5) * step, side="right") - 1
    detail = f"{1 / steps.max():.3g} to {1 / steps.min():.3g} frames a second"
    return (
        order,
        1 / step,
        (Remark("frames of variable rate, taken anew at equal steps of time", detail, corrected=True),),
    )


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
