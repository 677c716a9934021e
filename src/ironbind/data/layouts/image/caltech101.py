"""Caltech-101: `101_ObjectCategories/<class>/image_0001.jpg`, grey pictures among them. It has no official split; ours
is seeded.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.folder import listing_of
from ironbind.data.list_files import holds, root_of
from ironbind.data.listing import Listing, restrict
from ironbind.types import InputError

FOLDER, CLUTTER = "101_ObjectCategories", "BACKGROUND_Google"
SPLITS = ("all", "train", "test")
TRAIN = 30  # pictures of each class, the usual protocol's; the smallest class has 31


def load(
    path: str | Path | None,
    *,
    split: str = "all",
    split_seed: int = 0,
    background: bool = False,
) -> Listing:
    """The Caltech-101 in `path`, 101 classes; `background` adds the 102nd folder, pictures of nothing in particular.

    `split`: "all", or "train" (30 pictures of each class, drawn by `split_seed`) and "test" (the others), as no split
    is official. "Faces" and "Faces easy" are both kept, as published. Raises InputError.
    """
    root = root_of(path, "caltech101", f"{FOLDER}/<class>/*.jpg")
    if split not in SPLITS:
        raise InputError(f"split {split!r} of caltech101 is not known; expected one of {', '.join(SPLITS)}")
    pictures = next((place for place in (root / FOLDER, root / "caltech-101" / FOLDER) if place.is_dir()), root)
    listing, _ = listing_of(pictures, ("image",))
    listing = replace(listing, name="caltech101")
    clutter = CLUTTER.replace("_", " ")
    if clutter in listing.classes and not background:
        kept = restrict(listing, [name for name in listing.classes if name != clutter])
        note = f"{CLUTTER} ({len(listing) - len(kept)} pictures) is left out"
        listing = replace(kept, notes=(*kept.notes, note))
    if split != "all":
        rows = split_rows(listing.labels, TRAIN, split_seed)[split]
        note = f"{split} split, ours: {TRAIN} pictures of each class are for training, drawn with seed {split_seed}"
        listing = replace(listing.keep(rows), notes=(*listing.notes, note))
        if not len(listing):
            raise InputError(f"{pictures}: no class has more than {TRAIN} pictures; expected some for the test split")
    return listing


def split_rows(labels: Sequence[int], train: int, seed: int) -> dict[str, list[int]]:
    """Row numbers, ascending: "train" has `train` of each class (all of a smaller one), drawn by `seed`, "test" the
    others.
    """
    label = np.asarray(labels)
    chosen: set[int] = set()
    for number in np.unique(label):
        rows = np.flatnonzero(label == number)
        chosen |= set(np.random.default_rng([seed, int(number)]).permutation(rows)[:train].tolist())
    return {"train": sorted(chosen), "test": [row for row in range(len(label)) if row not in chosen]}


def recognise(path: Path) -> str | None:
    """Its folder's name, or the class folders that no other set has."""
    if holds(path, FOLDER) or holds(path / "caltech-101", FOLDER):
        return f"it holds {FOLDER}/"
    if holds(path, "Faces_easy", "Motorbikes") and any((path / "Motorbikes").glob("*.jpg")):
        return "it holds folders Faces_easy/ and Motorbikes/ of pictures"
    return None


LAYOUT = Layout(load, recognise)
