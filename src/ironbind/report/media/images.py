"""Arrays as pictures: PNG data URIs of images, thermal and event frames, spectrograms, and animated ones of videos."""

import base64
import io
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from ironbind.core.colour_maps import colour_map

LARGEST_SIDE = 448  # a page is looked at, not measured: bigger pictures are shrunk, the arrays stay in gallery.npz
LARGEST_FRAME = 128


def picture_of(modality: str, channels: int) -> Callable[[np.ndarray], np.ndarray]:
    """How one frame of a modality becomes RGB bytes: `c h w` in [0, 1] -> uint8 `h w 3`. Event frames of three channels
    are plain pictures.
    """
    if modality == "event" and channels != 2:
        return _colour
    return {"thermal": _thermal, "event": _events, "audio": _mel, "depth": _scalar, "imu": _scalar}.get(
        modality, _colour
    )


def difference_of(modality: str, channels: int) -> Callable[[np.ndarray], np.ndarray]:
    """How an amplified difference in [-0.5, 0.5] becomes RGB bytes, unchanged = neutral: `c h w` -> uint8 `h w 3`."""
    if modality == "event" and channels != 2:
        return _colour_difference
    return {"event": _events_difference, "audio": lambda d: _diverging(d[:, ::-1])}.get(modality, _colour_difference)


def amplification(difference: np.ndarray) -> int:
    """The largest factor of the row 1, 2, 5, 10, 20, ... that keeps an amplified difference within a quarter of the
    range.
    """
    largest = float(np.abs(difference).max()) if difference.size else 0.0
    factors = [digit * 10**power for power in range(5) for digit in (1, 2, 5)]
    return max((factor for factor in factors if factor * largest <= 0.25), default=1) if largest > 0 else 1


def as_picture(clean: np.ndarray, adversarial: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as `c h w` on one scale of [0, 1]: signals as rows, values outside it by the clean range."""
    pair = [clean, adversarial]
    if clean.ndim == 2:
        pair = [array[None] for array in pair]
    low, high = float(pair[0].min()), float(pair[0].max())
    if low < 0 or high > 1:
        pair = [(array - low) / (high - low or 1.0) for array in pair]
    return pair[0], pair[1]


def png(rgb: np.ndarray, side: int = LARGEST_SIDE) -> str:
    """uint8 `h w 3` -> a PNG data URI, shrunk when a side is longer than `side`."""
    return _uri([_image(rgb, side)], 0)


def animation(frames: Sequence[np.ndarray], seconds: float) -> str:
    """uint8 `h w 3` frames -> an endless animated PNG of that length."""
    return _uri([_image(frame, LARGEST_FRAME) for frame in frames], round(1000 * seconds / max(len(frames), 1)))


def strip(frames: Sequence[np.ndarray], gap: int = 2) -> str:
    """Frames side by side, with transparent gaps."""
    images = [np.asarray(_image(frame, LARGEST_FRAME)) for frame in frames]
    height, width = images[0].shape[:2]
    scale = max(1, round(64 / height))  # so that the gap is a sliver of a frame, not an eighth of it
    canvas = np.zeros((height * scale, (width * scale + gap) * len(images) - gap, 4), np.uint8)
    for index, image in enumerate(images):
        left = index * (width * scale + gap)
        canvas[:, left : left + width * scale, :3] = image.repeat(scale, 0).repeat(scale, 1)
        canvas[:, left : left + width * scale, 3] = 255
    return _uri([Image.fromarray(canvas, "RGBA")], 0)


def _image(rgb: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(rgb), "RGB")
    longest = max(image.size)
    if longest <= side:
        return image
    size = (max(1, image.width * side // longest), max(1, image.height * side // longest))
    return image.resize(size, Image.Resampling.LANCZOS)


def _uri(images: Sequence[Image.Image], duration: int) -> str:
    out = io.BytesIO()
    if len(images) > 1:
        images[0].save(
            out, "PNG", save_all=True, append_images=list(images[1:]), duration=duration, loop=0, optimize=True
        )
    else:
        images[0].save(out, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")


def _bytes(unit: np.ndarray) -> np.ndarray:
    return (255 * np.clip(np.nan_to_num(unit), 0, 1)).round().astype(np.uint8)


def _colour(frame: np.ndarray) -> np.ndarray:
    three = frame if frame.shape[0] == 3 else np.repeat(frame[:1], 3, axis=0)
    return _bytes(three.transpose(1, 2, 0))


def _thermal(frame: np.ndarray) -> np.ndarray:
    return colour_map("inferno", frame.mean(0))


def _scalar(frame: np.ndarray) -> np.ndarray:
    return colour_map("viridis", frame[0])


def _mel(frame: np.ndarray) -> np.ndarray:
    return colour_map("magma", frame[0][::-1])  # low frequencies at the bottom, as everybody draws them


_OFF, _ON, _NIGHT = np.array([64, 156, 255.0]), np.array([255, 92, 66.0]), np.array([16, 20, 26.0])


def _events(frame: np.ndarray) -> np.ndarray:
    off, on = np.clip(frame[0], 0, 1)[..., None], np.clip(frame[1], 0, 1)[..., None]
    return (_NIGHT + (_OFF - _NIGHT) * off + (_ON - _NIGHT) * on).clip(0, 255).round().astype(np.uint8)


def _events_difference(change: np.ndarray) -> np.ndarray:
    return _bytes(0.5 + np.stack([change[1], (change[0] + change[1]) / 2, change[0]], axis=-1))


def _colour_difference(change: np.ndarray) -> np.ndarray:
    return _diverging(change) if change.shape[0] != 3 else _bytes(0.5 + change.transpose(1, 2, 0))


def _diverging(change: np.ndarray) -> np.ndarray:
    return colour_map("RdBu_r", 0.5 + change[0])
