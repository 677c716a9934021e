"""NYU-D (v2) scenes as LanguageBind publishes them: `nyuv2/data/val/<scene>/*.png`, ten scenes, depth as 16-bit PNG in
millimetres.
"""

from dataclasses import replace
from pathlib import Path

from ironbind.data.folder_entries import folders_in
from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.folder import listing_of
from ironbind.data.list_files import root_of
from ironbind.data.listing import Listing

WITHIN = ("", "data", "nyuv2/data")
SCENES = {
    "bathroom",
    "bedroom",
    "bookstore",
    "classroom",
    "dining_room",
    "home_office",
    "kitchen",
    "living_room",
    "office",
    "others",
}
EXPECTED = "data/val/<scene>/*.png"


def load(
    path: str | Path | None,
    *,
    split: str = "val",
) -> Listing:
    """The depth maps of `split` ("val", "train") in `path`. Raises InputError, also for
    8-bit visualisations.
    """
    root = root_of(path, "nyud", EXPECTED)
    scenes = next((root / place / split for place in WITHIN if (root / place / split).is_dir()), root)
    listing, _ = listing_of(scenes, ("depth",))
    return replace(listing, name="nyud")


def recognise(path: Path) -> str | None:
    """Folders called like its scenes."""
    for folder in (*(path / place / "val" for place in WITHIN), path):
        inside = {name.replace(" ", "_") for name in folders_in(folder)}
        if inside and inside <= SCENES and "home_office" in inside:
            return f"{folder.name}/ holds folders of NYU-D's scenes only ({len(inside)})"
    return None


LAYOUT = Layout(load, recognise)
