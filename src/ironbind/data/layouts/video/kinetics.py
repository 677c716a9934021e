"""Kinetics-400, -600, -700: `val.csv` (label, youtube_id, time_start, time_end, split) and clips called
`<id>_<start>_<end>.mp4`, six digits each.

Clips vanish from the net, so nobody has all: the missing are left out, told in `problems`, and the note says how many
are there.
"""

import os
from dataclasses import replace
from pathlib import Path

from ironbind.data.folder_entries import entries_of, is_folder
from ironbind.data.layout import Layout
from ironbind.data.list_files import read_table, root_of, seconds
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

COLUMNS = ("label", "youtube_id", "time_start", "time_end")
WITHIN = ("", "annotations")
EXPECTED = f"annotations/val.csv ({', '.join(COLUMNS)}, split) and clips val/<id>_<start>_<end>.mp4"


def load(
    path: str | Path | None,
    *,
    split: str = "val",
    annotations: str | Path | None = None,
) -> Listing:
    """The clips of `split` ("val", "test", "train") that are in `path`: in `<split>/`, in `<split>/<label>/`, or beside
    the lists.

    `annotations`: the CSV, where it is not `annotations/<split>.csv`, `kinetics*_<split>.csv` or the like. Classes are
    all labels of the CSV, sorted. A clip with another suffix than .mp4, or without the times in its name, is found as
    well. Raises InputError.
    """
    root = root_of(path, "kinetics", EXPECTED)
    listed = Path(annotations) if annotations is not None else _find(root, split)
    if listed is None:
        raise InputError(f"{root}: has no CSV of the split {split!r}; expected {EXPECTED}")
    rows = list(dict.fromkeys(read_table(listed, COLUMNS, f"columns {', '.join(COLUMNS)}")))
    unlabelled = next((clip for label, clip, *_ in rows if not label), None)
    if unlabelled is not None:
        raise InputError(
            f"{listed}: says no label of {unlabelled}; expected one (the labels of some test lists are not public)"
        )
    known = tuple(sorted({label for label, *_ in rows}))
    stems = [
        f"{clip}_{int(seconds(start, listed, 'time_start')):06}_{int(seconds(end, listed, 'time_end')):06}"
        for _, clip, start, end in rows
    ]
    clips = root / split if (root / split).is_dir() else root
    there = _clips(clips)
    files = []
    for (label, clip, *_), stem in zip(rows, stems, strict=True):
        file = there.get(stem) or there.get(clip)
        files.append(file or f"{label}/{stem}.mp4")
    number = {label: i for i, label in enumerate(known)}
    sources = {"video": Files(clips, files, MODALITIES["video"].read)}
    listing = Listing(f"kinetics-{len(known)}", known, stems, [number[label] for label, *_ in rows], sources)
    return replace(listing, listed=listed.name)


def recognise(path: Path) -> str | None:
    """A CSV of the set, told by its first line."""
    for split in ("val", "test", "train"):
        listed = _find(path, split) if path.is_dir() else None
        if listed is not None:
            with listed.open(encoding="utf-8-sig", errors="replace") as file:
                head = file.readline(1000)
            if "youtube_id" in head and "time_start" in head:
                return f"{listed.relative_to(path).as_posix()} has columns youtube_id and time_start"
    return None


def _find(root: Path, split: str) -> Path | None:
    names = (f"{split}.csv", f"kinetics*_{split}.csv", f"k*00_{split}.csv", f"*_{split}.csv")
    return next(
        (
            listed
            for place in WITHIN
            for name in names
            for listed in sorted((root / place).glob(name))
            if listed.is_file()
        ),
        None,
    )


def _clips(root: Path) -> dict[str, str]:
    """Stem -> path relative to `root`, of the clips there and one folder deeper."""
    by_stem: dict[str, str] = {}
    for entry in entries_of(root):
        below = entries_of(Path(entry.path)) if is_folder(entry) else None
        inside = [entry.name] if below is None else [f"{entry.name}/{clip.name}" for clip in below]
        for file in inside:
            stem, suffix = os.path.splitext(file.rpartition("/")[2])
            if suffix.lower() in MODALITIES["video"].suffixes:
                by_stem.setdefault(stem, file)
    return by_stem


LAYOUT = Layout(load, recognise, often_missing=True)
