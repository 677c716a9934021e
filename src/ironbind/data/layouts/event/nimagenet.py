"""N-ImageNet (Kim et al. 2021): event recordings of ImageNet's pictures, `extracted_val/Part_<i>/<wnid>/*.npz`, on a
sensor of 640 x 480.

Each file holds one structured array `event_data` with x, y, t (microseconds) and p (bool). Classes and their names are
ImageNet's.
"""

import re
from pathlib import Path

from ironbind.core.names.imagenet_names import names_of
from ironbind.data.folder_entries import entries_of, files_in, is_folder
from ironbind.data.layout import Layout
from ironbind.data.list_files import check_split, root_of
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

SPLITS = ("val", "train")
WNID, PART = re.compile(r"n\d{8}"), re.compile(r"Part_\d+")
EXPECTED = "extracted_val/Part_<i>/<wnid>/*.npz"


def load(
    path: str | Path | None,
    *,
    split: str = "val",
    names: str = "clip",
) -> Listing:
    """N-ImageNet, one class a wnid, in the order of wnids, whichever parts they lie in.

    `split`: "val" or "train". `names`: "clip" or "wordnet", as for imagenet. Raises InputError.
    """
    root = root_of(path, "nimagenet", EXPECTED)
    check_split(split, SPLITS, "nimagenet")
    base = root / f"extracted_{split}" if (root / f"extracted_{split}").is_dir() else root
    recordings: dict[str, list[str]] = {}
    for folder in _folders(base):
        files = files_in(folder, (".npz",))
        recordings.setdefault(folder.name, []).extend((folder / file).relative_to(base).as_posix() for file in files)
    wnids = sorted(wnid for wnid, files in recordings.items() if files)
    if not wnids:
        raise InputError(f"{base}: holds no <wnid>/*.npz, nor Part_<i> with such folders; expected {EXPECTED}")
    samples = sorted((label, Path(file).stem, file) for label, wnid in enumerate(wnids) for file in recordings[wnid])
    return Listing(
        "nimagenet",
        names_of(wnids, names),
        [f"{wnids[label]}/{stem}" for label, stem, _ in samples],
        [label for label, *_ in samples],
        {"event": Files(base, [file for *_, file in samples], MODALITIES["event"].read)},
        notes=(f"split {split}", *([f"{len(wnids)} of ImageNet's 1000 classes"] if len(wnids) != 1000 else [])),
    )


def _folders(base: Path) -> list[Path]:
    """The folders called by wnids, in `base` and in its parts."""
    parts = sorted(Path(entry) for entry in entries_of(base) if is_folder(entry) and PART.fullmatch(entry.name))
    return [
        Path(entry)
        for place in (base, *parts)
        for entry in entries_of(place)
        if is_folder(entry) and WNID.fullmatch(entry.name)
    ]


def recognise(path: Path) -> str | None:
    """A folder of one of the splits with parts or wnids in it that hold .npz."""
    for base in (*(path / f"extracted_{split}" for split in SPLITS), path):
        folder = next(iter(sorted(_folders(base))), None) if base.is_dir() else None
        if folder is not None and any(folder.glob("*.npz")):
            return f"it holds {folder.relative_to(path).as_posix()}/*.npz"
    return None


LAYOUT = Layout(load, recognise)
