"""A data set of the Hugging Face Hub by its name: `hf:owner/name[:config][/split]`, streamed once into the cache."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.data.hubs.hub_files import EXPECTED, FILE, fetch, hub_name, read_fetched, shards_of
from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.hf_datasets import Found, listing_of_shards
from ironbind.data.list_by_ranks import fetched_by_first
from ironbind.data.listing import Listing
from ironbind.data.storage.packed import PackedStrings
from ironbind.types import InputError


def load(
    path: str | Path | None,
    *,
    modality: str | Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    names: str | Sequence[str] | None = None,
    rows: int | None = None,
) -> Listing:
    """The rows of a data set of the Hub, or of a folder into which one was fetched.

    `rows`: only the first so many, in the data set's own order, and only these are fetched. `modality`, `columns`,
    `names`: as for parquet files. Raises InputError.
    """
    if path is None:
        raise InputError(f"path is missing: the data set 'hub' is read by its name; expected {EXPECTED}")
    if rows is not None and rows < 1:
        raise InputError(f"rows {rows} is too small; expected at least 1")
    given = str(path)
    kept_here = (Path(path) / FILE).is_file()
    folder = Path(path) if kept_here else fetched_by_first(lambda: fetch(hub_name(given), rows))
    kept = read_fetched(folder)
    if kept is None or not kept.files:
        raise InputError(f"{path}: holds no row; expected some")
    if rows is None and not kept.complete:
        raise InputError(
            f"{path}: its fetch was stopped after {kept.rows} rows; expected all of them, or rows={kept.rows}"
        )
    revision = f", revision {kept.revision[:12]}" if kept.revision else ""
    notes = (f"{kept.name}: split {kept.split}{revision}",)
    found = Found(kept.name.removeprefix("hf:"), folder, kept.split, list(shards_of(folder, kept)), notes)
    listing = listing_of_shards(found, modality, columns, names)
    listing = replace(listing, ids=PackedStrings.of(f"{kept.split}/{row}" for row in range(len(listing))))
    if rows is None or (kept.complete and rows >= len(listing)):
        return listing
    return replace(listing.keep(range(rows)), notes=(*listing.notes, f"the first {rows} rows"))


def recognise(path: Path) -> str | None:
    """A folder into which a data set was fetched."""
    return f"it holds {FILE} of a data set that was fetched" if (path / FILE).is_file() else None


LAYOUT = Layout(load, recognise)
