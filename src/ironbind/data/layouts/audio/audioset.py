"""AudioSet (Gemmeke et al. 2017): ten-second clips of online videos, one to a dozen of 527 classes each.

`<split>_segments.csv`: comment lines, then `YTID, start, end, "m1,m2"`; `class_labels_indices.csv`: index, mid,
display_name. The clips are everyone's own download: many are gone, and files are named in several ways (see
`names_of`).

Several labels and one prediction do not fit, and mean average precision over scores is not offered. A clip's labels are
listed in the order of their codes (in every published row that we saw), so the first one means nothing:
`labels="single"`, the default, takes clips with one label only.
"""

from collections import Counter
from dataclasses import replace
from pathlib import Path

from ironbind.data.layout import Layout
from ironbind.data.layouts.audio.recordings import folder_of, matched, recordings
from ironbind.data.list_files import check_split, holds, read_table, root_of, seconds, whole_number
from ironbind.data.listing import Listing
from ironbind.types import InputError

CLASSES = "class_labels_indices.csv"
COLUMNS = ("YTID", "start_seconds", "end_seconds", "positive_labels")
SPLITS = ("eval", "balanced_train", "unbalanced_train")
LABELS = ("single", "first")


def load(
    path: str | Path | None,
    *,
    split: str = "eval",
    labels: str = "single",
    audio: str | None = None,
) -> Listing:
    """AudioSet, classes in the order of their index. Clips that are not there are counted and named, not refused.

    `split`: "eval", "balanced_train" or "unbalanced_train". `labels`: "single" takes only clips with one label; "first"
    takes all and calls the first one listed the truth (`all_labels` has the others). `audio`: the folder of the clips,
    relative to `path` (None: `<split>_segments`, `<split>`, `audio`, or anywhere in `path`). Raises InputError.
    """
    root = root_of(path, "audioset", f"eval_segments.csv, {CLASSES} and the clips")
    check_split(split, SPLITS, "audioset")
    if labels not in LABELS:
        raise InputError(f"labels {labels!r} is not known; expected one of {', '.join(LABELS)}")
    numbers, names = _classes(root / CLASSES)
    listed = f"{split}_segments.csv"
    segments = _segments(root / listed, numbers)
    several = sum(len(labels_of_clip) > 1 for *_, labels_of_clip in segments)
    kept = [segment for segment in segments if len(segment[3]) == 1] if labels == "single" else segments
    if not kept:
        raise InputError(
            f"{root / listed}: all {len(segments)} clips have several labels; expected some with one, or labels='first'"
        )
    folder, by_stem = recordings(root, folder_of(root, audio, (f"{split}_segments", split, "audio")))
    alone = Counter(clip for clip, *_ in segments)
    if labels == "single":
        note = f"{split}, clips with one label: the {several} of {len(segments)} with several are left out"
    else:
        note = (
            f"{split}: {several} of {len(segments)} clips have several labels; "
            "the truth is the first one listed, which is the first by code"
        )
    listing = Listing(
        "audioset",
        names,
        [f"{clip}_{round(1000 * start)}" for clip, start, *_ in kept],
        [labels_of_clip[0] for *_, labels_of_clip in kept],
        {
            "audio": matched(
                root, folder, by_stem, [names_of(clip, start, end, alone[clip] == 1) for clip, start, end, _ in kept]
            )
        },
        all_labels=[labels_of_clip for *_, labels_of_clip in kept],
        notes=(note,),
    )
    return replace(listing, listed=listed)


def names_of(clip: str, start: float, end: float, alone: bool) -> list[str]:
    """The names, without suffix, that download tools give a clip, the most telling first; `alone`: no other clip of
    that video is listed.
    """
    whole = (
        [f"{clip}_{int(start)}_{int(end)}", f"{clip}_{int(start):06d}", f"{clip}_{int(start)}"]
        if start == int(start)
        else []
    )
    names = [
        f"{clip}_{round(1000 * start)}_{round(1000 * end)}",
        f"{clip}_{start:.3f}_{end:.3f}",
        *whole,
        *([clip] if alone else []),
    ]
    return names + [f"Y{name}" for name in names]


def _classes(path: Path) -> tuple[dict[str, int], tuple[str, ...]]:
    expected = "columns index, mid, display_name"
    rows = list(read_table(path, ("index", "mid", "display_name"), expected))
    if [whole_number(index, path, "index") for index, _, _ in rows] != list(range(len(rows))):
        raise InputError(
            f"{path}: its indices are not 0 to {len(rows) - 1} in order; expected AudioSet's own {CLASSES}"
        )
    names = tuple(name for *_, name in rows)
    if len(set(names)) < len(names):
        raise InputError(f"{path}: calls two classes alike; expected AudioSet's own {CLASSES}")
    return {code: label for label, (_, code, _) in enumerate(rows)}, names


def _segments(path: Path, numbers: dict[str, int]) -> list[tuple[str, float, float, tuple[int, ...]]]:
    segments = []
    expected = "comment lines, then rows of YTID, start, end, quoted labels"
    for clip, start, end, written in read_table(path, COLUMNS, expected, header=False):
        codes = [code.strip() for code in written.split(",")]
        unknown = next((code for code in codes if code not in numbers), None)
        if unknown is not None:
            raise InputError(f"{path}: clip {clip[:20]!r} has the label {unknown[:40]!r}; expected codes of {CLASSES}")
        labels = tuple(dict.fromkeys(numbers[code] for code in codes))
        segments.append((clip, seconds(start, path, "start_seconds"), seconds(end, path, "end_seconds"), labels))
    return segments


def recognise(path: Path) -> str | None:
    """The classes and one of the lists."""
    listed = next((f"{split}_segments.csv" for split in SPLITS if holds(path, CLASSES, f"{split}_segments.csv")), None)
    return f"it holds {CLASSES} and {listed}" if listed else None


LAYOUT = Layout(load, recognise, often_missing=True)
