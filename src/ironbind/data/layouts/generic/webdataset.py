"""Sharded tar files as webdataset writes them: the members of a sample share a name, `000017.jpg`, `000017.cls`,
`000017.txt`, and lie side by side.

Also as CLIP_benchmark publishes its sets: `<split>/0.tar`, `classnames.txt`, `zeroshot_classification_templates.txt`.
Nothing is unpacked: members are read where they lie, so shards must be uncompressed.
"""

import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.class_folders import UNREAD
from ironbind.data.list_by_ranks import listed_by_ranks
from ironbind.data.list_files import read_lines, root_of, templates_of, text_of
from ironbind.data.listing import UNLABELLED, Listing
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
    of_label, _, key = label.partition(":")
    listed_shards = listed_by_ranks(shards, lambda shard: list(_samples(root, shard, {of_label, *CAPTIONS})))
    samples = [sample for of_shard in listed_shards for sample in of_shard]
    if not samples:
        raise InputError(f"{root}: its {len(shards)} shards hold no sample; expected {EXPECTED}")
    kinds = list(dict.fromkeys(kind for sample in samples for kind in sample.members))
    chosen = modality or next(
        (name for name in MODALITIES if name != "text" and any(_fits(kind, name) for kind in kinds)), None
    )
    members = [_member(sample, chosen) for sample in samples] if chosen else []
    kept = [row for row, member in enumerate(members) if member is not None]
    if chosen is None or not kept:
        wanted = chosen or "any modality"
        raise InputError(
            f"{shards[0]}: holds members of the kinds {', '.join(kinds[:8])}, none of {wanted}; expected {EXPECTED}"
        )
    lacking = len(samples) - len(kept)
    unread = Counter(
        f".{kind.rpartition('.')[2]}"
        for sample, member in zip(samples, members, strict=True)
        for kind in sample.members
        if member is None and f".{kind.rpartition('.')[2]}" in UNREAD[chosen]
    )
    samples = [samples[row] for row in kept]
    names, labels = _labels(root, samples, of_label, key)
    captions = [
        tuple(sample.told[kind].strip() for kind in CAPTIONS if sample.told.get(kind, "").strip()) for sample in samples
    ]
    listing = Listing(
        root.resolve().name,
        names,
        _ids(root, samples),
        labels,
        {chosen: TarMembers(root, [member for member in members if member is not None], MODALITIES[chosen].read)},
        captions if all(captions) else None,
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


def _fits(kind: str, modality: str) -> bool:
    return f".{kind.rpartition('.')[2]}" in MODALITIES[modality].suffixes


def _member(sample: Sample, modality: str) -> Member | None:
    return next((member for kind, member in sample.members.items() if _fits(kind, modality)), None)


def _ids(root: Path, samples: Sequence[Sample]) -> list[str]:
    """The samples' own names where those are different, else with their shard in front."""
    keys = [sample.key for sample in samples]
    if len(set(keys)) == len(keys):
        return keys
    return [f"{next(iter(sample.members.values()))[0].removesuffix('.tar')}/{sample.key}" for sample in samples]


def _labels(root: Path, samples: Sequence[Sample], kind: str, key: str) -> tuple[tuple[str, ...], list[int]]:
    """Class names and the label of each sample; UNLABELLED where no sample has one."""
    written = [_label(root, sample, kind, key) for sample in samples]
    if all(label is None for label in written):
        return UNLABELLED, [0] * len(samples)
    absent = next((sample for sample, label in zip(samples, written, strict=True) if label is None), None)
    if absent is not None:
        raise InputError(
            f"{_where(root, absent)}: has no label ({kind}{':' + key if key else ''}); "
            "expected one for every sample or for none"
        )
    told = [str(label).strip() for label in written]
    listed = next((root / name for name in NAMES if (root / name).is_file()), None)
    if not all(label.isdigit() for label in told):
        names = sorted(set(told))
        number = {name: i for i, name in enumerate(names)}
        return tuple(name.replace("_", " ") for name in names), [number[label] for label in told]
    if listed is None:
        raise InputError(
            f"{root}: its labels are numbers without names; expected {' or '.join(NAMES)}, one class a line"
        )
    names = read_lines(listed, "class names, one a line")
    wrong = next((sample for sample, label in zip(samples, told, strict=True) if int(label) >= len(names)), None)
    if wrong is not None:
        raise InputError(
            f"{_where(root, wrong)}: has the label {told[samples.index(wrong)]}; "
            f"expected 0 to {len(names) - 1}, as {listed.name} lists"
        )
    return tuple(names), [int(label) for label in told]


def _label(root: Path, sample: Sample, kind: str, key: str) -> Any:
    if kind not in sample.told:
        return None
    if kind != "json":
        return sample.told[kind]
    try:
        told = json.loads(sample.told[kind])
    except ValueError as error:
        raise InputError(
            f"{_where(root, sample)}: its json cannot be read ({error}); expected an object with {key!r}"
        ) from error
    return told.get(key) if isinstance(told, dict) else None


def _where(root: Path, sample: Sample) -> str:
    return f"{root / next(iter(sample.members.values()))[0]}:{sample.key}"


def _templates(root: Path) -> tuple[str, ...] | None:
    if not (root / TEMPLATES).is_file():
        return templates_of(root)
    lines = [line.strip().replace("{c}", "{}") for line in text_of(root / TEMPLATES, "prompts with {c}").splitlines()]
    return tuple(line for line in lines if line.count("{}") == 1) or None


LAYOUT = Layout(load, recognise)
