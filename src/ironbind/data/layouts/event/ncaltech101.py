"""N-Caltech101 (Orchard et al. 2015): event recordings of Caltech-101's pictures, `Caltech101/<class>/image_0001.bin`,
5 bytes an event.

8709 recordings of 101 classes, `BACKGROUND_Google` among them and `Faces` not. Pictures had been scaled into 240 x 180
pixels, so recordings differ in size, which no file says: each one's own extent is taken. No split is official.
"""

from dataclasses import replace
from pathlib import Path

from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.folder import listing_of
from ironbind.data.list_files import holds, root_of
from ironbind.data.listing import Listing, restrict

FOLDER, CLUTTER = "Caltech101", "BACKGROUND_Google"


def load(
    path: str | Path | None,
    *,
    split: str | None = None,
    background: bool = False,
) -> Listing:
    """N-Caltech101, 100 classes; `background` adds the 101st folder, recordings of nothing in particular.

    `split`: a folder of somebody's own split, `<split>/<class>/*.bin` (None: there is none). Raises InputError.
    """
    root = root_of(path, "ncaltech101", f"{FOLDER}/<class>/*.bin")
    listing, _ = listing_of(root / FOLDER if (root / FOLDER).is_dir() else root, ("event",), split)
    listing = replace(listing, name="ncaltech101")
    clutter = CLUTTER.replace("_", " ")
    if clutter in listing.classes and not background:
        kept = restrict(listing, [name for name in listing.classes if name != clutter])
        listing = replace(kept, notes=(*kept.notes, f"{CLUTTER} ({len(listing) - len(kept)} recordings) is left out"))
    return listing


def recognise(path: Path) -> str | None:
    """Class folders that only Caltech-101 has, holding .bin files."""
    for inside in (f"{FOLDER}/", ""):
        if holds(path, f"{inside}Faces_easy") and any((path / inside / "Faces_easy").glob("*.bin")):
            return f"it holds {inside}Faces_easy/*.bin"
    return None


LAYOUT = Layout(load, recognise)
