"""Depth maps: 16-bit PNG or TIFF in millimetres, floating-point TIFF or .npy in metres -> metres. 0 means "not
measured" and stays 0.

An 8-bit picture is a visualisation, not a measurement, and is refused. SUN RGB-D stores its millimetres rotated by
three bits: `(value >> 3) | (value << 13)` gives them back; no file says that it is one of those, so convert them
before.
"""

from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from ironbind.modalities.blanks import about_depth
from ironbind.modalities.image import open_picture
from ironbind.modalities.orientation import Orientation
from ironbind.modalities.reading import MAX_BYTES, load_array, reading
from ironbind.types import Depth, InputError, Modality, Remark


def read(path: Path, orientation: Orientation = "upright") -> Depth:
    """`path` in metres, pictures "upright" by their EXIF orientation or not ("ignore"). Raises InputError for damaged
    files, 8-bit or colour pictures, negative or NaN depths.
    """
    path = Path(path)
    with reading(path, "a depth map: 16-bit PNG or TIFF in millimetres, floating-point TIFF or .npy in metres"):
        values, remarks = (load_array(path), ()) if path.suffix.lower() == ".npy" else _picture(path, orientation)
        if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "uif":
            raise InputError(f"{path}: holds {values.dtype} of shape {values.shape}; expected numbers, rows by columns")
        if values.size * 4 > MAX_BYTES:
            raise InputError(f"{path}: holds {values.size:,} depths; expected at most {MAX_BYTES // 4:,}")
        metres = values.astype(np.float32) if values.dtype.kind == "f" else values.astype(np.float32) / np.float32(1000)
        if not np.isfinite(metres).all():
            raise InputError(f"{path}: holds NaN or infinite depths; expected metres, 0 where not measured")
        if metres.min() < 0:
            raise InputError(f"{path}: holds negative depths; expected metres, 0 where not measured")
        return Depth(metres, remarks + about_depth(metres))


def _picture(path: Path, orientation: Orientation) -> tuple[np.ndarray, tuple[Remark, ...]]:
    picture, remarks = open_picture(path, ("PNG", "TIFF"), orientation)
    if picture.mode != "F" and not picture.mode.startswith("I"):
        raise InputError(
            f"{path}: is a picture of mode {picture.mode}; "
            "expected one channel of 16-bit millimetres or floating-point metres"
        )
    return np.asarray(picture), remarks


def write(depth: Depth, path: Path) -> None:
    """A 16-bit PNG in millimetres: exact for whole millimetres up to 65.535 m, else rounded and cut."""
    Pillow.fromarray(np.round(depth.metres.astype(np.float64) * 1000).clip(0, 65535).astype(np.uint16)).save(
        path, format="PNG"
    )


DEPTH = Modality(
    "depth",
    Depth,
    (".png", ".tif", ".tiff", ".npy"),
    read,
    write,
    # what is perturbed is the encoder's own: metres for one, disparity for another
    templates=("a depth photo of a {}.", "a depth map of a {}.", "{}"),
)
