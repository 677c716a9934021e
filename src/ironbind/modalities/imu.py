"""Inertial recordings: .npz with `signal` (6 t) and `rate`, or .csv with a time column and six channels ->
accelerometer xyz, gyroscope xyz.

.csv: a header or none, then `t,ax,ay,az,gx,gy,gz`, t in seconds, evenly spaced within a tenth of a step (the rate is
taken from it).
"""

from pathlib import Path

import numpy as np

from ironbind.modalities.blanks import about_signal
from ironbind.modalities.reading import check_unpacked_size, reading
from ironbind.types import Imu, InputError, Modality


def read(path: Path) -> Imu:
    """`path` as six channels at their rate, in the file's units. Raises InputError for damaged files, wrong shapes,
    uneven times, NaN.
    """
    path = Path(path)
    with reading(path, "an inertial recording: .npz with signal (6 t) and rate, or .csv t,ax,ay,az,gx,gy,gz"):
        signal, rate = _csv(path) if path.suffix.lower() == ".csv" else _npz(path)
        if signal.ndim != 2 or signal.shape[0] != 6 or signal.shape[1] < 2 or signal.dtype.kind not in "uif":
            raise InputError(
                f"{path}: holds {signal.dtype} of shape {signal.shape}; expected 6 channels by at least 2 steps"
            )
        if not np.isfinite(signal).all():
            raise InputError(f"{path}: holds NaN or infinite values; expected finite accelerations and rotations")
        if not (np.isfinite(rate) and rate > 0):
            raise InputError(f"{path}: has rate {rate}; expected steps per second above 0")
        if signal.shape == (6, 6):
            raise InputError(
                f"{path}: holds 6 by 6 numbers, whose channels may be rows or columns; expected more steps"
            )
        signal = signal.astype(np.float32)
        if not np.isfinite(signal).all():
            raise InputError(f"{path}: holds values that float32 cannot hold; expected accelerations and rotations")
        return Imu(signal, rate, about_signal(signal, rate))


def _npz(path: Path) -> tuple[np.ndarray, float]:
    check_unpacked_size(path)
    with np.load(path, allow_pickle=False) as arrays:
        if "signal" not in arrays or "rate" not in arrays:
            raise InputError(f"{path}: holds {', '.join(arrays.files) or 'no arrays'}; expected signal and rate")
        return arrays["signal"], float(arrays["rate"])


def _csv(path: Path) -> tuple[np.ndarray, float]:
    with path.open(encoding="utf-8-sig") as file:
        header = not _is_number(file.readline().split(",")[0])
    table = np.loadtxt(path, delimiter=",", skiprows=int(header), ndmin=2, encoding="utf-8-sig")
    if table.shape[1] != 7 or len(table) < 2:
        raise InputError(
            f"{path}: has {len(table)} rows of {table.shape[1]} columns; expected at least 2 rows t,ax,ay,az,gx,gy,gz"
        )
    steps = np.diff(table[:, 0])
    if not np.all(np.abs(steps - steps.mean()) <= 0.1 * steps.mean()):  # also refuses NaN and times that run backwards
        raise InputError(f"{path}: has steps of {steps.min():g} to {steps.max():g} s; expected an even rate")
    return table[:, 1:].T, float(1 / steps.mean())


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def write(imu: Imu, path: Path) -> None:
    """An exact .npz."""
    with Path(path).open("wb") as file:
        np.savez(file, signal=imu.signal, rate=np.float64(imu.rate))


IMU = Modality("imu", Imu, (".npz", ".csv"), read, write, templates=("a recording of {}.", "{}"))
