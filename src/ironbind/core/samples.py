"""What a file holds once it is decoded, before any encoder has had its say: plain numpy, native units, no resizing.
`types` re-exports them.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Image:
    """`pixels`: uint8 `h w 3`, RGB."""

    pixels: np.ndarray


@dataclass(frozen=True)
class Video:
    """`frames`: uint8 `t h w 3`, RGB, at `fps` frames per second."""

    frames: np.ndarray
    fps: float


@dataclass(frozen=True)
class Audio:
    """`waveform`: float32 `channels samples` in [-1, 1], at `rate` hertz."""

    waveform: np.ndarray
    rate: int


@dataclass(frozen=True)
class Points:
    """`xyz`: float32 `n 3`, in the file's own units (an encoder's `prepare` centres and scales to the unit sphere)."""

    xyz: np.ndarray


@dataclass(frozen=True)
class Thermal:
    """`intensity`: float32 `h w` in [0, 1]; an integer file is divided by the maximum of its type (255 or 65535), never
    clipped.
    """

    intensity: np.ndarray


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


@dataclass(frozen=True)
class Depth:
    """`metres`: float32 `h w`."""

    metres: np.ndarray


@dataclass(frozen=True)
class Imu:
    """`signal`: float32 `6 t` (accelerometer xyz, gyroscope xyz) at `rate` hertz."""

    signal: np.ndarray
    rate: float


Decoded = Image | Video | Audio | Points | Thermal | Events | Depth | Imu | str
