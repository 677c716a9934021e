"""In which file an example of a space is kept, and what the file holds when it is read back.

A picture of 8 bits cannot hold a perturbation of float32. The adversarial example is rounded to the nearest value that
the file knows; where the budget is on the largest change, to the nearest one within the budget around the clean file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import soundfile
from PIL import Image as Pillow

from ironbind.core.samples import Audio, Image, Points, Thermal, Video
from ironbind.modalities import MODALITIES
from ironbind.modalities.meshes import read_ply

FRAMES_PER_SECOND = 8.0
SLACK = 1e-9  # of a level: 4/255 times 255 is not exactly 4 in binary


@dataclass(frozen=True)
class FileForm:
    """`levels` per unit of the space that the file can hold (None: float32, nothing is lost). `write(x, path, rate)`
    and `read(path)` take and give arrays in the attacked space. `decodes`: whether the modality's own reader takes the
    file, so that the encoder can be asked as a user of the file would ask it.
    """

    suffix: str
    levels: int | None
    write: Callable[[np.ndarray, Path, int], None]
    read: Callable[[Path], np.ndarray]
    decodes: bool = False

    def clean(self, x: np.ndarray) -> np.ndarray:
        """The clean sample as the file holds it."""
        return x if self.levels is None else (np.rint(x.astype(np.float64) * self.levels) / self.levels)

    def adversarial(self, x: np.ndarray, clean: np.ndarray, radius: float | None) -> np.ndarray:
        """The example as the file holds it. `clean`: as its file holds it; `radius` of linf, None for other norms."""
        if self.levels is None:
            return x
        level, center = np.rint(x.astype(np.float64) * self.levels), np.rint(clean * self.levels)
        if radius is not None:
            reach = np.floor(radius * self.levels + SLACK)
            level = level.clip(center - reach, center + reach)
        return level.clip(0, self.levels) / self.levels


def form_of(modality: str, space: str, shape: tuple[int, ...]) -> FileForm:
    """The file for one sample of this shape: a real one of the modality where the space is what such files hold, else
    an array.
    """
    if (modality, space) == ("event", "event_frames"):
        return EVENT_FRAMES
    form = FORMS.get((modality, space))
    return form[0] if form is not None and form[1](shape) else ARRAY


def _write_image(x: np.ndarray, path: Path, rate: int) -> None:
    MODALITIES["image"].write(Image(_bytes(np.moveaxis(x, 0, -1))), path)


def _read_image(path: Path) -> np.ndarray:
    with Pillow.open(path) as picture:
        return np.moveaxis(np.asarray(picture, dtype=np.float64), -1, 0) / 255


def _write_thermal(x: np.ndarray, path: Path, rate: int) -> None:
    MODALITIES["thermal"].write(Thermal(x[0]), path)


def _read_thermal(path: Path) -> np.ndarray:
    with Pillow.open(path) as picture:
        return np.asarray(picture, dtype=np.float64)[None] / 65535


def _write_video(x: np.ndarray, path: Path, rate: int) -> None:
    MODALITIES["video"].write(Video(_bytes(np.moveaxis(x, 1, -1)), FRAMES_PER_SECOND), path)


def _read_video(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return np.moveaxis(np.stack(frames).astype(np.float64), -1, 1) / 255


def _write_sound(x: np.ndarray, path: Path, rate: int) -> None:
    MODALITIES["audio"].write(Audio(x.astype(np.float32), rate), path)


def _read_sound(path: Path) -> np.ndarray:
    samples, _ = soundfile.read(path, dtype="float64", always_2d=True)
    return samples.T


def _write_points(x: np.ndarray, path: Path, rate: int) -> None:
    MODALITIES["point"].write(Points(x.astype(np.float32)), path)


def _read_points(path: Path) -> np.ndarray:
    return read_ply(path).vertices


def _write_frames(x: np.ndarray, path: Path, rate: int) -> None:
    np.savez_compressed(path, frames=x.astype(np.float32))


def _read_frames(path: Path) -> np.ndarray:
    with np.load(path, allow_pickle=False) as arrays:
        return arrays["frames"].astype(np.float64)


def _write_array(x: np.ndarray, path: Path, rate: int) -> None:
    np.save(path, x.astype(np.float32), allow_pickle=False)


def _read_array(path: Path) -> np.ndarray:
    return np.load(path, allow_pickle=False).astype(np.float64)


def _bytes(x: np.ndarray) -> np.ndarray:
    return np.rint(x * 255).clip(0, 255).astype(np.uint8)


ARRAY = FileForm(".npy", None, _write_array, _read_array)
EVENT_FRAMES = FileForm(".npz", None, _write_frames, _read_frames)
FORMS: dict[tuple[str, str], tuple[FileForm, Callable[[tuple[int, ...]], Any]]] = {
    ("image", "pixels"): (
        FileForm(".png", 255, _write_image, _read_image, True), lambda shape: len(shape) == 3 and shape[0] == 3,
    ),
    ("thermal", "pixels"): (
        FileForm(".png", 65535, _write_thermal, _read_thermal, True), lambda shape: len(shape) == 3 and shape[0] == 1,
    ),
    ("video", "pixels"): (
        FileForm(".mp4", 255, _write_video, _read_video, True), lambda shape: len(shape) == 4 and shape[1] == 3,
    ),
    ("audio", "waveform"): (FileForm(".wav", None, _write_sound, _read_sound, True), lambda shape: len(shape) == 2),
    ("point", "unit_sphere"): (
        FileForm(".ply", None, _write_points, _read_points, True), lambda shape: shape[1:] == (3,),
    ),
}  # fmt: skip
"""By modality and space: the form, and whether a shape fits it."""
