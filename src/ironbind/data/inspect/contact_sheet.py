"""A contact sheet: samples of each class as small pictures, whatever their modality, so that a wrong folder is seen at
once.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from ironbind.core.colour_maps import colour_map
from ironbind.data.listing import Listing
from ironbind.types import Audio, Decoded, Depth, Events, Image, Imu, InputError, Points, Thermal, Video

SIDE, GAP, NAME = 112, 8, 22  # pixels of a thumbnail, between them, of a line of text
SHEET = "contact-sheet.png"
Rgb = np.ndarray  # uint8 h w 3


def save_sheet(sheet: PIL.Image.Image, path: Path | None = None) -> Path:
    """Writes the sheet to `path`, or else to contact-sheet.png in this folder, or contact-sheet-2.png and so on where
    there is one already; returns where. Raises InputError.
    """
    names = chain([SHEET], (f"{Path(SHEET).stem}-{number}.png" for number in count(2)))
    place = path if path is not None else next(Path(name) for name in names if not Path(name).exists())
    try:
        sheet.save(place)
    except (OSError, ValueError) as error:
        what = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise InputError(
            f"--sheet {place}: cannot be written ({what}); expected a .png in a folder to write to"
        ) from error
    return place


def contact_sheet(listing: Listing, rows: Mapping[str, Sequence[int]]) -> PIL.Image.Image:
    """One row a class, its name in front; with several modalities one block for each. `rows`: class -> numbers of
    samples.
    """
    columns = max((len(numbers) for numbers in rows.values()), default=1)
    left = GAP + max(110, *(8 * min(len(name), 24) for name in rows)) if rows else 110
    height = GAP + len(listing.modalities) * (NAME + len(rows) * (SIDE + GAP) + GAP)
    sheet = PIL.Image.new("RGB", (left + columns * (SIDE + GAP) + GAP, height), "white")
    draw, font = PIL.ImageDraw.Draw(sheet), PIL.ImageFont.load_default()
    top = GAP
    for modality in listing.modalities:
        draw.text((GAP, top), f"{listing.name}: {modality}", fill="black", font=font)
        top += NAME
        for name, numbers in rows.items():
            draw.text((GAP, top + SIDE // 2 - 6), _short(name), fill="black", font=font)
            for column, decoded in enumerate(listing.decode(modality, numbers)):
                sheet.paste(PIL.Image.fromarray(thumbnail(decoded)), (left + column * (SIDE + GAP), top))
            top += SIDE + GAP
        top += GAP
    return sheet


def _short(name: str) -> str:
    plain = name.encode("ascii", "replace").decode()
    return plain if len(plain) <= 24 else plain[:22] + ".."


def thumbnail(decoded: Decoded) -> Rgb:
    """A sample as a small square picture: the middle frame of a video, the spectrogram of a sound, a cloud from the
    front and a little above.
    """
    pixels = _PICTURES[type(decoded)](decoded)
    picture = PIL.Image.fromarray(np.ascontiguousarray(pixels))
    scale = SIDE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    picture = picture.resize(size, PIL.Image.Resampling.NEAREST if scale > 1 else PIL.Image.Resampling.BOX)
    square = PIL.Image.new("RGB", (SIDE, SIDE), (236, 236, 236))
    square.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2))
    return np.asarray(square)


def _coloured(values: np.ndarray, name: str, low: float = 1.0, high: float = 99.0) -> Rgb:
    """Numbers as colours, stretched between two percentiles of those that are finite."""
    finite = values[np.isfinite(values)]
    bottom, top = np.percentile(finite, [low, high]) if finite.size else (0.0, 1.0)
    shares = np.nan_to_num((values - bottom) / max(top - bottom, 1e-12), nan=0.0, posinf=1.0, neginf=0.0).clip(0, 1)
    return colour_map(name, shares)


def _sound(decoded: Audio) -> Rgb:
    """Log-magnitude spectrogram of at most 30 s, low frequencies below."""
    wave = decoded.waveform.mean(axis=0)[: 30 * decoded.rate]
    size = 256
    wave = np.pad(wave, (0, max(0, size - len(wave))))
    starts = np.linspace(0, len(wave) - size, SIDE).astype(int)
    frames = np.stack([wave[start : start + size] for start in starts]) * np.hanning(size)
    levels = 20 * np.log10(np.abs(np.fft.rfft(frames, axis=1)).T[::-1] + 1e-5)
    return _coloured(levels, "magma", 5.0, 99.5)


def _cloud(decoded: Points) -> Rgb:
    """Nearer points darker, seen along y from a little above."""
    xyz = decoded.xyz - (decoded.xyz.max(axis=0) + decoded.xyz.min(axis=0)) / 2
    turn, tilt = np.radians(35.0), np.radians(20.0)
    x, y, z = xyz.T
    right, away = np.cos(turn) * x - np.sin(turn) * y, np.sin(turn) * x + np.cos(turn) * y
    up, depth = np.cos(tilt) * z - np.sin(tilt) * away, np.cos(tilt) * away + np.sin(tilt) * z
    reach = max(np.abs(right).max(), np.abs(up).max(), 1e-9)
    column = ((right / reach + 1) / 2 * (SIDE - 5)).astype(int) + 2
    row = ((1 - up / reach) / 2 * (SIDE - 5)).astype(int) + 2
    shade = 30 + 170 * (depth - depth.min()) / max(float(np.ptp(depth)), 1e-9)
    canvas = np.full((SIDE, SIDE), 255.0)
    for down, across in ((0, 0), (0, 1), (1, 0), (1, 1)):
        np.minimum.at(canvas, (row + down, column + across), shade)
    return np.repeat(canvas.astype(np.uint8)[..., None], 3, axis=2)


def _recording(decoded: Events) -> Rgb:
    """Where it got brighter in red, where darker in blue."""
    canvas = np.zeros((2, decoded.height, decoded.width))
    np.add.at(canvas, (decoded.p.astype(int), decoded.y.astype(int), decoded.x.astype(int)), 1)
    share = np.minimum(canvas / max(1.0, np.percentile(canvas[canvas > 0], 90) if (canvas > 0).any() else 1.0), 1)
    colours = np.ones((decoded.height, decoded.width, 3))
    colours[..., 1] -= np.maximum(share[0], share[1])
    colours[..., 2] -= share[1]
    colours[..., 0] -= share[0]
    return (255 * colours.clip(0, 1)).astype(np.uint8)


def _signal(decoded: Imu) -> Rgb:
    """Six lines, each in a band of its own."""
    picture = PIL.Image.new("RGB", (SIDE, SIDE), "white")
    draw = PIL.ImageDraw.Draw(picture)
    for number, values in enumerate(decoded.signal):
        chosen = values[np.linspace(0, len(values) - 1, SIDE).astype(int)]
        span = max(float(np.ptp(chosen)), 1e-9)
        height = (number + 1) * SIDE / 6 - 3 - (chosen - chosen.min()) / span * (SIDE / 6 - 5)
        draw.line([(x, float(y)) for x, y in enumerate(height)], fill="black")
    return np.asarray(picture)


def _words(decoded: str) -> Rgb:
    picture = PIL.Image.new("RGB", (SIDE, SIDE), "white")
    lines = [decoded[i : i + 16] for i in range(0, min(len(decoded), 112), 16)]
    PIL.ImageDraw.Draw(picture).text((4, 4), "\n".join(lines).encode("ascii", "replace").decode(), fill="black")
    return np.asarray(picture)


def _frame(decoded: Video) -> Rgb:
    return decoded.frames[len(decoded.frames) // 2]


_PICTURES: Mapping[type, Callable[..., Rgb]] = {
    Image: lambda decoded: decoded.pixels, Video: _frame, Audio: _sound, Points: _cloud, Events: _recording,
    Imu: _signal, str: _words,
    Thermal: lambda decoded: _coloured(decoded.intensity, "inferno"),
    Depth: lambda decoded: _coloured(decoded.metres, "viridis"),
}  # fmt: skip
