"""LLVIP: street scenes at night, infrared and visible. Raw (`infrared/test/*.jpg`, `visible/test/`,
`Annotations/*.xml`) or as LanguageBind publishes it (`val/{background,person}/`).

The raw pictures become a classification as in ImageBind's paper: the boxes of persons, and as many of the same sizes
that touch no person. Its crops were never published; ours are drawn by a seed. A visible crop is the same place as its
infrared one.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.data.folder_entries import files_in, folders_in
from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.folder import listing_of
from ironbind.data.layouts.thermal.boxes import Box, beside, read_voc, within
from ironbind.data.list_files import holds, root_of
from ironbind.data.listing import Listing
from ironbind.data.names.class_names import class_names
from ironbind.data.storage.crops import Crops
from ironbind.data.storage.files import Files, Source
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

FOLDERS = {"thermal": "infrared", "image": "visible"}
CLASSES = class_names("llvip")
EXPECTED = "infrared/{train,test}/*.jpg with Annotations/*.xml, or val/{background,person}/"


def load(
    path: str | Path | None,
    *,
    modality: str | Sequence[str] | None = None,
    split: str = "test",
    crop_seed: int = 0,
) -> Listing:
    """Crops of persons and of background from `split` ("test", "train") of the LLVIP in `path`.

    `modality`: "thermal", "image", or both (None: all that are there); published folders are thermal. `crop_seed` draws
    the background crops. Degenerate boxes are left out and told in `problems`. Raises InputError.
    """
    root = root_of(path, "llvip", EXPECTED)
    wanted = (modality,) if isinstance(modality, str) else tuple(modality) if modality is not None else None
    unknown = next((kind for kind in wanted or () if kind not in FOLDERS), None)
    if unknown is not None:
        raise InputError(f"modality {unknown!r} is not in LLVIP; expected some of {', '.join(FOLDERS)}")
    if holds(root, "Annotations"):
        listing, listed = _of_raw(root, wanted, split, crop_seed), "Annotations/"
    else:
        published = {"test": "val"}.get(split, split)
        inside = next((root / place for place in (split, published) if (root / place).is_dir()), root)
        listing, _ = listing_of(inside, wanted or ("thermal",))
        listing, listed = replace(listing, name="llvip"), None
    return replace(listing, listed=listed)


def recognise(path: Path) -> str | None:
    """Infrared pictures with annotations, or published folders of the two classes."""
    if holds(path, "infrared", "Annotations"):
        return "it holds infrared/ and Annotations/"
    for folder in (path / "val", path):
        if set(folders_in(folder)) in (
            {"background", "person"},
            {"background", "people"},
        ):
            return f"{folder.name}/ holds just the folders background/ and person/"
    return None


def _of_raw(root: Path, wanted: tuple[str, ...] | None, split: str, crop_seed: int) -> Listing:
    there = [kind for kind, folder in FOLDERS.items() if (root / folder / split).is_dir()]
    chosen = wanted if wanted is not None else tuple(there)
    absent = next((kind for kind in chosen if kind not in there), None)
    if absent or not chosen:
        raise InputError(f"{root}: has no {FOLDERS[absent or 'thermal']}/{split}/; expected {EXPECTED}")
    base = root / FOLDERS[chosen[0]] / split
    pictures = files_in(base, (".jpg", ".jpeg", ".png"))
    if not pictures:
        raise InputError(f"{base}: holds no picture; expected {EXPECTED}")
    crops: list[tuple[str, int, str, Box]] = []  # id, label, picture, box
    damaged, degenerate, unplaced = [], [], 0
    for picture in pictures:
        stem = picture.rpartition(".")[0]
        try:
            _, width, height, things = read_voc(root / "Annotations" / f"{stem}.xml")
        except InputError as error:
            damaged.append(str(error))
            continue
        boxes = [
            (number, box) for number, (_, annotated) in enumerate(things) if (box := within(annotated, width, height))
        ]
        whole = {number for number, _ in boxes}
        degenerate += [
            f"{stem}.xml: box {number} is degenerate {box}"
            for number, (_, box) in enumerate(things)
            if number not in whole
        ]
        for number, box in boxes:
            crops.append((f"{stem}/person/{number}", 1, picture, box))
            free = beside(
                [taken for _, taken in boxes],
                (box[2] - box[0], box[3] - box[1]),
                width,
                height,
                (crop_seed, stem, number),
            )
            unplaced += free is None
            crops += [(f"{stem}/background/{number}", 0, picture, free)] if free else []
    if damaged and not crops:
        raise InputError(f"{damaged[0]} (no picture of {len(pictures)} has a usable annotation)")
    if not crops:
        raise InputError(f"{root / 'Annotations'}: has no usable box in {len(pictures)} annotations; expected persons")
    sources: dict[str, Source] = {
        kind: Crops(
            Files(root, [f"{FOLDERS[kind]}/{split}/{picture}" for _, _, picture, _ in crops], MODALITIES[kind].read),
            [box for *_, box in crops],
        )
        for kind in chosen
    }
    count = sum(label for _, label, _, _ in crops)
    notes = [
        f"{count} crops of persons, {len(crops) - count} of background of the same sizes (ours, drawn with seed "
        f"{crop_seed})"
    ]
    notes += [f"{unplaced} background crops found no place free of persons"] if unplaced else []
    notes += [f"{len(degenerate)} degenerate boxes are left out"] if degenerate else []
    return Listing(
        "llvip", CLASSES, [key for key, *_ in crops], [label for _, label, _, _ in crops], sources,
        notes=tuple(notes), problems=tuple(degenerate), missing=tuple(damaged),
    )  # fmt: skip


LAYOUT = Layout(load, recognise)
