"""Sound: WAV, FLAC, OGG of any sample type and channel count -> float32 in [-1, 1], at the file's own rate.

Integer samples are divided by 2^(bits-1). Floating-point and OGG samples may overshoot full scale a little and are
clipped, as any sound card would; beyond twice full scale a file was never normalised and is refused.
"""

from pathlib import Path

import numpy as np
import soundfile

from ironbind.modalities.blanks import about_sound
from ironbind.modalities.reading import MAX_BYTES, content_of, kind_of, reading
from ironbind.modalities.spaces import WAVEFORM, log_mel
from ironbind.types import Audio, InputError, Modality

LOUDEST = 2.0  # full scales; above it samples are integers in disguise
STREAMED = 0x7FFFF000  # data sizes from here on are what recorders write that cannot seek back to fill in the true one


def read(path: Path) -> Audio:
    """`path` as a waveform, all channels. Raises InputError for damaged, cut or empty files and for NaN."""
    path = Path(path)
    with reading(path, "a whole WAV, FLAC or OGG recording"):
        with path.open("rb") as file:
            kind = kind_of(file.read(12))
        if kind not in ("WAV", "FLAC", "OGG"):  # libsndfile would go on to guess, and its MP3 part writes to stderr
            raise InputError(f"{path}: holds {content_of(path)}; expected a WAV, FLAC or OGG recording")
        missing = _cut_wav(path) if kind == "WAV" else _cut_ogg(path) if kind == "OGG" else 0
        if missing:
            raise InputError(f"{path}: is cut short by {missing} bytes; expected a whole {kind} recording")
        with soundfile.SoundFile(path) as sound:
            if sound.frames * sound.channels * 4 > MAX_BYTES:
                announced = f"{sound.frames} samples in {sound.channels} channels"
                raise InputError(f"{path}: announces {announced}; expected at most {MAX_BYTES // 4:,} in all")
            samples = sound.read(dtype="float32", always_2d=True)  # samples channels
            length, rate = sound.frames, sound.samplerate
        if len(samples) == 0:
            raise InputError(f"{path}: holds no sample; expected at least one")
        if len(samples) < length:
            raise InputError(
                f"{path}: ends after {len(samples)} of {length} samples; expected a whole {kind} recording"
            )
        if not np.isfinite(samples).all():
            raise InputError(f"{path}: holds NaN or infinite samples; expected a waveform in [-1, 1]")
        peak = float(max(samples.max(), -samples.min()))  # without a copy, as the next lines: sounds may be long
        if peak > LOUDEST:
            raise InputError(f"{path}: peaks at {peak:g} times full scale; expected a waveform in [-1, 1]")
        waveform = np.ascontiguousarray(samples.T)
        np.clip(waveform, -1, 1, out=waveform)
        return Audio(waveform, rate, about_sound(waveform, rate))


def _cut_wav(path: Path) -> int:
    """Bytes of sound that a WAV's `data` chunk announces but the file lacks (libsndfile would shorten the recording
    silently).
    """
    with path.open("rb") as file:
        magic = file.read(12)
        order = "big" if magic[:4] == b"RIFX" else "little"
        while len(head := file.read(8)) == 8:
            size = int.from_bytes(head[4:], order)  # type: ignore[arg-type]
            if head[:4] == b"data":
                return (
                    0 if magic[:4] == b"RF64" or size >= STREAMED else max(0, file.tell() + size - path.stat().st_size)
                )
            file.seek(size + size % 2, 1)
    return 0


def _cut_ogg(path: Path) -> int:
    """Bytes that the last page of an OGG lacks; at least 1 when that page does not end the stream."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**17))  # a page has at most 65,307 bytes
        tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return 1
    whole = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return max(0, whole - len(page)) or (0 if page[5] & 4 else 1)


def write(audio: Audio, path: Path) -> None:
    """An exact WAV: 16-bit when every sample is a multiple of 1/32768 (what decoded 16-bit files hold), else 32-bit
    floating point.
    """
    samples = audio.waveform.T
    sixteen = np.round(samples.astype(np.float64) * 32768)
    if np.array_equal(sixteen / 32768, samples) and sixteen.max() <= 32767:
        soundfile.write(path, sixteen.astype(np.int16), audio.rate, subtype="PCM_16", format="WAV")
    else:
        soundfile.write(path, samples.astype(np.float32), audio.rate, subtype="FLOAT", format="WAV")
        _forget_time(path)


def _forget_time(path: Path) -> None:
    """Clears the time of writing, which libsndfile notes in the PEAK chunk: the same sound is the same file."""
    with path.open("r+b") as file:
        at = file.read(256).find(b"PEAK")
        if at >= 0:
            file.seek(at + 12)  # behind name, size and version
            file.write(bytes(4))


LOGMEL = log_mel(80)  # a generic range; each encoder declares its own

AUDIO = Modality(
    "audio",
    Audio,
    (".wav", ".flac", ".ogg"),
    read,
    write,
    spaces={LOGMEL.name: LOGMEL, WAVEFORM.name: WAVEFORM},
    templates=("a sound of a {}.", "a recording of a {}.", "{}"),
)
