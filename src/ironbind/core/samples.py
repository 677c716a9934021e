"""Decoded samples, before an encoder prepares them: plain numpy, native units, no resizing. `types` re-exports them.
`remarks` of a sample: corrections and doubts of its file reader that a reader of results should know.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Remark:
    """`kind`: a fixed phrase, the same for every file that it applies to, so that it can be counted ("turned upright by
    its EXIF orientation"). `detail`: this file's own value ("orientation 6"), "" where there is none. `corrected`: the
    reader did what is right, so that this is for information; else it is a doubt about the file.
    """

    kind: str
    detail: str = ""
    corrected: bool = False

    def __str__(self) -> str:
        return f"{self.kind} ({self.detail})" if self.detail else self.kind


@dataclass(frozen=True)
class Image:
    """`pixels`: uint8 `h w 3`, RGB."""

    pixels: np.ndarray
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Video:
    """`frames`: uint8 `t h w 3`, RGB, at `fps` frames per second."""

    frames: np.ndarray
    fps: float
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Audio:
    """`waveform`: float32 `channels samples` in [-1, 1], at `rate` hertz."""

    waveform: np.ndarray
    rate: int
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Points:
    """`xyz`: float32 `n 3`, in the file's own units (an encoder's `prepare` centres and scales to the unit sphere)."""

    xyz: np.ndarray
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Thermal:
    """`intensity`: float32 `h w` in [0, 1]; an integer file is divided by the maximum of its type (255 or 65535), never
    clipped.
    """

    intensity: np.ndarray
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Events:
    """One event-camera recording: int columns `x`, `y`, float seconds `t` (ascending), polarity `p` in {0, 1}; sensor
    `width`, `height`.
    """

    x: np.ndarray
    y: np.ndarray
    t: np.ndarray
    p: np.ndarray
    width: int
    height: int
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Depth:
    """`metres`: float32 `h w`."""

    metres: np.ndarray
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True)
class Imu:
    """`signal`: float32 `6 t` (accelerometer xyz, gyroscope xyz) at `rate` hertz."""

    signal: np.ndarray
    rate: float
    remarks: tuple[Remark, ...] = ()


Decoded = Image | Video | Audio | Points | Thermal | Events | Depth | Imu | str
