"""FLIR ADAS thermal pictures: as LanguageBind publishes them (class folders, flirv1 and flirv2), or raw with COCO boxes
that become crops.

Raw v1: `val/thermal_annotations.json`, `val/thermal_8_bit/*.jpeg`, `val/thermal_16_bit/*.tiff`. Raw v2:
`images_thermal_val/coco.json`, its `data/*.jpg` and, where a release has it, `analyticsData/*.tiff` of 16 bits. The 16
bits are the sensor's counts over 65535, never cut to 8.
"""

from dataclasses import replace
from pathlib import Path

from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.folder import listing_of
from ironbind.data.layouts.thermal.boxes import Box, read_coco, within
from ironbind.data.list_files import holds, root_of
from ironbind.data.listing import Listing
from ironbind.data.storage.crops import Crops
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

ANNOTATIONS = (
    "{split}/thermal_annotations.json",
    "images_thermal_{split}/coco.json",
    "video_thermal_{split}/coco.json",
    "{split}/coco.json",
)
SIXTEEN = {"thermal_8_bit": "thermal_16_bit", "data": "analyticsData"}
EXPECTED = "val/<class>/, val/thermal_annotations.json, or images_thermal_val/coco.json"


def load(
    path: str | Path | None,
    *,
    split: str = "val",
    bits: int = 8,
    smallest: int = 1,
) -> Listing:
    """`split` ("val", "train", v2 also "test") of the FLIR in `path`: class folders as they are, raw pictures as one
    crop per annotated thing.

    `bits`: 8, or 16 for the TIFFs of the raw release. `smallest`: crops with a shorter side, in pixels, are left out
    and noted; degenerate boxes are told in `problems`. Classes are those that occur.
    Raises InputError.
    """
    root = root_of(path, "flir", EXPECTED)
    if bits not in (8, 16):
        raise InputError(f"bits {bits} does not exist in FLIR; expected 8 or 16")
    annotated = next((place for name in ANNOTATIONS if (place := root / name.format(split=split)).is_file()), None)
    if annotated is not None:
        listing = _of_coco(annotated, bits, smallest)
        listed = annotated.name
    elif bits == 16:
        raise InputError(
            f"{root}: has no {' or '.join(ANNOTATIONS).format(split=split)}, which 16 bits need; "
            "expected FLIR's raw release"
        )
    else:
        listing, _ = listing_of(root, ("thermal",), split if (root / split).is_dir() else None)
        listing, listed = replace(listing, name=root.resolve().name), None
    return replace(listing, listed=listed)


def recognise(path: Path) -> str | None:
    """Its annotations' places, or the class folders that LanguageBind publishes."""
    for name in ANNOTATIONS[:3]:
        if (path / name.format(split="val")).is_file():
            return f"it holds {name.format(split='val')}"
    for folder in (path / "val", path):
        if "flir" in path.resolve().name.lower() and holds(folder, "car", "person"):
            return f"it is called {path.resolve().name} and holds folders car/ and person/"
    return None


def _of_coco(annotated: Path, bits: int, smallest: int) -> Listing:
    root = annotated.parent
    pictures, categories = read_coco(annotated)
    crops: list[tuple[str, str, str, Box]] = []  # id, class, file, box
    degenerate, small = [], 0
    for picture in pictures:
        file = picture.file if bits == 8 else _sixteen(picture.file)
        for number, (name, annotated_box) in enumerate(picture.things):
            box = within(annotated_box, picture.width, picture.height)
            if box is None:
                degenerate.append(f"{picture.file}: box {number} ({name}) is degenerate {annotated_box}")
            elif min(box[2] - box[0], box[3] - box[1]) < smallest:
                small += 1
            else:
                crops.append((f"{picture.file.rpartition('.')[0]}/{number}", name, file, box))
    if not crops:
        raise InputError(f"{annotated}: has no usable box in {len(pictures)} pictures; expected some")
    occurring = {name for _, name, _, _ in crops}
    classes = tuple(name for _, name in sorted(categories.items()) if name in occurring)
    if len(set(classes)) < len(classes):
        raise InputError(f"{annotated}: two of its categories are called alike; expected different names")
    notes = [f"{len(crops)} crops of annotated things in {len(pictures)} pictures (ours), {bits} bits"]
    notes += ["16 bits are divided by 65535: the sensor's counts, not stretched"] if bits == 16 else []
    notes += [f"{small} crops with a side below {smallest} pixels are left out"] if small else []
    notes += [f"{len(degenerate)} degenerate boxes are left out"] if degenerate else []
    source = Crops(
        Files(root, [file for _, _, file, _ in crops], MODALITIES["thermal"].read), [box for *_, box in crops]
    )
    return Listing(
        "flir", classes, [key for key, *_ in crops], [classes.index(name) for _, name, _, _ in crops],
        {"thermal": source},
        notes=tuple(notes), problems=tuple(degenerate),
    )  # fmt: skip


def _sixteen(file: str) -> str:
    folder, _, name = file.rpartition("/")
    return f"{SIXTEEN.get(folder, folder)}/{name.rpartition('.')[0]}.tiff"


LAYOUT = Layout(load, recognise)
