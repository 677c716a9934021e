"""Sounds with sentences, for retrieval: Clotho (Drossos et al. 2020), five captions a clip, and AudioCaps (Kim et al.
2019), one or five.

Clotho: `clotho_captions_<split>.csv` (file_name, caption_1 ... caption_5) and the clips; file names have blanks, commas
and accents. AudioCaps: `<split>.csv` (audiocap_id, youtube_id, start_time, caption), one row a caption, and clips of
online videos, many of them gone; or LanguageBind's `audiocaps_<split>.tsv` (id, path, caption).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ironbind.data.layout import Layout
from ironbind.data.layouts.audio.audioset import names_of
from ironbind.data.layouts.audio.recordings import folder_of, matched, recordings
from ironbind.data.list_files import check_split, first_of, holds, read_table, root_of, whole_number
from ironbind.data.listing import UNLABELLED, Listing
from ironbind.types import InputError

CAPTIONS = tuple(f"caption_{number}" for number in range(1, 6))
CLOTHO_SPLITS = ("development", "validation", "evaluation")
AUDIOCAPS_SPLITS = ("train", "val", "test")
SECONDS = 10  # of an AudioCaps clip


class Clip(NamedTuple):
    """A sample of these lists: its id, its captions, and the names that its file may have, without suffix."""

    id: str
    captions: list[str]
    stems: list[str]


def load_clotho(
    path: str | Path | None,
    *,
    split: str = "evaluation",
    audio: str | None = None,
) -> Listing:
    """Clotho: clips with all their captions, no classes.

    `split`: "development", "validation" or "evaluation". `audio`: the folder of the clips, relative to `path` (None:
    `<split>`, `audio`, or anywhere in `path`). Raises InputError.
    """
    root = root_of(path, "clotho", f"clotho_captions_{split}.csv and the clips")
    check_split(split, CLOTHO_SPLITS, "clotho")
    table = first_of(root, _lists(f"clotho_captions_{split}.csv"), "Clotho's list of captions")
    rows = read_table(table, ("file_name", *CAPTIONS), f"columns file_name, {CAPTIONS[0]} ... {CAPTIONS[-1]}")
    told = [Clip(Path(file).stem, captions, [Path(file).stem]) for file, *captions in rows]
    listing = _listing("clotho", root, table, told, folder_of(root, audio, (split, "audio")), split)
    return replace(listing, listed=table.name)


def load_audiocaps(
    path: str | Path | None,
    *,
    split: str = "test",
    audio: str | None = None,
) -> Listing:
    """AudioCaps: clips with all their captions, no classes. Clips that are not there are counted and named, not
    refused.

    `split`: "train", "val" or "test". `audio`: the folder of the clips, relative to `path` (None: `<split>`, `audio`,
    or anywhere in `path`). Raises InputError.
    """
    root = root_of(path, "audiocaps", f"{split}.csv and the clips")
    check_split(split, AUDIOCAPS_SPLITS, "audiocaps")
    table = first_of(root, [*_lists(f"{split}.csv"), f"audiocaps_{split}.tsv"], "AudioCaps' list of captions")
    told: dict[str, Clip] = {}
    if table.suffix == ".tsv":
        for file, caption in read_table(
            table, ("path", "caption"), "columns id, path, caption, separated by tabs", separator="\t"
        ):
            told.setdefault(file, Clip(Path(file).stem, [], [Path(file).stem])).captions.append(caption)
    else:
        columns = ("audiocap_id", "youtube_id", "start_time", "caption")
        for number, video, written, caption in read_table(table, columns, f"columns {', '.join(columns)}"):
            start = whole_number(written, table, "start_time")
            clip = told.setdefault(
                f"{video}_{start}", Clip(f"{video}_{start}", [], names_of(video, start, start + SECONDS, True))
            )
            clip.captions.append(caption)
            clip.stems.append(number)
    listing = _listing("audiocaps", root, table, list(told.values()), folder_of(root, audio, (split, "audio")), split)
    return replace(listing, listed=table.name)


def _listing(name: str, root: Path, table: Path, clips: Sequence[Clip], folders: Sequence[str], split: str) -> Listing:
    captions = [tuple(caption.strip() for caption in clip.captions if caption.strip()) for clip in clips]
    silent = next((clip.id for clip, told in zip(clips, captions, strict=True) if not told), None)
    if silent is not None:
        raise InputError(f"{table}: has no caption for {silent!r}; expected at least one for each clip")
    place, by_stem = recordings(root, folders)
    return Listing(
        name, UNLABELLED, [clip.id for clip in clips], [0] * len(clips),
        {"audio": matched(root, place, by_stem, [clip.stems for clip in clips])},
        all_captions=captions, notes=(f"split {split}",),
    )  # fmt: skip


def _lists(file: str) -> list[str]:
    return [file, f"dataset/{file}", f"metadata/{file}"]


def recognise_clotho(path: Path) -> str | None:
    """One of its lists."""
    return _recognised(path, [f"clotho_captions_{split}.csv" for split in CLOTHO_SPLITS])


def recognise_audiocaps(path: Path) -> str | None:
    """LanguageBind's list, or the folder of the original ones: a bare test.csv may be anything."""
    return _recognised(
        path,
        [f"audiocaps_{split}.tsv" for split in AUDIOCAPS_SPLITS]
        + [f"dataset/{split}.csv" for split in AUDIOCAPS_SPLITS],
    )


def _recognised(path: Path, names: Sequence[str]) -> str | None:
    listed = next((name for name in names if holds(path, name)), None)
    return f"it holds {listed}" if listed else None


CLOTHO_LAYOUT = Layout(load_clotho, recognise_clotho)
AUDIOCAPS_LAYOUT = Layout(load_audiocaps, recognise_audiocaps, often_missing=True)
