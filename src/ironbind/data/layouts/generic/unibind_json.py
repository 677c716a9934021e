"""UniBind's lists: `test_data.json`, a list of {"data": file, "label": name}, train lists also {"description"}; files
in `test_dataset/`.
"""

from dataclasses import replace
from pathlib import Path

import torch

from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.csv_table import Row, of_rows
from ironbind.data.list_files import first_of, json_of
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Read
from ironbind.modalities import MODALITIES
from ironbind.modalities.point import points_from, xyz_of
from ironbind.modalities.reading import reading
from ironbind.types import Decoded, InputError

EXPECTED = 'a list of {"data": file, "label": name}'


def read_points(path: Path) -> Decoded:
    """UniBind's `.pt` clouds (a float tensor of n rows of x, y, z), and every other point cloud as usual. Raises
    InputError.
    """
    path = Path(path)
    if path.suffix.lower() != ".pt":
        return MODALITIES["point"].read(path)
    with reading(path, "a tensor of n rows of x, y, z"):
        tensor = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(tensor, torch.Tensor) or tensor.ndim != 2 or tensor.shape[1] < 3 or len(tensor) == 0:
            what = (
                f"a tensor of shape {tuple(tensor.shape)}"
                if isinstance(tensor, torch.Tensor)
                else f"a {type(tensor).__name__}"
            )
            raise InputError(f"{path}: holds {what}; expected a tensor of n rows of x, y, z")
        xyz, remarks = xyz_of(tensor.detach().double().numpy(), path)
        return points_from(xyz, path, remarks)


def load(
    path: str | Path | None,
    *,
    modality: str | None = None,
    split: str = "test",
    root: str | Path | None = None,
) -> Listing:
    """The samples of a JSON list, or of `<split>_data.json` in a folder.

    `modality`: what the files are (UniBind's event frames are pictures: "image"). `root`: what they are relative to
    (default: `<split>_dataset/` beside the list, else the list's folder). Descriptions become captions, an "id" that
    one added is kept. Underscores in labels are read as spaces. Raises InputError.
    """
    if path is None:
        raise InputError(
            "path is missing: the data set 'unibind_json' is read from a file or its folder; expected test_data.json"
        )
    place = Path(path)
    if not place.exists():
        raise InputError(f"{place}: no such file or folder; expected {EXPECTED}")
    table = first_of(place, (f"{split}_data.json",), EXPECTED) if place.is_dir() else place
    if modality is None or modality not in MODALITIES:
        raise InputError(
            f"modality {modality!r}: a list does not say what its files are; expected one of {', '.join(MODALITIES)}"
        )
    entries = json_of(table, EXPECTED)
    if not isinstance(entries, list) or not entries:
        raise InputError(
            f"{table}: holds {'an empty list' if entries == [] else type(entries).__name__}; expected {EXPECTED}"
        )
    rows = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict) or not all(
            isinstance(entry.get(key), str) and entry[key].strip() for key in ("data", "label")
        ):
            raise InputError(f"{table}: entry {number} is {str(entry)[:80]}; expected {EXPECTED}")
        told = entry.get("description") or ()
        captions = (told,) if isinstance(told, str) else tuple(told)
        rows.append(
            Row(
                str(entry.get("id", entry["data"])),
                entry["label"].strip(),
                {modality: entry["data"]},
                tuple(map(str, captions)),
            )
        )
    beside = table.parent / f"{split}_dataset"
    base = Path(root) if root is not None else beside if beside.is_dir() else table.parent
    read: Read = read_points if modality == "point" else MODALITIES[modality].read
    listing = of_rows(table.parent.resolve().name, table, base, rows, {modality: read})
    return replace(listing, listed=table.name)


def recognise(path: Path) -> str | None:
    """Its lists by name, or any JSON list whose first entry has data and label."""
    for split in ("test", "eval", "train"):
        if (path / f"{split}_data.json").is_file():
            return f"it holds {split}_data.json"
    if path.suffix.lower() == ".json" and path.is_file():
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            head = file.read(2000)
        if head.lstrip().startswith("[") and '"data"' in head and '"label"' in head:
            return f"{path.name} is a list of data and label"
    return None


LAYOUT = Layout(load, recognise)
