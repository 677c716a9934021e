"""VGGSound (Chen et al. 2020): ten-second clips of online videos, one of 309 classes each. `vggsound.csv` and
`<ytid>_<start, 6 digits>.wav`.

The list has no header: ytid, start, "label", split; labels contain commas. Also LanguageBind's class folders,
`test/<class>/*`.
"""

from dataclasses import replace
from pathlib import Path

from ironbind.data.layout import Layout
from ironbind.data.layouts.audio.recordings import folder_of, matched, recordings
from ironbind.data.layouts.generic import folder
from ironbind.data.list_files import holds, read_table, root_of, whole_number
from ironbind.data.listing import Listing
from ironbind.types import InputError

LIST = "vggsound.csv"


def load(
    path: str | Path | None,
    *,
    split: str = "test",
    audio: str | None = None,
) -> Listing:
    """VGGSound, all classes of the list, sorted by name. Clips that are not there are counted and named, not refused.

    `split`: "test" or "train". `audio`: the folder of the clips, relative to `path` (None: `<split>`, `audio`, or
    anywhere in `path`). Raises InputError.
    """
    root = root_of(path, "vggsound", f"{LIST} and the clips, or test/<class>/")
    if not (root / LIST).is_file():
        if not (root / split).is_dir():
            raise InputError(
                f"{root}: has neither {LIST} nor a folder {split}/; expected {LIST} and the clips, or {split}/<class>/"
            )
        listing = folder.load(root, modality="audio", split=split)
        note = f"class folders in {split}/, as LanguageBind publishes them"
        return replace(listing, name="vggsound", notes=(*listing.notes, note))
    table = root / LIST
    rows = list(
        read_table(
            table,
            ("ytid", "start", "label", "split"),
            "rows of ytid, start, label, split without a header",
            header=False,
        )
    )
    splits = sorted({name for *_, name in rows})
    if split not in splits:
        raise InputError(f"split {split!r} does not exist in {table}; expected one of {', '.join(splits)[:80]}")
    names = sorted({label for _, _, label, _ in rows})
    number = {name: label for label, name in enumerate(names)}
    chosen = [row for row in rows if row[3] == split]
    stems = [f"{clip}_{whole_number(start, table, 'start'):06d}" for clip, start, _, _ in chosen]
    place, there = recordings(root, folder_of(root, audio, (split, "audio")))
    listing = Listing(
        "vggsound",
        tuple(names),
        stems,
        [number[label] for _, _, label, _ in chosen],
        {"audio": matched(root, place, there, [[stem] for stem in stems])},
        notes=(f"split {split}",),
    )
    return replace(listing, listed=LIST)


def recognise(path: Path) -> str | None:
    """Its list lies there."""
    return f"it holds {LIST}" if holds(path, LIST) else None


LAYOUT = Layout(load, recognise, often_missing=True)
