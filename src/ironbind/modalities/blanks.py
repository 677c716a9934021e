"""Remarks about samples that hold next to nothing to recognise: silence, one colour, one point, one instant.

A reader cannot refuse them, as a data set may hold them on purpose; but an audit over them says little, so each gets a
remark with the number that shows it. Axis letters: h, w = rows and columns, n = samples, points or events.
"""

import numpy as np
from jaxtyping import Float, UInt8

from ironbind.types import Remark

Remarks = tuple[Remark, ...]

SILENT = 1e-4  # of full scale: 80 dB below it, three steps of a 16-bit file
CANCELLED = 0.01  # of the channels' level: 40 dB below it
NARROW = 0.3  # of the range of a thermal picture's numbers: 14-bit counts fill a quarter of 16 bits
LONG = 16.0  # times its short side: what an encoder takes is the middle of such a picture
FEW_POINTS, FEW_EVENTS = 4, 10  # less than a tetrahedron has corners; next to no picture
UNMEASURED = 0.9  # of the pixels of a depth map
FARTHEST = 100.0  # metres
RATES = (1000, 1_000_000)  # hertz: sound is recorded between them
STEPS = (1.0, 10_000.0)  # hertz: inertial sensors work between them


def about_picture(pixels: UInt8[np.ndarray, "h w 3"]) -> Remarks:
    """One colour throughout, or a very long picture."""
    remarks = about_sides(*pixels.shape[:2])
    if _is_one_colour(pixels):
        remarks += (Remark("is one colour throughout", f"RGB {', '.join(map(str, pixels[0, 0]))}"),)
    return remarks


def about_sides(height: int, width: int) -> Remarks:
    """A picture so long that its middle, which encoders take, is a small part of it."""
    if max(height, width) <= LONG * min(height, width):
        return ()
    return (Remark(f"is more than {LONG:g} times as long as wide", f"{width} x {height} pixels"),)


def about_frames(frames: UInt8[np.ndarray, "t h w 3"]) -> Remarks:
    """A clip of one frame, or of one colour, or a very long picture."""
    remarks = about_sides(*frames.shape[1:3])
    if len(frames) == 1:
        remarks += (Remark("is a clip of a single frame"),)
    if all(_is_one_colour(frame, frames[0, 0, 0]) for frame in frames):
        remarks += (Remark("is one colour throughout", f"RGB {', '.join(map(str, frames[0, 0, 0]))}"),)
    return remarks


def _is_one_colour(pixels: UInt8[np.ndarray, "h w 3"], colour: np.ndarray | None = None) -> bool:
    colour = pixels[0, 0] if colour is None else colour
    few = pixels[:: max(1, pixels.shape[0] // 4), :: max(1, pixels.shape[1] // 4)]  # most pictures differ within these
    return bool((few == colour).all() and (pixels == colour).all())


def about_intensity(values: np.ndarray, full: float) -> Remarks:
    """A thermal picture `h w` whose numbers, of at most `full`, are all equal or span a small part of the range."""
    low, high = float(values.min()), float(values.max())
    remarks = about_sides(*values.shape)
    if low == high:
        return (*remarks, Remark("is one intensity throughout", f"{low:g} of {full:g}"))
    share = (high - low) / full
    if share < NARROW:
        detail = f"{100 * share:.2g} % of it, {low:g} to {high:g} of {full:g}"
        return (*remarks, Remark("counts fill a small part of their range", detail))
    return remarks


def about_depth(metres: Float[np.ndarray, "h w"]) -> Remarks:
    """A depth map of holes, of one depth, or of depths that metres can hardly be."""
    remarks = about_sides(*metres.shape)
    holes, farthest = float((metres == 0).mean()), float(metres.max())
    if holes == 1:
        return (*remarks, Remark("holds no measurement", "every depth is 0"))
    if farthest == float(metres.min()):
        remarks += (Remark("is one depth throughout", f"{farthest:g} m"),)
    if holes > UNMEASURED:
        remarks += (Remark("is mostly not measured", f"{100 * holes:.1f} % of the depths are 0"),)
    if farthest > FARTHEST:
        remarks += (Remark(f"holds depths above {FARTHEST:g} m", f"up to {farthest:g} m; floating point means metres"),)
    return remarks


def about_sound(waveform: Float[np.ndarray, "channels n"], rate: int) -> Remarks:
    """Silence, channels that cancel each other when they are averaged, a silent first channel, an unlikely rate."""
    remarks: Remarks = ()
    if not RATES[0] <= rate <= RATES[1]:
        remarks = (Remark("has an unlikely sampling rate", f"{rate} Hz, {waveform.shape[1] / rate:g} s in all"),)
    peak = abs(float(max(waveform.max(), -waveform.min())))
    if peak < SILENT:
        return (*remarks, Remark("is silent", f"peak {peak:g} of full scale"))
    if len(waveform) > 1:
        level = [_level(channel) for channel in waveform]
        loudest, mixed = max(level), _level(waveform.mean(axis=0))
        if mixed < CANCELLED * loudest:
            remarks += (Remark("cancels when its channels are averaged", _decibels(mixed, loudest)),)
        if level[0] < CANCELLED * loudest:
            remarks += (Remark("has next to nothing in its first channel", _decibels(level[0], loudest)),)
    return remarks


def _level(channel: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(channel, dtype=np.float64))))


def _decibels(level: float, loudest: float) -> str:
    what = f"{20 * np.log10(level / loudest):.0f} dB against" if level > 0 else "nothing beside"
    return f"{what} the loudest channel"


def about_points(xyz: Float[np.ndarray, "n 3"]) -> Remarks:
    """One point, however often it is written, or few."""
    if (xyz == xyz[0]).all():
        return (Remark("is one point", f"written {len(xyz)} times"),)
    if len(xyz) < FEW_POINTS:
        return (Remark(f"holds less than {FEW_POINTS} points", f"{len(xyz)} points"),)
    return ()


def about_events(x: np.ndarray, y: np.ndarray, t: np.ndarray) -> Remarks:
    """Events `n` of one instant or one pixel, or few."""
    remarks: Remarks = ()
    if len(t) < FEW_EVENTS:
        remarks += (Remark(f"holds less than {FEW_EVENTS} events", f"{len(t)} events"),)
    if t[0] == t[-1]:
        remarks += (Remark("holds events of one instant", f"{len(t)} events at {t[0]:g} s"),)
    if (x == x[0]).all() and (y == y[0]).all():
        remarks += (Remark("holds events of one pixel", f"{len(t)} events at x {x[0]}, y {y[0]}"),)
    return remarks


def about_signal(signal: Float[np.ndarray, "6 n"], rate: float) -> Remarks:
    """A recording that never changes, or an unlikely rate."""
    remarks: Remarks = ()
    if (signal == signal[:, :1]).all():
        remarks += (Remark("does not move", f"{signal.shape[1]} equal steps"),)
    if not STEPS[0] <= rate <= STEPS[1]:
        remarks += (Remark("has an unlikely rate of steps", f"{rate:g} Hz; times are read as seconds"),)
    return remarks
