"""Event-camera recordings: .npz (our own columns, or N-ImageNet's `event_data`) and the 5-byte .bin of N-Caltech101 and
N-MNIST.

.npz, ours: arrays `x y t p` and scalars `width height`; `t` in integer microseconds, or in floating-point seconds where
a recording is finer than that. N-ImageNet: one structured array `event_data` with fields x, y, t (microseconds), p
(bool); its sensor is 640 x 480. .bin: x, y, then 1 bit p + 23 bits t (microseconds), big-endian; a row with y = 240
adds 2^13 to all times from it on (as in tonic's reader). A .bin knows no sensor size: the recording's own extent is
taken, since N-Caltech101's recordings differ in size.
"""

from pathlib import Path

import numpy as np

from ironbind.modalities.blanks import about_events
from ironbind.modalities.reading import MAX_PIXELS, check_unpacked_size, reading
from ironbind.modalities.spaces import EVENT_FRAMES
from ironbind.types import Events, InputError, Modality

N_IMAGENET_SENSOR = (640, 480)
OVERFLOW_ROW, OVERFLOW_STEP = 240, 2**13


def read(path: Path) -> Events:
    """`path` as events in order of time. Raises InputError for damaged files, no events, events off the sensor, or NaN
    times.
    """
    path = Path(path)
    with reading(path, "events: .npz with x, y, t, p, width, height (or event_data), or 5-byte .bin"):
        return _checked(_read_bin(path) if path.suffix.lower() == ".bin" else _read_npz(path), path)


def _read_npz(path: Path) -> Events:
    check_unpacked_size(path)
    with np.load(path, allow_pickle=False) as arrays:
        if "event_data" in arrays:
            columns = arrays["event_data"]
            names: tuple[str, ...] = columns.dtype.names or ()
            width, height = N_IMAGENET_SENSOR
        else:
            columns = {name: arrays[name] for name in arrays.files}
            names = tuple(columns)
            width, height = (int(columns[name]) if name in names else -1 for name in ("width", "height"))
        missing = [name for name in "xytp" if name not in names]
        if missing or width < 0 or height < 0:
            fields = ", ".join(names) or "no fields"
            raise InputError(f"{path}: holds {fields}; expected x, y, t, p, width, height, or a structured event_data")
        if width * height > MAX_PIXELS:
            raise InputError(
                f"{path}: has a sensor of {width} x {height} pixels; expected at most {MAX_PIXELS:,} in all"
            )
        t = columns["t"]
        seconds = t / 1e6 if t.dtype.kind in "iu" else t
        return Events(columns["x"], columns["y"], seconds, columns["p"], width, height)


def _read_bin(path: Path) -> Events:
    raw = np.fromfile(path, dtype=np.uint8)
    if len(raw) % 5:
        raise InputError(
            f"{path}: has {len(raw)} bytes, which is not a multiple of 5; expected 5 bytes an event (truncated?)"
        )
    x, y, high, middle, low = raw.reshape(-1, 5).astype(np.int64).T
    overflow = y == OVERFLOW_ROW
    t = ((high & 0x7F) << 16 | middle << 8 | low) + OVERFLOW_STEP * np.cumsum(overflow)
    x, y, t, p = (column[~overflow] for column in (x, y, t, high >> 7))
    return Events(x, y, t / 1e6, p, int(x.max(initial=0)) + 1, int(y.max(initial=0)) + 1)


def _checked(events: Events, path: Path) -> Events:
    columns = (events.x, events.y, events.t, events.p)
    if len({column.shape for column in columns}) > 1 or events.t.ndim != 1:
        shapes = ", ".join(str(column.shape) for column in columns)
        raise InputError(f"{path}: columns x, y, t, p have shapes {shapes}; expected equal lengths")
    if len(events.t) == 0:
        raise InputError(f"{path}: holds no event; expected at least one")
    if any(column.dtype.kind not in "biuf" for column in columns):
        types = ", ".join(str(column.dtype) for column in columns)
        raise InputError(f"{path}: columns x, y, t, p hold {types}; expected numbers")
    if not all(np.isfinite(column).all() for column in columns):
        raise InputError(f"{path}: holds NaN or infinite values; expected finite x, y, t, p")
    x, y, p = (column.astype(np.int64) for column in (events.x, events.y, events.p))
    if any((whole != column).any() for whole, column in zip((x, y, p), (events.x, events.y, events.p), strict=True)):
        raise InputError(f"{path}: holds fractions in x, y or p; expected whole pixels and polarities")
    if x.min() < 0 or y.min() < 0 or x.max() >= events.width or y.max() >= events.height:
        seen = f"x {x.min()} to {x.max()}, y {y.min()} to {y.max()}"
        raise InputError(
            f"{path}: holds events at {seen}; expected them on its {events.width} x {events.height} sensor"
        )
    p = np.where(p == -1, 0, p)
    if not np.isin(p, (0, 1)).all():
        raise InputError(f"{path}: holds polarities {sorted(set(p.tolist()))[:4]}; expected 0 or 1 (or -1 and 1)")
    order = np.argsort(events.t, kind="stable")  # a no-op on sorted recordings, which nearly all are
    xs, ys, polarities = (column[order].astype(np.int32) for column in (x, y, p))
    t = events.t[order].astype(np.float64)
    return Events(xs, ys, t, polarities, events.width, events.height, about_events(xs, ys, t))


def write(events: Events, path: Path) -> None:
    """Compressed .npz, exact: times as integer microseconds where they are such, else as floating-point seconds."""
    seconds = events.t.astype(np.float64)
    micro = np.round(seconds * 1e6).astype(np.int64)
    t = micro if np.array_equal(micro / 1e6, seconds) else seconds
    np.savez_compressed(
        path, x=events.x, y=events.y, t=t, p=events.p.astype(np.uint8), width=events.width, height=events.height
    )


EVENT = Modality(
    "event",
    Events,
    (".npz", ".bin"),
    read,
    write,
    spaces={EVENT_FRAMES.name: EVENT_FRAMES},
    templates=("an event camera recording of a {}.", "a {} seen by an event camera.", "{}"),
)
