"""A look at a folder before anything is run on it: which layout it is, what is in it, which of its files cannot be
read.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ironbind.data import DATASETS, detect, likeliest
from ironbind.data.folder_entries import files_in, folders_in
from ironbind.data.listing import UNLABELLED, Listing
from ironbind.data.names.class_names import class_names, data_set_of, plain
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError, Remark

ORDER = (
    "image",
    "video",
    "audio",
    "point",
    "event",
    "thermal",
    "depth",
    "imu",
)  # of two kinds with one suffix, the first is likelier
LOOKED_AT = 2000  # names from which the kind of files is guessed


@dataclass(frozen=True)
class Inspection:
    """What was found: `layout` and why, the layouts that would fit as well, `options` that load it, the samples, and
    one line for each problem.

    `left_out`: the modalities that have a folder beside those that were loaded. `remarks`: what readers did to samples
    or saw in them, one for each such sample. `unlisted`: a line for each modality that has files beside those that a
    list names.
    """

    path: Path
    layout: str
    why: str
    others: Mapping[str, str]
    options: Mapping[str, Any]
    listing: Listing
    problems: tuple[str, ...] = ()
    readable: tuple[int, ...] = field(default=(), repr=False)
    left_out: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = field(default=(), repr=False)
    unlisted: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Samples per class, in the order of classes; classes without any included."""
        counted = Counter(self.listing.labels)
        return {name: counted[label] for label, name in enumerate(self.listing.classes)}

    @property
    def official(self) -> str:
        """Whose classes these are: "all 50 classes of esc50", "38 of the 40 classes of modelnet40; without cone, cup";
        "" for nobody's known here.
        """
        known = data_set_of([name for name, count in self.counts.items() if count])
        if known is None:
            return ""
        names = class_names(known)
        there = {plain(name) for name, count in self.counts.items() if count}
        absent = [name for name in names if plain(name) not in there]
        if not absent:
            return f"all {len(names)} classes of {known}"
        shown = ", ".join([*absent[:5], *(["..."] if len(absent) > 5 else [])])
        return f"{len(names) - len(absent)} of the {len(names)} classes of {known}; without {shown}"

    def remarks_counted(self) -> list[str]:
        """A line for each kind of remark: "3 of 20: turned upright by its EXIF orientation (orientation 6)"."""
        decoded = len(self.listing) * len(self.listing.modalities)
        details: dict[str, Counter[str]] = {}
        for remark in self.remarks:
            details.setdefault(remark.kind, Counter())[remark.detail] += 1
        told = []
        for kind, counts in sorted(details.items()):
            parts = [f"{count} {detail}" if len(counts) > 1 else detail for detail, count in counts.most_common(5)]
            shown = ", ".join([*filter(None, parts), *(["..."] if len(counts) > 5 else [])])
            told.append(f"{counts.total()} of {decoded}: {kind}" + (f" ({shown})" if shown else ""))
        return told

    def lines(self) -> list[str]:
        """The whole of it as text."""
        listing, counts = self.listing, self.counts
        said = [f"layout: {self.layout} ({self.why})"]
        said += [f"would also fit: {', '.join(self.others)}"] if self.others else []
        said.append(f"samples: {len(listing):,} of {', '.join(listing.modalities)}")
        if listing.classes == UNLABELLED:
            said.append("classes: none, for retrieval with captions only")
        else:
            held = sorted(count for count in counts.values() if count)
            empty = sum(not count for count in counts.values())
            spread = f"{held[0]} samples each" if held[0] == held[-1] else f"{held[0]} to {held[-1]} samples each"
            said.append(f"classes: {len(counts)}, {spread}" + (f", {empty} without samples" if empty else ""))
            said += [f"    {', '.join(list(counts)[:8])}{', ...' if len(counts) > 8 else ''}"]
            said += [f"    {self.official}"] if self.official else []
        if listing.all_captions is not None:
            said.append(f"captions: {sum(map(len, listing.all_captions)):,}")
        said += [f"left out: {', '.join(self.left_out)} (folders of modalities beside it)"] if self.left_out else []
        said += [f"note: {line}" for line in (*listing.notes, *self.unlisted, *self.remarks_counted())]
        said += [f"problem: {line}" for line in self.problems]
        return [*said, f"problems: {len(self.problems)}" if self.problems else "no problems: every file can be read"]


def inspect_data(
    path: str | Path,
    layout: str | None = None,
    *,
    modality: str | None = None,
    options: Mapping[str, Any] | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Detects the layout (or takes the one named), loads it, and decodes every sample once (`limit`: so many, of each
    class its share).

    Raises InputError for a folder of no known layout, and for one whose lists cannot be used at all.
    """
    root = Path(path)
    chosen = layout or likeliest(root, options or ())
    reasons = detect(root)
    listing, first, used = _loaded(root, chosen, modality, dict(options or {}), limit, seed)
    remarks: list[Remark] = []
    unreadable = listing.scan(progress, lambda decoded: remarks.extend(getattr(decoded, "remarks", ())))
    beside = [name for name in MODALITIES if name not in listing.modalities and folders_in(root / name)]
    problems = [first] if first and (not listing.problems or beside) else []
    return Inspection(
        root,
        chosen,
        reasons.get(chosen, "as told"),
        {name: reason for name, reason in reasons.items() if name != chosen},
        used,
        listing,
        (*problems, *listing.problems, *unreadable.values()),
        tuple(row for row in range(len(listing)) if row not in unreadable),
        tuple(beside) if any(folders_in(root / name) for name in listing.modalities) else (),
        tuple(remarks),
        tuple(_unlisted(listing)) if limit is None and not used.get("classes") else (),
    )


def _unlisted(listing: Listing) -> Iterator[str]:
    for modality, source in listing.sources.items():
        if listing.listed is None or not isinstance(source, Files):
            continue
        named = set(source.files)
        prefixes = sorted({file[: file.rfind("/") + 1] for file in named})
        beside = [
            prefix + name
            for prefix in prefixes
            for name in files_in(source.root / prefix, MODALITIES[modality].suffixes)
            if prefix + name not in named and prefix + name != listing.listed
        ]
        if beside:
            yield (
                f"{len(beside)} {modality} files beside those that {listing.listed} lists are in no sample, "
                f"the first {beside[0]}"
            )


def _loaded(
    root: Path, layout: str, modality: str | None, options: dict[str, Any], limit: int | None, seed: int
) -> tuple[Listing, str, dict[str, Any]]:
    """The data set, what was wrong with it at first sight, and the options that load it."""
    load: Callable[..., Listing] = DATASETS[layout].read
    takes = DATASETS[layout].options
    if modality is not None and "modality" in takes:
        options["modality"] = modality
    cut = {"limit": limit, "seed": seed} if limit is not None else {}
    try:
        return load(root, **options, **cut), "", options
    except InputError as error:
        first = error
    if "modality" in takes and "modality" not in options:
        # bare class folders and lists do not say what their files are; modality folders do, and then cannot be paired
        paired = layout == "folder" and sum(bool(folders_in(root / name)) for name in MODALITIES) > 1
        for kind in kinds_in(root):
            try:
                listing = load(root, **{**options, "modality": kind}, **cut)
                return listing, str(first) if paired else "", {**options, "modality": kind}
            except InputError as error:
                first = first if paired else error
    try:  # members that a list names may be missing: they are left out and told
        listing = load(root, **options, **cut, skip_unreadable=True)
    except InputError:
        raise first from None
    return listing, str(first), options


def kinds_in(root: Path) -> list[str]:
    """The modalities that files below a folder may be of, by their suffixes, the likeliest first."""
    counted: Counter[str] = Counter()
    places = [root] if root.is_dir() else [root.parent]
    for _, inside, files in os.walk(places[0]):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        counted.update(os.path.splitext(name)[1].lower() for name in files if not name.startswith("."))
        if counted.total() > LOOKED_AT:
            break
    able = {kind: sum(counted[suffix] for suffix in MODALITIES[kind].suffixes) for kind in ORDER}
    return sorted((kind for kind, count in able.items() if count), key=lambda kind: (-able[kind], ORDER.index(kind)))


def some_of(inspection: Inspection, classes: int = 12, each: int = 4) -> dict[str, Sequence[int]]:
    """Rows to look at: up to `each` readable samples of up to `classes` classes, evenly spread over both."""
    listing, rows = inspection.listing, inspection.readable
    by_label: dict[int, list[int]] = {}
    for row in rows:
        by_label.setdefault(listing.labels[row], []).append(row)
    held = sorted(by_label)
    return {listing.classes[label]: _spread(by_label[label], each) for label in _spread(held, classes)}


def _spread(items: Sequence[int], most: int) -> list[int]:
    return [items[number * len(items) // min(most, len(items))] for number in range(min(most, len(items)))]
