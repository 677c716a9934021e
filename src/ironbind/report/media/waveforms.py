"""Sound on a page: a waveform's outline, its spectrogram, and a WAV that the page can play."""

import base64
import io
import wave

import numpy as np
from markupsafe import Markup

from ironbind.core.colour_maps import colour_map
from ironbind.report.charts.svg import drawing, element, path
from ironbind.report.media.images import png

LONGEST_SECONDS = 10.0
_WIDTH, _HEIGHT = 300, 72


def player(waveform: np.ndarray, rate: int) -> str:
    """A mono waveform in [-1, 1] -> a 16-bit WAV data URI, cut after ten seconds."""
    samples = waveform[: int(LONGEST_SECONDS * rate)]
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(np.nan_to_num(samples), -1, 1) * 32767).round().astype("<i2").tobytes())
    return "data:audio/wav;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def outline(waveform: np.ndarray, role: str, label: str) -> Markup:
    """The waveform's envelope: for each column the lowest and the highest sample, scaled to the loudest one."""
    peak = float(np.abs(waveform).max()) or 1.0
    columns = np.array_split(waveform / peak, min(_WIDTH, len(waveform)))
    middle = _HEIGHT / 2
    x = np.arange(len(columns)) * _WIDTH / max(len(columns) - 1, 1)
    top = [middle - (middle - 3) * float(column.max()) for column in columns]
    bottom = [middle - (middle - 3) * float(column.min()) + 0.6 for column in columns]
    shape = path([*zip(x, top, strict=True), *zip(x[::-1], bottom[::-1], strict=True)], close=True)
    axis = element("line", x1=0, x2=_WIDTH, y1=middle, y2=middle, class_="wave-axis")
    scale = element("text", f"±{peak:.3g}", x=_WIDTH - 4, y=12, text_anchor="end", class_="wave-scale")
    return drawing(
        _WIDTH, _HEIGHT, axis, element("path", d=shape, class_=f"wave {role}"), scale, label=label, class_="waveform"
    )


def spectrogram(waveform: np.ndarray, reference: float | None = None) -> tuple[str, float]:
    """Short-time spectrum in decibels below `reference` (the loudest bin when None) as a PNG data URI, and the
    reference used.
    """
    size = 256
    padded = np.pad(waveform, (0, max(0, size - len(waveform))))
    hop = max(
        1, min(size // 4, (len(padded) - size) // 240 or 1) if len(padded) < 64 * 240 else (len(padded) - size) // 240
    )
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hanning(size)
    magnitude = np.abs(np.fft.rfft(frames, axis=1)).T[::-1]
    loudest = reference or float(magnitude.max()) or 1.0
    decibels = 20 * np.log10(np.maximum(magnitude / loudest, 1e-6))
    return png(colour_map("magma", 1 + decibels / 80)), loudest
