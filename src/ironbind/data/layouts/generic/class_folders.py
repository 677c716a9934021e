"""Which files a folder of class folders holds: found, paired over modalities, named. Opens no sample."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ironbind.data.layouts.generic.manifest import FILE, Manifest, read_manifest
from ironbind.modalities import MODALITIES
from ironbind.types import InputError


class Tree(NamedTuple):
    """Samples by number: `ids`, `labels` (into `classes`) and, for each modality, `files` relative to `root`."""

    root: Path
    name: str
    classes: tuple[str, ...]
    ids: list[str]
    labels: list[int]
    files: dict[str, list[str]]
    templates: tuple[str, ...] | None
    notes: tuple[str, ...]
    missing: tuple[str, ...]


class Found(NamedTuple):
    """One modality's files: `files[class folder][stem]` relative to the root; `ignored` counts the others by suffix."""

    files: dict[str, dict[str, str]]
    ignored: Counter[str]


def find_tree(
    path: Path,
    wanted: tuple[str, ...] | None,
    split: str | None,
    called: Mapping[str, str] | None = None,
) -> Tree:
    """The samples of `path`, through its manifest where an export left one. Raises InputError.

    Samples of an export whose files are gone are dropped and told in `missing`.
    `called`: what the folder of a modality is called where it is not called like it ({"thermal": "infrared"}).
    """
    if not path.exists():
        raise InputError(f"{path}: no such folder; expected class folders, DIR/<class>/<file>")
    if not path.is_dir():
        raise InputError(f"{path}: is a file, not a folder; expected class folders, DIR/<class>/<file>")
    if split is not None and (path / split).is_dir():
        path, split = path / split, None
    # one modality's folder of an export is a part of that export: its parent knows the ids
    inside = wanted is not None and len(wanted) == 1 and path.name == wanted[0] and (path.parent / FILE).is_file()
    root = path.parent if inside else path
    manifest = read_manifest(root)
    if manifest is not None:
        if not manifest.complete:
            raise InputError(
                f"{root}: is an export that was interrupted; expected a whole one: run the export again, it resumes"
            )
        return _of_manifest(root, manifest, wanted)
    return _of_folders(root, wanted, split, called or {})


def _of_folders(root: Path, wanted: tuple[str, ...] | None, split: str | None, called: Mapping[str, str]) -> Tree:
    place = {name: root / called.get(name, name) for name in MODALITIES}
    if wanted is None:
        wanted = tuple(name for name in MODALITIES if _holds_folders(place[name]))
        if not wanted:
            raise InputError(
                f"{root}: holds no modality folders ({', '.join(MODALITIES)}); expected them, or the name of its class folders' one modality"
            )
    if len(wanted) > 1:
        absent = next((name for name in wanted if not _holds_folders(place[name])), None)
        if absent:
            raise InputError(
                f"{root}: has no folder {place[absent].name}/ with class folders; expected DIR/<modality>/<class>/<file> for several modalities"
            )
    found = {name: _find(root, place[name] if _holds_folders(place[name]) else root, name, split) for name in wanted}
    first = found[wanted[0]].files
    # sorted by class, then by stem, then only what every modality holds
    keys = [
        (folder, stem)
        for folder in sorted(first)
        for stem in sorted(first[folder])
        if all(stem in one.files.get(folder, {}) for one in found.values())
    ]
    if not keys:
        raise InputError(
            f"{root}: no file stem occurs in all of {', '.join(wanted)}; expected DIR/<modality>/<class>/<stem><suffix>"
        )
    folders = sorted({folder for folder, _ in keys})
    classes = tuple(folder.replace("_", " ") for folder in folders)
    twice = next((name for name, count in Counter(classes).items() if count > 1), None)
    if twice:
        raise InputError(
            f"{root}: has two folders for the class {twice!r}; expected one each (underscores are read as spaces)"
        )
    empty = sorted({folder for one in found.values() for folder in one.files} - set(folders))
    label = {folder: number for number, folder in enumerate(folders)}
    notes = [f"{len(empty)} folders without samples are left out as classes: {_some(empty)}"] if empty else []
    for name, one in found.items():
        alone = sum(map(len, one.files.values())) - len(keys)
        notes += [f"{alone} {name} files are left out, as other modalities have no file of that stem"] if alone else []
    notes += _ignored_note(found)
    return Tree(
        root, root.resolve().name, classes, [f"{folder}/{stem}" for folder, stem in keys], [label[folder] for folder, _ in keys],
        {name: [one.files[folder][stem] for folder, stem in keys] for name, one in found.items()}, None, tuple(notes), (),
    )  # fmt: skip


def _of_manifest(root: Path, manifest: Manifest, wanted: tuple[str, ...] | None) -> Tree:
    wanted = wanted or manifest.modalities
    absent = next((name for name in wanted if name not in manifest.modalities), None)
    if absent:
        raise InputError(f"{root}: was exported without {absent}; expected one of {', '.join(manifest.modalities)}")
    found = {name: _find(root, root / name, name, None) for name in wanted}
    places = [(manifest.folders[label], stem) for label, stem in zip(manifest.labels, manifest.stems, strict=True)]
    gone = {
        row: f"{root / name / folder / stem}.*: is gone; expected the {name} file of sample {manifest.ids[row]!r} that {FILE} lists"
        for row, (folder, stem) in enumerate(places)
        for name in wanted
        if stem not in found[name].files.get(folder, {})
    }
    if gone and len(gone) == len(places):
        raise InputError(f"{next(iter(gone.values()))} (and so is every other sample)")
    rows = [row for row in range(len(places)) if row not in gone]
    notes = []
    for name, one in found.items():
        listed = sum(stem in one.files.get(folder, {}) for folder, stem in places)
        extra = sum(map(len, one.files.values())) - listed
        notes += [f"{extra} {name} files that {FILE} does not list are ignored"] if extra else []
    notes += _ignored_note(found)
    return Tree(
        root, manifest.name, manifest.classes, [manifest.ids[row] for row in rows], [manifest.labels[row] for row in rows],
        {name: [one.files[places[row][0]][places[row][1]] for row in rows] for name, one in found.items()},
        manifest.templates, tuple(notes), tuple(gone.values()),
    )  # fmt: skip


def _find(root: Path, base: Path, modality: str, split: str | None) -> Found:
    """The files of a modality in `base/<class>/` (or `base/<class>/<split>/`); raises InputError, naming what was
    found, where there are none.
    """
    suffixes = MODALITIES[modality].suffixes
    files: dict[str, dict[str, str]] = {}
    ignored: Counter[str] = Counter()
    deeper: Counter[str] = Counter()
    for folder in sorted(_folders(base)):
        files[folder] = {}
        inside = base / folder / split if split else base / folder
        for entry in sorted(os.scandir(inside), key=lambda entry: entry.name) if inside.is_dir() else ():
            stem, suffix = os.path.splitext(entry.name)
            if entry.is_dir():
                deeper[entry.name] += 1
            elif entry.name.startswith("."):
                ignored["hidden"] += 1
            elif suffix.lower() not in suffixes:
                ignored[suffix.lower() or "no suffix"] += 1
            else:
                # a second file of the same stem keeps its suffix in its name, so that ids stay unique
                files[folder][stem if stem not in files[folder] else entry.name] = (
                    (inside / entry.name).relative_to(root).as_posix()
                )
    if not any(files.values()):
        expected = f"expected DIR/<class>/<file> with {', '.join(suffixes)}"
        if not any(base.iterdir()):
            raise InputError(f"{base}: is an empty folder; {expected}")
        if not files:
            raise InputError(f"{base}: holds files but no class folders; {expected}")
        if deeper and not ignored:
            nested = f"its folders ({_some(sorted(files))}) hold folders ({_some(sorted(deeper))})"
            raise InputError(
                f"{base}: has no {modality} files, {nested}; {expected}: point at one of them, or name a split"
            )
        seen = _some([f"{suffix} ({count})" for suffix, count in _commonest(ignored)]) or "no file"
        raise InputError(f"{base}: no {modality} file in its {len(files)} class folders, found {seen}; {expected}")
    return Found(files, ignored)


def _folders(path: Path) -> list[str]:
    return [entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith(".")]


def _holds_folders(path: Path) -> bool:
    return path.is_dir() and bool(_folders(path))


def _ignored_note(found: dict[str, Found]) -> list[str]:
    ignored = sum((one.ignored for one in found.values()), Counter[str]())
    counts = _some([f"{count} {suffix}" for suffix, count in _commonest(ignored)])
    return [f"{ignored.total()} files are ignored: {counts}"] if ignored else []


def _commonest(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
