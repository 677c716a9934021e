"""NYU-D (v2) scenes as LanguageBind publishes them: `nyuv2/data/val/<scene>/*.png`, ten scenes, depth as 16-bit PNG in
millimetres.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.data.layouts.generic.folder import listing_of
from ironbind.data.list_files import root_of
from ironbind.data.listing import Listing, choose

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
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_unreadable: bool = False,
) -> Listing:
    """The depth maps of `split` ("val", "train") in `path`. Other options: see `choose`. Raises InputError, also for
    8-bit visualisations.
    """
    root = root_of(path, "nyud", EXPECTED)
    scenes = next((root / one / split for one in WITHIN if (root / one / split).is_dir()), root)
    listing, _ = listing_of(scenes, ("depth",))
    return choose(
        replace(listing, name="nyud"), classes=classes, limit=limit, seed=seed, skip_unreadable=skip_unreadable
    )


def recognises(path: Path) -> str | None:
    """Folders called like its scenes."""
    for folder in (*(path / one / "val" for one in WITHIN), path):
        inside = (
            {entry.name.replace(" ", "_") for entry in os.scandir(folder) if entry.is_dir()}
            if folder.is_dir()
            else set()
        )
        if inside and inside <= SCENES and "home_office" in inside:
            return f"{folder.name}/ holds folders of NYU-D's scenes only ({len(inside)})"
    return None
