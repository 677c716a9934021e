"""RGB-thermal pairs, for which no one layout is standard: class folders, in a folder for each of the two or for thermal
alone.

`DIR/thermal/<class>/`, `DIR/rgb/<class>/` (also called infrared, ir, lwir, tir; visible, vis, image), paired by file
stem.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.data.folder_entries import folders_in
from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.folder import listing_of
from ironbind.data.layouts.generic.manifest import FILE
from ironbind.data.list_files import root_of
from ironbind.data.listing import Listing
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

CALLED = {"thermal": ("thermal", "infrared", "ir", "lwir", "tir"), "image": ("image", "rgb", "visible", "vis")}
EXPECTED = "DIR/thermal/<class>/ and DIR/rgb/<class>/, or DIR/<class>/ of thermal pictures"


def load(
    path: str | Path | None,
    *,
    modality: str | Sequence[str] | None = None,
    split: str | None = None,
) -> Listing:
    """The pairs in `path`, or one side of them. Results name the folder, as "RGB-T" says little.

    `modality`: "thermal", "image", or both (None: those that are there). `split`: a folder around or within the
    classes. Raises InputError.
    """
    root = root_of(path, "rgbt", EXPECTED)
    inside = root / split if split and (root / split).is_dir() else root
    called = _called(inside)
    wanted = (
        (modality,)
        if isinstance(modality, str)
        else tuple(modality)
        if modality is not None
        else tuple(called) or ("thermal",)
    )
    unknown = next((kind for kind in wanted if kind not in CALLED), None)
    if unknown is not None:
        raise InputError(f"modality {unknown!r} is not in RGB-T; expected some of {', '.join(CALLED)}")
    listing, _ = listing_of(inside, wanted, split if inside == root else None, called=called)
    return replace(listing, name=f"rgbt {root.resolve().name}")


def recognise(path: Path) -> str | None:
    """A folder of thermal pictures beside one of visible ones, each with folders, and no other modality's."""
    called = _called(path) if path.is_dir() else {}
    others = [name for name in MODALITIES if name not in CALLED and folders_in(path / name)]
    if (
        len(called) == 2 and not others and not {"Annotations", FILE} & {entry.name for entry in path.iterdir()}
    ):  # not LLVIP, and no export of many modalities
        return f"it holds {called['thermal']}/ and {called['image']}/ with class folders"
    return None


def _called(root: Path) -> dict[str, str]:
    """What the folder of each modality is called here, of those that hold folders."""
    folders = {name.lower(): name for name in folders_in(root) if folders_in(root / name)}
    known = {
        modality: next((folders[name] for name in names if name in folders), None) for modality, names in CALLED.items()
    }
    return {modality: name for modality, name in known.items() if name is not None}


LAYOUT = Layout(load, recognise)
