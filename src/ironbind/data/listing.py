"""Listing: a Dataset that is a list of samples, whatever their members lie in; and what every loader lets its user
choose.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from ironbind.data.folder_entries import printable
from ironbind.data.list_by_ranks import listed_by_ranks
from ironbind.data.list_files import names_in
from ironbind.data.names.class_names import plain
from ironbind.data.read_options import changed, sources_read_with
from ironbind.data.storage.files import Source
from ironbind.data.storage.packed import distinct, taken
from ironbind.types import Counterparts, Decoded, InputError

UNLABELLED = ("unlabelled",)
"""The one class of data that has captions but no classes: for retrieval only."""
BLOCK = 1024  # members that a rank reads for the fingerprint at a time


@dataclass(frozen=True, eq=False, repr=False)
class Listing:
    """Sample i is row i of every source: `sources[modality]`. Nothing is decoded before it is asked for.

    `all_captions[i]`: every caption of sample i, at least one (None: the data has no captions). `all_labels[i]`: every
    class of sample i where there may be several (None: one each, `labels[i]`); `labels[i]` is the first of them.
    `notes`: what a reader of the results should know about how the data was taken. `problems`: one line for each sample
    that was left out as it is missing or damaged. `listed`: the file that lists the samples, whose members may be
    missing (None: the files that are there are the samples). `missing`: one line for each listed sample that the loader
    could not make a sample of; `choose` refuses them or leaves them out. `read_options`: those of the readers that are
    not at their defaults. `counterparts`: what benchmarks match the samples with in retrieval (None: the captions).
    """

    name: str
    classes: tuple[str, ...]
    ids: Sequence[str]
    labels: Sequence[int]
    sources: Mapping[str, Source]
    all_captions: Sequence[tuple[str, ...]] | None = None
    all_labels: Sequence[tuple[int, ...]] | None = None
    templates: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    listed: str | None = None
    missing: tuple[str, ...] = ()
    read_options: Mapping[str, Any] = field(default_factory=dict)
    counterparts: Counterparts | None = None

    def __post_init__(self) -> None:
        self._make_printable()
        columns = [
            self.labels,
            *self.sources.values(),
            *(column for column in (self.all_captions, self.all_labels) if column is not None),
        ]
        if any(len(column) != len(self.ids) for column in columns):
            counts = ", ".join(str(len(column)) for column in columns)
            raise InputError(f"{self.name}: {len(self.ids)} ids, but {counts} labels, members, ...")
        for row, label in enumerate(self.labels):
            if not 0 <= label < len(self.classes):
                raise InputError(
                    f"{self.name}: sample {self.ids[row]!r} has the label {label}; "
                    f"expected 0 to {len(self.classes) - 1}"
                )
        if not distinct(self.ids):
            seen: set[str] = set()
            twice = next(key for key in self.ids if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise InputError(f"{self.name}: has two samples called {twice!r}; expected different ids")

    def _make_printable(self) -> None:
        """Name, ids, classes and captions go to tables and reports, which take no lone surrogates; files keep their
        names.
        """
        classes = tuple(printable(name) for name in self.classes)
        rewritten = [new for name in self.ids if (new := printable(name)) != name]
        if rewritten:
            object.__setattr__(self, "ids", [printable(name) for name in self.ids])
            note = f"{len(rewritten)} file names are not in this system's encoding and are written like {rewritten[0]}"
            object.__setattr__(self, "notes", (*self.notes, note))
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "name", printable(self.name))
        if self.all_captions is not None:
            captions = [tuple(printable(caption) for caption in captions) for captions in self.all_captions]
            object.__setattr__(self, "all_captions", captions)

    def __repr__(self) -> str:
        return (
            f"Listing({self.name!r}, {len(self)} samples of {', '.join(self.modalities)}, {len(self.classes)} classes)"
        )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those loaded."""
        return tuple(self.sources)

    @cached_property
    def captions(self) -> Sequence[str] | None:
        """The first caption of each sample."""
        return None if self.all_captions is None else [captions[0] for captions in self.all_captions]

    def decode(self, modality: str, indices: Sequence[int]) -> list[Decoded]:
        """The samples at `indices`. Raises InputError naming the first member that cannot be read."""
        if modality not in self.sources:
            raise InputError(
                f"modality {modality!r} was not loaded from {self.name}; expected one of {', '.join(self.sources)}"
            )
        source = self.sources[modality]
        return [source.decode(index) for index in indices]

    def scan(
        self,
        progress: Callable[[int, int], None] | None = None,
        look: Callable[[Decoded], None] | None = None,
    ) -> dict[int, str]:
        """Decodes every member once: the samples that cannot be read, by number, each with its reader's line. `look`
        is called with each that can.
        """
        unreadable: dict[int, str] = {}
        for index in range(len(self)):
            for source in self.sources.values():
                try:
                    decoded = source.decode(index)
                except InputError as error:
                    unreadable.setdefault(index, str(error))
                    continue
                if look:
                    look(decoded)
            if progress:
                progress(index + 1, len(self))
        return unreadable

    def keep(self, rows: Sequence[int]) -> "Listing":
        """The same data set with these samples only, in that order; all classes stay."""
        return replace(
            self,
            ids=taken(self.ids, rows),
            labels=[self.labels[row] for row in rows],
            sources={modality: source.keep(rows) for modality, source in self.sources.items()},
            all_captions=None if self.all_captions is None else taken(self.all_captions, rows),
            all_labels=None if self.all_labels is None else taken(self.all_labels, rows),
            counterparts=_kept(self.counterparts, rows),
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, labels, classes, captions, prompts and every member's place, size and content.

        Members up to 64 MiB count with all their bytes, longer ones with pieces of them and their date (see
        `digest_of`). Several ranks read a share of the members each, and all must ask.
        """
        digest = hashlib.sha256()
        for part in (self.ids, self.labels, self.classes, self.all_captions, self.all_labels, self.templates):
            for piece in _written(part):
                digest.update(piece.encode())
        if self.read_options:
            digest.update(repr(sorted(self.read_options.items())).encode())
        if self.counterparts is not None:
            other = self.counterparts
            told = (other.ids, other.texts or (), other.relevant)
            digest.update(repr([other.samples_ask, *(list(part) for part in told)]).encode())
            digest.update(other.samples.fingerprint.encode() if other.samples is not None else b"")
        for modality, source in self.sources.items():
            digest.update(modality.encode())
            blocks = [range(first, min(first + BLOCK, len(source))) for first in range(0, len(source), BLOCK)]
            for lines in listed_by_ranks(blocks, partial(_places_and_digests, source)):
                digest.update(lines)
        return digest.hexdigest()


def _written(column: Sequence | None) -> Iterator[str]:
    """`repr` of the column as a list, in pieces: that of a million ids is not made at once."""
    if column is None:
        yield "None"
        return
    yield "["
    for row, value in enumerate(column):
        yield f", {value!r}" if row else repr(value)
    yield "]"


def _kept(counterparts: Counterparts | None, rows: Sequence[int]) -> Counterparts | None:
    """Those of fewer samples; the counterparts themselves all stay."""
    if counterparts is None:
        return None
    return replace(counterparts, relevant=[counterparts.relevant[row] for row in rows])


def _places_and_digests(source: Source, rows: range) -> bytes:
    return "".join(f"{printable(source.place(row))}\0{source.digest(row)}\n" for row in rows).encode()


def choose(
    listing: Listing,
    *,
    class_list: str | Path | None = None,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_unreadable: bool = False,
    orientation: str = "upright",
    thermal_range: Sequence[float] | None = None,
    thermal_percentiles: Sequence[float] | None = None,
    often_missing: bool = False,
) -> Listing:
    """What every layout lets its user choose, in this order.

    `class_list`: a file of all classes that a sample could be of, one a line, in that order: those without a sample
    here stay rivals, as of a hundred classes out of ImageNet's thousand. `classes`: only these, in this order. Samples
    that a list names and that are missing are refused, or left out and told in `problems` with `skip_unreadable`, or
    always where that is usual (`often_missing`: clips that were taken off the net). `limit`: that many samples, the
    share of each class kept, chosen by `seed`; a smaller limit chooses among those of a larger one. `skip_unreadable`:
    decode every member now and leave out those that cannot be read. `orientation`: pictures and clips "upright", or as
    stored ("ignore"). `thermal_range`: the two numbers of thermal pictures that become 0 and 1;
    `thermal_percentiles`: the same as percentiles of each picture. Raises
    InputError, also when nothing is left.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit} is too small; expected at least 1")
    options = {
        "orientation": orientation,
        "thermal_range": thermal_range,
        "thermal_percentiles": thermal_percentiles,
    }
    listing = _read_with(listing, options)
    if class_list is not None:
        if classes is not None:
            raise InputError(
                f"class_list {class_list} and classes {', '.join(classes)} exclude each other: the one widens, the "
                "other narrows"
            )
        listing = among(listing, names_in(Path(class_list)))
    if classes is not None:
        listing = restrict(listing, classes)
    listing = _without_missing(listing, skip_unreadable or often_missing)
    if limit is not None and limit < len(listing):
        listing = listing.keep(stratified(listing.labels, limit, seed))
    if skip_unreadable:
        listing = _readable(listing)
    if listing.classes == UNLABELLED:
        by = "with captions only" if listing.counterparts is None else "by the judgements that come with it"
        return replace(listing, notes=(*listing.notes, f"no classes: for retrieval {by}"))
    if len(listing.classes) == 1:
        return replace(
            listing,
            notes=(*listing.notes, f"one class only ({listing.classes[0]}): every prediction is right by construction"),
        )
    return listing


def _read_with(listing: Listing, options: Mapping[str, Any]) -> Listing:
    """The listing whose members are read with these options, which its notes then name."""
    sources = sources_read_with(listing.name, listing.sources, options)
    given = changed(options)
    notes = tuple(f"read with {name}={value}" for name, value in given.items())
    return replace(listing, sources=sources, read_options=given, notes=(*listing.notes, *notes)) if given else listing


def stratified(labels: Sequence[int], limit: int, seed: int) -> list[int]:
    """`limit` sample numbers, ascending: every class keeps its share up to one sample; a smaller limit gives a subset.

    Systematic sampling: the samples of each class, shuffled, are spread evenly over [0, 1), and the smallest positions
    are taken. Raises InputError for a negative seed.
    """
    if seed < 0:
        raise InputError(f"seed {seed} is too small; expected at least 0")
    label = np.asarray(labels)
    position = np.empty(len(label))
    for number in np.unique(label):
        rng = np.random.default_rng([seed, int(number)])
        rows = rng.permutation(np.flatnonzero(label == number))
        position[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return sorted(np.argsort(position, kind="stable")[:limit].tolist())


def restrict(listing: Listing, classes: Sequence[str]) -> Listing:
    """Only the samples of these classes, which are numbered in the order given. Raises InputError for one that is not
    there.
    """
    chosen = tuple(name if name in listing.classes else name.replace("_", " ") for name in classes)
    for name in chosen:
        if name not in listing.classes:
            shown = ", ".join(listing.classes[:10]) + (", ..." if len(listing.classes) > 10 else "")
            raise InputError(f"class {name!r} does not exist in {listing.name}; expected some of {shown}")
    if len(set(chosen)) < len(chosen) or not chosen:
        raise InputError(f"classes {', '.join(chosen) or '()'}: expected at least one, each once")
    new = {listing.classes.index(name): i for i, name in enumerate(chosen)}
    of = listing.all_labels if listing.all_labels is not None else [(label,) for label in listing.labels]
    rows = [row for row, labels in enumerate(of) if any(label in new for label in labels)]
    if not rows:
        raise InputError(f"{listing.name}: holds no sample of {', '.join(chosen)}; expected at least one")
    kept = listing.keep(rows)
    left = [tuple(new[label] for label in of[row] if label in new) for row in rows]
    return replace(
        kept,
        classes=chosen,
        labels=[labels[0] for labels in left],
        all_labels=None if kept.all_labels is None else left,
    )


def among(listing: Listing, names: Sequence[str]) -> Listing:
    """The same samples among more classes, numbered in the order of `names`, which are compared as class names are
    (case, blanks and punctuation do not count). Raises InputError for a class of the data that is not among them.
    """
    number_of = {plain(name): number for number, name in enumerate(names)}
    if len(number_of) < len(names):
        raise InputError(
            f"{listing.name}: the class list of {len(names)} names has two of one name; expected different"
        )
    absent = [name for name in listing.classes if plain(name) not in number_of]
    if absent:
        raise InputError(
            f"{listing.name}: class {absent[0]!r} is not in the class list of {len(names)} names; expected all "
            f"{len(listing.classes)} classes of the data"
        )
    new = [number_of[plain(name)] for name in listing.classes]
    all_labels = listing.all_labels
    note = f"{len(listing.classes)} of the {len(names)} classes of the list have samples; all of them are rivals"
    return replace(
        listing,
        classes=tuple(names),
        labels=[new[label] for label in listing.labels],
        all_labels=None if all_labels is None else [tuple(new[label] for label in labels) for labels in all_labels],
        notes=(*listing.notes, note),
    )


def _without_missing(listing: Listing, lenient: bool) -> Listing:
    if listing.missing and not lenient:
        raise InputError(
            f"{listing.missing[0]} ({len(listing.missing)} such of {listing.name}; skip_unreadable leaves them out)"
        )
    listing = replace(listing, missing=(), problems=(*listing.missing, *listing.problems))
    listed = listing.listed
    gone: dict[int, str] = {}
    for source in listing.sources.values() if listed else ():
        for row in source.absent():
            gone.setdefault(
                row, f"{' '.join(source.place(row).splitlines())}: is missing; expected what {listed} lists"
            )
    if gone and (not lenient or len(gone) == len(listing)):
        first = next(iter(gone.values()))
        raise InputError(
            f"{first} ({len(gone)} of {len(listing)} samples of {listing.name} are missing; "
            "skip_unreadable leaves them out)"
        )
    if not gone:
        return listing
    kept = listing.keep([row for row in range(len(listing)) if row not in gone])
    note = f"n = {len(kept)} of the {len(listing)} samples that {listed} lists: the others are missing"
    return replace(kept, notes=(*kept.notes, note), problems=(*kept.problems, *(gone[row] for row in sorted(gone))))


def _readable(listing: Listing) -> Listing:
    unreadable = listing.scan()
    if len(unreadable) == len(listing):
        raise InputError(
            f"{listing.name}: none of its {len(listing)} samples can be read; "
            f"the first: {next(iter(unreadable.values()))}"
        )
    kept = listing.keep([row for row in range(len(listing)) if row not in unreadable])
    return replace(kept, problems=(*kept.problems, *unreadable.values()))
