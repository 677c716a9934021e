"""Places365: `val_256/*.jpg` listed by places365_val.txt, named by categories_places365.txt; or class folders,
`val/<class>/*.jpg`.
"""

from dataclasses import replace
from pathlib import Path

from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.folder import listing_of
from ironbind.data.list_files import first_of, holds, read_lines, root_of, whole_number
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

CATEGORIES = "categories_places365.txt"
LISTS = {"val": ("places365_val.txt",), "train": ("places365_train_standard.txt", "places365_train.txt")}
PICTURES = {"val": ("val_256", "val_large", "val"), "train": ("data_256", "data_large", "train")}
EXPECTED = f"val_256/, places365_val.txt and {CATEGORIES}, or class folders val/<class>/"


def load(
    path: str | Path | None,
    *,
    split: str = "val",
) -> Listing:
    """`split` ("val": 36,500 pictures; "train") of the Places365 in `path`. "/a/apartment_building/outdoor" is called
    "apartment building outdoor". Raises InputError.
    """
    root = root_of(path, "places365", EXPECTED)
    if split not in LISTS:
        raise InputError(f"split {split!r} of places365 is not known; expected one of {', '.join(LISTS)}")
    if any((root / name).is_file() for name in LISTS[split]):
        listed = first_of(root, LISTS[split], EXPECTED)
        listing = _of_list(root, listed, split)
        return replace(listing, listed=listed.name)
    listing, _ = listing_of(root, ("image",), split if (root / split).is_dir() else None)
    listing = replace(listing, name="places365", classes=tuple(name.replace("-", " ") for name in listing.classes))
    if len(listing.classes) != 365:
        listing = replace(listing, notes=(*listing.notes, f"{len(listing.classes)} of the 365 classes of Places365"))
    return listing


def recognise(path: Path) -> str | None:
    """Its list of categories or pictures, or 365 folders with two of its names."""
    for name in (CATEGORIES, *LISTS["val"]):
        if (path / name).is_file():
            return f"it holds {name}"
    for folder in (path / "val", path):
        if holds(folder, "airfield", "zen_garden"):
            return f"{folder.name}/ holds folders airfield/ and zen_garden/"
    return None


def _of_list(root: Path, listed: Path, split: str) -> Listing:
    """Lines of a file's name and its category's number, counted from 0."""
    categories = _categories(root / CATEGORIES)
    expected = "lines of a picture's name and a category's number: Places365_val_00000001.jpg 165"
    files, labels = [], []
    for line in read_lines(listed, expected):
        file, _, number = line.rpartition(" ")
        if not file:
            raise InputError(f"{listed}: has the line {line[:60]!r}; expected {expected}")
        files.append(file.strip().lstrip("/"))
        labels.append(whole_number(number, listed, f"category of {file}", len(categories)))
    pictures = first_of(root, PICTURES[split], f"the pictures that {listed.name} lists")
    ids = [file.rpartition(".")[0] or file for file in files]
    return Listing("places365", categories, ids, labels, {"image": Files(pictures, files, MODALITIES["image"].read)})


def _categories(path: Path) -> tuple[str, ...]:
    expected = "lines of a category and its number, counted from 0: /a/airfield 0"
    lines = read_lines(path, expected)
    names: dict[int, str] = {}
    for line in lines:
        name, _, number = line.rpartition(" ")
        label = whole_number(number, path, "number", len(lines))
        parts = name.strip().strip("/").split("/")
        names[label] = " ".join(parts[1:] if len(parts) > 1 and len(parts[0]) == 1 else parts).replace("_", " ")
    if len(names) < len(lines) or len(set(names.values())) < len(names):
        raise InputError(f"{path}: has a category or a number twice; expected {expected}")
    return tuple(names[label] for label in range(len(names)))


LAYOUT = Layout(load, recognise)
