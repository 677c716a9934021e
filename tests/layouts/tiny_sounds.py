"""Tiny sets in the real formats of sounds, in the mix of rates, widths and channels that the real ones have.

Each example fills the folder it is given and returns the options that load it.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile


def sound(
    path: Path, seed: int = 0, rate: int = 8000, channels: int = 1, subtype: str = "PCM_16", samples: int = 160
) -> Path:
    """A quiet noise. The container follows the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, (samples, channels))
    soundfile.write(path, noise, rate, subtype=subtype)
    return path


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path


def table(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def esc50(root: Path) -> dict[str, Any]:
    rows = []
    for name, target in (("vacuum_cleaner", 36), ("dog", 0), ("chirping_birds", 14)):
        for fold in (1, 2, 5):
            file = f"{fold}-{1000 + target}-A-{target}.wav"
            sound(root / "audio" / file, 10 * target + fold, rate=44100)
            rows.append([file, fold, target, name, target == 0, 1000 + target, "A"])
    table(root / "meta" / "esc50.csv", [["filename", "fold", "target", "category", "esc10", "src_file", "take"], *rows])
    return {}


URBAN = [
    ("100032-3-0-0.wav", 5, 3, "dog_bark", 44100, 2, "PCM_16"),
    ("100263-2-0-117.wav", 5, 2, "children_playing", 48000, 2, "PCM_24"),
    ("24074-2-0-2.wav", 1, 2, "children_playing", 8000, 1, "PCM_U8"),
    ("7061-3-0-0.wav", 10, 3, "dog_bark", 96000, 1, "FLOAT"),
]


def urbansound8k(root: Path) -> dict[str, Any]:
    for number, (file, fold, _, _, rate, channels, subtype) in enumerate(URBAN):
        sound(root / "audio" / f"fold{fold}" / file, number, rate, channels, subtype)
    rows = [[file, file.split("-")[0], 0.0, 4.0, 1, fold, label, name] for file, fold, label, name, *_ in URBAN]
    table(
        root / "metadata" / "UrbanSound8K.csv",
        [["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"], *rows],
    )
    return {}


SEGMENTS = """# Segments csv created Sun Mar  5 10:54:31 2017
# num_ytids=5, num_segs=7, num_unique_labels=3, num_positive_labels=9
# YTID, start_seconds, end_seconds, positive_labels
--4gqARaEJE, 0.000, 10.000, "/m/068hy,/m/07q6cd_"
-BfyT_1FqE4, 30.000, 40.000, "/m/07q6cd_"
a0b1c2d3e4F, 21.500, 31.500, "/m/09x0r"
gone_clip_1, 10.000, 20.000, "/m/09x0r"
-BfyT_1FqE4, 50.000, 60.000, "/m/068hy,/m/09x0r"
zzzzzzzzzz0, 100.000, 110.000, "/m/07q6cd_"
zzzzzzzzzz1, 0.000, 10.000, "/m/09x0r"
"""


def audioset(root: Path) -> dict[str, Any]:
    text(root / "eval_segments.csv", SEGMENTS)
    names = [["/m/09x0r", "Speech"], ["/m/068hy", "Domestic animals, pets"], ["/m/07q6cd_", "Squeak"]]
    table(
        root / "class_labels_indices.csv",
        [["index", "mid", "display_name"], *([number, *row] for number, row in enumerate(names))],
    )
    clips = root / "eval_segments"
    sound(clips / "--4gqARaEJE.wav", 1)
    sound(clips / "-BfyT_1FqE4_30000_40000.flac", 2, channels=2)
    sound(clips / "-BfyT_1FqE4_50.000_60.000.flac", 3, subtype="PCM_24")
    sound(clips / "part1" / "Ya0b1c2d3e4F.wav", 4)
    sound(clips / "part2" / "zzzzzzzzzz0_000100.ogg", 5, subtype="VORBIS")
    sound(clips / "part2" / "zzzzzzzzzz1_0_10.WAV", 6)
    return {}


def vggsound(root: Path) -> dict[str, Any]:
    rows = [
        ("---g-f_I2yQ", 1, "people marching", "test"), ("--0PQM4-hqg", 30, "waterfall burbling", "train"),
        ("xyz_-12345a", 150, "vehicle horn, car horn, honking", "test"),
        ("xyz_-12345b", 0, "vehicle horn, car horn, honking", "test"),
        ("---g-f_I2yQ", 61, "people marching", "test"), ("missing_one", 7, "people marching", "test"),
    ]  # fmt: skip
    text(root / "vggsound.csv", "".join(f'{clip},{start},"{label}",{split}\n' for clip, start, label, split in rows))
    for number, (clip, start, _, split) in enumerate(rows[:-1]):
        sound(root / "audio" / split / f"{clip}_{start:06d}.wav", number)
    return {}


CLOTHO = ["Distorted AM Radio noise.wav", "Café, après-midi.wav", "rain  1.wav"]


def clotho(root: Path) -> dict[str, Any]:
    header = ["file_name", *(f"caption_{number}" for number in range(1, 6))]
    table(
        root / "clotho_captions_evaluation.csv",
        [header, *([file, *(f'{file[:4]}, "take" {n}' for n in range(1, 6))] for file in CLOTHO)],
    )
    for number, file in enumerate(CLOTHO):
        sound(root / "evaluation" / file, number, rate=44100)
    return {}


def audiocaps(root: Path) -> dict[str, Any]:
    rows = [
        [103549, "rqfQRErjfk8", 170, "A large crowd cheers, then applauds"],
        [103541, "6cS0FsUM-cQ", 10, "A cat meows — twice"],
        [103548, "rqfQRErjfk8", 170, 'Someone says "cheers"'], [109999, "notFetched_", 0, "Nothing"],
    ]  # fmt: skip
    table(root / "dataset" / "test.csv", [["audiocap_id", "youtube_id", "start_time", "caption"], *rows])
    sound(root / "test" / "rqfQRErjfk8_170.wav", 1)
    sound(root / "test" / "Y6cS0FsUM-cQ.wav", 2)
    return {}


EXAMPLES = {
    "esc50": esc50, "urbansound8k": urbansound8k, "audioset": audioset, "vggsound": vggsound, "clotho": clotho,
    "audiocaps": audiocaps,
}  # fmt: skip
