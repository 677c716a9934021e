"""Sharded tar files as webdataset writes them: the members of a sample share a name, `000017.jpg`, `000017.cls`,
`000017.txt`, and lie side by side.

Also as CLIP_benchmark publishes its sets: `<split>/0.tar`, `classnames.txt`, `zeroshot_classification_templates.txt`.
Nothing is unpacked: members are read where they lie, so shards must be uncompressed.
"""

import json
import tarfile
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.class_folders import UNREAD
from ironbind.data.list_by_ranks import listed_by_ranks
from ironbind.data.list_files import read_lines, root_of, templates_of, text_of
from ironbind.data.listing import UNLABELLED, Listing
from ironbind.data.storage.packed import PackedMembers, PackedStrings, distinct
from ironbind.data.storage.tar import TarMembers
from ironbind.modalities import MODALITIES
from ironbind.modalities.reading import reading
from ironbind.types import InputError

NAMES = ("classnames.txt", "classes.txt")
TEMPLATES = "zeroshot_classification_templates.txt"  # with {c} where ours have {}
CAPTIONS = ("txt", "caption")
MOST = 2**20  # bytes of a label or a caption
EXPECTED = "uncompressed *.tar files whose members are called <sample>.<kind>"

Member = tuple[str, str, int, int]  # tar relative to the root, name, offset, size


class Sample(NamedTuple):
    """One sample: its members by kind ("jpg"), and what the small ones among them say."""

    key: str
    members: dict[str, Member]
    told: dict[str, str]


class Columns(NamedTuple):
    """What is kept of a shard's samples that have a member of one modality.

    `labels`: as told, None where no sample has one. `captions`: of each, None where one has none. `absent`: the first
    sample without a label. `unread`: samples left out, by a suffix that is known and not read.
    """

    keys: PackedStrings
    members: PackedMembers
    labels: PackedStrings | None
    captions: list[tuple[str, ...]] | None
    absent: str | None
    unread: Counter[str]


class Shard(NamedTuple):
    """What a rank keeps of a shard: its name, kinds of members in order, number of samples, suffixes of members, and
    columns by modality.
    """

    tar: str
    kinds: tuple[str, ...]
    samples: int
    suffixes: Counter[str]
    of: dict[str, Columns]


def load(
    path: str | Path | None,
    *,
    modality: str | None = None,
    split: str | None = None,
    label: str = "cls",
) -> Listing:
    """The samples of all shards in `path`, or in its folder `split`, in the order of shards.

    `modality`: what to read (None: the first for which samples have a file). `label`: the kind of member that holds the
    label, a class number or name ("cls"), or a key of a `json` member ("json:species"). Numbers are named by
    classnames.txt. `txt` members are captions. Raises InputError.
    """
    root = root_of(path, "webdataset", EXPECTED)
    shards, listed = _shards(root, split)
    if modality is not None and modality not in MODALITIES:
        raise InputError(f"modality {modality!r} is not known; expected one of {', '.join(MODALITIES)}")
    listed_shards = list(listed_by_ranks(shards, partial(_listed, root, modality, label)))
    count = sum(shard.samples for shard in listed_shards)
    if not count:
        raise InputError(f"{root}: its {len(shards)} shards hold no sample; expected {EXPECTED}")
    chosen = modality or next((name for name in MODALITIES if any(name in shard.of for shard in listed_shards)), None)
    found = {shard.tar: shard.of[chosen] for shard in listed_shards if chosen in shard.of}
    if chosen is None or not found:
        kinds = list(dict.fromkeys(kind for shard in listed_shards for kind in shard.kinds))
        raise InputError(
            f"{shards[0]}: holds members of the kinds {', '.join(kinds[:8])}, none of {chosen or 'any modality'}; "
            f"expected {EXPECTED}"
        )
    unread = Counter[str]()
    for shard in listed_shards:
        without = {suffix: number for suffix, number in shard.suffixes.items() if suffix in UNREAD[chosen]}
        unread.update(shard.of[chosen].unread if chosen in shard.of else without)
    names, labels = _labels(root, found, label)
    captions = [columns.captions for columns in found.values() if columns.captions is not None]
    members = PackedMembers.joined([columns.members for columns in found.values()])
    lacking = count - len(members)
    listing = Listing(
        root.resolve().name,
        names,
        _ids(found),
        labels,
        {chosen: TarMembers(root, members, MODALITIES[chosen].read)},
        list(chain.from_iterable(captions)) if len(captions) == len(found) else None,
        templates=_templates(root),
        notes=(
            *([f"split {split}"] if split else []),
            f"{len(shards)} shards",
            *([f"{lacking} samples without a {chosen} file are left out"] if lacking else []),
        ),
        problems=(
            (
                f"{root}: {unread.total()} samples are left out, of formats that are not read: "
                f"{', '.join(f'{count} {suffix}' for suffix, count in sorted(unread.items()))}; "
                f"expected {', '.join(MODALITIES[chosen].suffixes)}",
            )
            if unread
            else ()
        ),
    )
    return replace(listing, listed=listed)


def recognise(path: Path) -> str | None:
    """Shards in the folder, or in folders called like splits."""
    for split in ("", "test", "val", "validation", "train"):
        shards = sorted((path / split).glob("*.tar")) if (path / split).is_dir() else []
        if shards:
            return f"it holds {shards[0].relative_to(path).as_posix()}" + (
                f" and {len(shards) - 1} more" if len(shards) > 1 else ""
            )
    return None


def _shards(root: Path, split: str | None) -> tuple[list[Path], str]:
    folder = root / split if split else root
    shards = sorted(folder.glob("*.tar"), key=lambda shard: (len(shard.name), shard.name)) if folder.is_dir() else []
    if not shards:
        splits = sorted(shard.parent.name for shard in root.glob("*/*.tar"))
        raise InputError(
            f"{folder}: holds no .tar; expected {EXPECTED}"
            + (f", in the split {', '.join(dict.fromkeys(splits))}" if splits else "")
        )
    return shards, folder.name


def _samples(root: Path, shard: Path, small: set[str]) -> Iterator[Sample]:
    """Samples of a shard; members of one name need not be neighbours. Members of the kinds in `small` are read."""
    by_key: dict[str, Sample] = {}
    tar_name = shard.relative_to(root).as_posix()
    with reading(shard, "an uncompressed tar file"), tarfile.open(shard, "r:") as tar:
        for member in tar:
            folder, _, name = member.name.rpartition("/")
            stem, dot, kind = name.partition(".")
            if not member.isfile() or not dot or not stem:
                continue
            kind, key = kind.lower(), f"{folder}/{stem}" if folder else stem
            sample = by_key.setdefault(key, Sample(key, {}, {}))
            sample.members[kind] = (tar_name, member.name, member.offset_data, member.size)
            if kind in small:
                sample.told[kind] = _text(tar, member, shard)
    yield from by_key.values()


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: Path) -> str:
    if member.size > MOST:
        raise InputError(
            f"{shard}:{member.name}: has {member.size:,} bytes; expected a label or a caption of at most {MOST:,}"
        )
    file = tar.extractfile(member)
    content = file.read() if file else b""
    if len(content) < member.size:
        raise InputError(f"{shard}: is cut short within {member.name}; expected a whole tar file")
    return content.decode("utf-8-sig")


def _suffix(kind: str) -> str:
    return f".{kind.rpartition('.')[2]}"


def _fits(kind: str, modality: str) -> bool:
    return _suffix(kind) in MODALITIES[modality].suffixes


def _member(sample: Sample, modality: str) -> Member | None:
    return next((member for kind, member in sample.members.items() if _fits(kind, modality)), None)


def _listed(root: Path, modality: str | None, label: str, shard: Path) -> Shard:
    """A shard in columns: of the modality asked for, or of each that a member could be of."""
    samples = list(_samples(root, shard, {label.partition(":")[0], *CAPTIONS}))
    kinds = tuple(dict.fromkeys(kind for sample in samples for kind in sample.members))
    suffixes = Counter(_suffix(kind) for sample in samples for kind in sample.members)
    wanted = [modality] if modality else [name for name in MODALITIES if name != "text"]
    held = [name for name in wanted if any(_fits(kind, name) for kind in kinds)]
    of = {name: _columns(root, samples, name, label) for name in held}
    return Shard(shard.relative_to(root).as_posix(), kinds, len(samples), suffixes, of)


def _columns(root: Path, samples: Sequence[Sample], modality: str, label: str) -> Columns:
    kept = [(sample, member) for sample in samples if (member := _member(sample, modality)) is not None]
    told = [_label(root, sample, *label.split(":", 1)) for sample, _ in kept]
    texts = [
        tuple(sample.told[kind].strip() for kind in CAPTIONS if sample.told.get(kind, "").strip()) for sample, _ in kept
    ]
    return Columns(
        PackedStrings.of(sample.key for sample, _ in kept),
        PackedMembers.of([member for _, member in kept]),
        None if all(one is None for one in told) else PackedStrings.of(str(one).strip() for one in told),
        texts if all(texts) else None,
        next((sample.key for (sample, _), one in zip(kept, told, strict=True) if one is None), None),
        Counter(
            _suffix(kind)
            for sample in samples
            for kind in sample.members
            if _suffix(kind) in UNREAD[modality] and _member(sample, modality) is None
        ),
    )


def _ids(found: Mapping[str, Columns]) -> PackedStrings:
    """The samples' own names where those are different, else with their shard in front."""
    keys = PackedStrings.joined([columns.keys for columns in found.values()])
    if distinct(keys):
        return keys
    return PackedStrings.of(
        f"{tar.removesuffix('.tar')}/{key}" for tar, columns in found.items() for key in columns.keys
    )


def _labels(root: Path, found: Mapping[str, Columns], label: str) -> tuple[tuple[str, ...], Sequence[int]]:
    """Class names and the label of each sample; UNLABELLED where no sample has one."""
    if all(columns.labels is None for columns in found.values()):
        return UNLABELLED, array("i", bytes(4 * sum(len(columns.keys) for columns in found.values())))
    absent = next((f"{root / tar}:{one.absent}" for tar, one in found.items() if one.absent is not None), None)
    if absent is not None:
        raise InputError(f"{absent}: has no label ({label}); expected one for every sample or for none")
    told = {text for columns in found.values() for text in columns.labels or ()}
    listed = next((root / name for name in NAMES if (root / name).is_file()), None)
    if not all(text.isdigit() for text in told):
        names, number = sorted(told), {name: row for row, name in enumerate(sorted(told))}
        return tuple(name.replace("_", " ") for name in names), _numbered(found, number)
    if listed is None:
        raise InputError(
            f"{root}: its labels are numbers without names; expected {' or '.join(NAMES)}, one class a line"
        )
    names = read_lines(listed, "class names, one a line")
    number = {text: int(text) for text in told}
    for tar, columns in found.items():
        for row, text in enumerate(columns.labels or ()):
            if number[text] >= len(names):
                raise InputError(
                    f"{root / tar}:{columns.keys[row]}: has the label {text}; "
                    f"expected 0 to {len(names) - 1}, as {listed.name} lists"
                )
    return tuple(names), _numbered(found, number)


def _numbered(found: Mapping[str, Columns], number: Mapping[str, int]) -> Sequence[int]:
    return array("i", (number[text] for columns in found.values() for text in columns.labels or ()))


def _label(root: Path, sample: Sample, kind: str, key: str = "") -> Any:
    if kind not in sample.told:
        return None
    if kind != "json":
        return sample.told[kind]
    where = f"{root / next(iter(sample.members.values()))[0]}:{sample.key}"
    try:
        told = json.loads(sample.told[kind])
    except ValueError as error:
        raise InputError(f"{where}: its json cannot be read ({error}); expected an object with {key!r}") from error
    return told.get(key) if isinstance(told, dict) else None


def _templates(root: Path) -> tuple[str, ...] | None:
    if not (root / TEMPLATES).is_file():
        return templates_of(root)
    lines = [line.strip().replace("{c}", "{}") for line in text_of(root / TEMPLATES, "prompts with {c}").splitlines()]
    return tuple(line for line in lines if line.count("{}") == 1) or None


LAYOUT = Layout(load, recognise)
