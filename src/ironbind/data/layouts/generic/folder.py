"""Class folders of real files, in any modality: `DIR/<class>/<file>`, or `DIR/<modality>/<class>/<file>` with instances
paired by file stem.

Folder names are class names, underscores read as spaces. Where an export left its dataset.json, ids, order, classes and
prompts are its. Beside it `captions.csv` (columns id, caption) and `templates.txt` (one prompt a line, with {}) are
used where they exist.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.core.tables.csv_text import cell_text
from ironbind.data.folder_entries import folders_in
from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.class_folders import find_tree, flat_modalities
from ironbind.data.layouts.generic.manifest import FILE
from ironbind.data.layouts.generic.named_files import listing_of_names
from ironbind.data.list_files import templates_of
from ironbind.data.listing import Listing, restrict
from ironbind.data.listing import stratified as stratified
from ironbind.data.storage.archive_members import is_archive
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError


def load(
    path: str | Path | None,
    *,
    modality: str | Sequence[str] | None = None,
    split: str | None = None,
    captions: str | Path | None = None,
    classes: Sequence[str] | None = None,
    pattern: str | None = None,
    where: Mapping[str, str | Sequence[str]] | None = None,
    names: str | Sequence[str] | None = None,
) -> Listing:
    """The class folders in `path`, a folder or a tar or zip file of them, as a data set; or files with labels in their
    names.

    `modality`: one, several (instances are paired by file stem; those lacking one are left out and noted), or None for
    all modality folders there are. `split`: only files below a folder of that name, `DIR/<split>/<class>/` or
    `DIR/<class>/<split>/`. `captions`: a CSV other than DIR/captions.csv; it must know
    the samples of `classes`. `pattern`: where in a file's name its label is, `{label}_{speaker}_{take}`, instead of in
    its folder's; `where`: only files whose fields have these values, {"speaker": "jackson"}; `names`: class names for
    labels that are numbers, in order, or a file of them. Archives and patterns give one modality. Raises InputError.
    """
    if path is None:
        raise InputError(
            "path is missing: the data set 'folder' is read from a folder; expected DIR with DIR/<class>/<file>"
        )
    wanted = (modality,) if isinstance(modality, str) else None if modality is None else tuple(modality)
    for name in wanted or ():
        if name not in MODALITIES:
            raise InputError(f"modality {name!r} is not known; expected one of {', '.join(MODALITIES)}")
    if pattern is not None or is_archive(Path(path)):
        return _by_names(Path(path), wanted, split, pattern, where, names, classes)
    if where is not None or names is not None:
        raise InputError(f"{path}: where and names are about labels in file names; expected the option pattern=... too")
    listing, root = listing_of(Path(path), wanted, split)
    if classes is not None:
        listing = restrict(listing, classes)
    return _with_captions(listing, root, captions)


def _by_names(
    path: Path,
    wanted: tuple[str, ...] | None,
    split: str | None,
    pattern: str | None,
    where: Mapping[str, str | Sequence[str]] | None,
    names: str | Sequence[str] | None,
    classes: Sequence[str] | None,
) -> Listing:
    if wanted is not None and len(wanted) != 1:
        raise InputError(f"{path}: archives and patterns give one modality, not {', '.join(wanted)}; expected one")
    if not path.exists():
        raise InputError(f"{path}: no such folder or archive; expected files whose names fit {pattern}")
    listing = listing_of_names(path, wanted[0] if wanted else None, pattern, split, where, names)
    return restrict(listing, classes) if classes is not None else listing


def listing_of(
    path: Path,
    wanted: tuple[str, ...] | None,
    split: str | None = None,
    called: Mapping[str, str] | None = None,
) -> tuple[Listing, Path]:
    """All samples of the class folders in `path`, and where they lie; what other layouts that are class folders begin
    with. See `find_tree`.
    """
    tree = find_tree(path, wanted, split, called)
    sources = {name: Files(tree.root, files, MODALITIES[name].read) for name, files in tree.files.items()}
    templates = tree.templates or templates_of(tree.root)
    listing = Listing(
        tree.name,
        tree.classes,
        tree.ids,
        tree.labels,
        sources,
        templates=templates,
        notes=tree.notes,
        problems=tree.problems,
        missing=tree.missing,
    )
    return listing, tree.root


def recognise(path: Path) -> str | None:
    """An archive, an export, or folders that hold files."""
    if is_archive(path):
        return f"{path.name} is an archive"
    if (path / FILE).is_file():
        return f"it holds {FILE} of an export"
    flat = flat_modalities(path)
    if flat:
        return f"its folders are modalities ({', '.join(flat)})"
    folders = folders_in(path)
    return (
        f"it holds {len(folders)} folders ({', '.join(folders[:3])}{', ...' if len(folders) > 3 else ''})"
        if folders
        else None
    )


def _with_captions(listing: Listing, root: Path, given: str | Path | None) -> Listing:
    path = Path(given) if given is not None else root / "captions.csv"
    if not path.is_file():
        if given is not None:
            raise InputError(f"{path}: no such file; expected a CSV with columns id, caption")
        return listing
    # an export's own table: its cells start no formula
    text = cell_text if given is None and (root / FILE).is_file() else str
    told: dict[str, tuple[str, ...]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True, strict=True)
            if not {"id", "caption"} <= set(rows.fieldnames or ()):
                raise InputError(
                    f"{path}: has columns {', '.join(rows.fieldnames or ()) or '(none)'}; expected id, caption"
                )
            for row in rows:
                key, caption = text(row["id"]), text((row["caption"] or "").strip())
                told[key] = told.get(key, ()) + ((caption,) if caption else ())
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); expected a CSV in UTF-8 with columns id, caption"
        ) from error
    missing = [key for key in listing.ids if not told.get(key)]
    if missing:
        raise InputError(
            f"{path}: has no caption for {len(missing)} of {len(listing)} samples, the first {missing[0]!r}; "
            "expected one each"
        )
    captions = [told[key] for key in listing.ids]
    further = sum(map(len, captions)) - len(captions)
    notes = (
        (*listing.notes, f"{path.name}: {further} further captions of samples that have one already")
        if further
        else listing.notes
    )
    return replace(listing, all_captions=captions, notes=notes)


LAYOUT = Layout(load, recognise)
