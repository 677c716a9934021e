"""Which files a folder of class folders holds: found, paired over modalities, named. Opens no sample."""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from ironbind.core.names.imagenet_names import names_of, wnids
from ironbind.data.folder_entries import entries_of, files_below, files_in, folders_in, is_folder
from ironbind.data.layouts.generic.manifest import FILE, Manifest, read_manifest
from ironbind.data.listing import UNLABELLED
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
    problems: tuple[str, ...]
    missing: tuple[str, ...]


class ModalityFiles(NamedTuple):
    """One modality's files: `files[class folder][stem]` relative to the root; `ignored` counts the others by suffix;
    `lost`: one line for each kind of file that looks like a sample and is in none.
    """

    files: dict[str, dict[str, str]]
    ignored: Counter[str]
    lost: list[str]


LISTS = (".txt", ".csv")  # beside class folders, these are lists and prompts, whatever modality has such files
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "evaluation"}
UNREAD = {  # suffixes of files that hold samples of a modality in a format that its reader does not take
    "image": (
        ".heic",
        ".heif",
        ".gif",
        ".avif",
        ".jxl",
        ".jp2",
        ".tif",
        ".tiff",
        ".svg",
        ".psd",
        ".dng",
        ".cr2",
        ".nef",
    ),
    "video": (".gif", ".wmv", ".flv", ".mpg", ".mpeg", ".3gp", ".mts", ".ogv", ".y4m"),
    "audio": (".mp3", ".m4a", ".aac", ".opus", ".wma", ".aif", ".aiff", ".au", ".amr"),
    "point": (".obj", ".stl", ".glb", ".gltf", ".pcd", ".las", ".laz", ".npz", ".pt", ".h5"),
    "thermal": (".bmp", ".webp", ".heic", ".gif", ".rjpg", ".seq", ".csq", ".npy", ".raw"),
    "event": (".npy", ".aedat", ".aedat4", ".dat", ".raw", ".h5", ".hdf5", ".es"),
    "depth": (".jpg", ".jpeg", ".bmp", ".webp", ".exr", ".pfm", ".npz", ".raw", ".mat"),
    "imu": (".npy", ".mat", ".h5"),
    "text": (".md", ".rtf", ".docx", ".pdf"),
}


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
        wanted = tuple(name for name in MODALITIES if folders_in(place[name]))
        if not wanted and not flat_modalities(root):
            raise InputError(
                f"{root}: holds no modality folders ({', '.join(MODALITIES)}); "
                "expected them, or the name of its class folders' one modality"
            )
    flat = flat_modalities(root)
    if flat:
        return _of_flat_modalities(root, wanted or flat, flat)
    if len(wanted) > 1:
        absent = next((name for name in wanted if not folders_in(place[name])), None)
        if absent:
            raise InputError(
                f"{root}: has no folder {place[absent].name}/ with class folders; "
                "expected DIR/<modality>/<class>/<file> for several modalities"
            )
    of_modality = {name: _find(root, place[name] if folders_in(place[name]) else root, name, split) for name in wanted}
    first = of_modality[wanted[0]].files
    # sorted by class, then by stem, then only what every modality holds
    keys = [
        (folder, stem)
        for folder in sorted(first)
        for stem in sorted(first[folder])
        if all(stem in files.files.get(folder, {}) for files in of_modality.values())
    ]
    if not keys:
        raise InputError(
            f"{root}: no file stem occurs in all of {', '.join(wanted)}; expected DIR/<modality>/<class>/<stem><suffix>"
        )
    folders = sorted({folder for folder, _ in keys})
    synsets = set(folders) <= set(wnids())
    classes = names_of(folders) if synsets else tuple(folder.replace("_", " ") for folder in folders)
    twice = next((name for name, count in Counter(classes).items() if count > 1), None)
    if twice:
        raise InputError(
            f"{root}: has two folders for the class {twice!r}; expected one each (underscores are read as spaces)"
        )
    empty = sorted({folder for files in of_modality.values() for folder in files.files} - set(folders))
    label = {folder: number for number, folder in enumerate(folders)}
    notes = [f"{len(empty)} folders without samples are left out as classes: {_some(empty)}"] if empty else []
    notes += ["the folders are called by WordNet's numbers, the classes by ImageNet's names"] if synsets else []
    for name, files in of_modality.items():
        alone = sum(map(len, files.files.values())) - len(keys)
        notes += [f"{alone} {name} files are left out, as other modalities have no file of that stem"] if alone else []
    notes += _ignored_note(of_modality)
    return Tree(
        root, root.resolve().name, classes, [f"{folder}/{stem}" for folder, stem in keys],
        [label[folder] for folder, _ in keys],
        {name: [files.files[folder][stem] for folder, stem in keys] for name, files in of_modality.items()},
        None, tuple(notes),
        tuple(line for files in of_modality.values() for line in files.lost), (),
    )  # fmt: skip


def flat_modalities(root: Path) -> tuple[str, ...]:
    """The modalities of a tree that has a folder for each of them and no class folders, `DIR/<modality>/<file>`; () for
    any other tree. With a folder that is called otherwise, all of them are classes.
    """
    folders = folders_in(root)
    alike = folders and all(
        name in MODALITIES and not folders_in(root / name) and files_in(root / name, MODALITIES[name].suffixes)
        for name in folders
    )
    return tuple(name for name in MODALITIES if name in folders) if alike else ()


def _of_flat_modalities(root: Path, wanted: tuple[str, ...], flat: tuple[str, ...]) -> Tree:
    """Samples without classes, paired by stem; they need captions to be compared with."""
    expected = "expected DIR/<modality>/<class>/<file>, or captions.csv (columns id, caption) for retrieval"
    absent = next((name for name in wanted if name not in flat), None)
    if absent is not None or not (root / "captions.csv").is_file():
        held = f"its folders are modalities ({', '.join(flat)}) that hold files and no class folders"
        raise InputError(f"{root}: {f'has no {absent} files: ' if absent else ''}{held}; {expected}")
    files: dict[str, dict[str, str]] = {}
    for name in wanted:
        files[name] = {}
        for file in files_in(root / name, MODALITIES[name].suffixes):
            stem = os.path.splitext(file)[0]
            files[name][stem if stem not in files[name] else file] = f"{name}/{file}"
    stems = [stem for stem in sorted(files[wanted[0]]) if all(stem in paths for paths in files.values())]
    if not stems:
        raise InputError(f"{root}: no file stem occurs in all of {', '.join(wanted)}; {expected}")
    notes = [f"its folders are modalities ({', '.join(flat)}) without class folders"]
    for name, paths in files.items():
        alone = len(paths) - len(stems)
        notes += [f"{alone} {name} files are left out, as other modalities have no file of that stem"] if alone else []
    return Tree(
        root, root.resolve().name, UNLABELLED, stems, [0] * len(stems),
        {name: [paths[stem] for stem in stems] for name, paths in files.items()}, None, tuple(notes), (), (),
    )  # fmt: skip


def _of_manifest(root: Path, manifest: Manifest, wanted: tuple[str, ...] | None) -> Tree:
    wanted = wanted or manifest.modalities
    absent = next((name for name in wanted if name not in manifest.modalities), None)
    if absent:
        raise InputError(f"{root}: was exported without {absent}; expected one of {', '.join(manifest.modalities)}")
    of_modality = {name: _find(root, root / name, name, None) for name in wanted}
    places = [(manifest.folders[label], stem) for label, stem in zip(manifest.labels, manifest.stems, strict=True)]
    gone = {
        row: f"{root / name / folder / stem}.*: is gone; "
        f"expected the {name} file of sample {manifest.ids[row]!r} that {FILE} lists"
        for row, (folder, stem) in enumerate(places)
        for name in wanted
        if stem not in of_modality[name].files.get(folder, {})
    }
    if gone and len(gone) == len(places):
        raise InputError(f"{next(iter(gone.values()))} (and so is every other sample)")
    rows = [row for row in range(len(places)) if row not in gone]
    notes = []
    for name, files in of_modality.items():
        listed = sum(stem in files.files.get(folder, {}) for folder, stem in places)
        extra = sum(map(len, files.files.values())) - listed
        notes += [f"{extra} {name} files that {FILE} does not list are ignored"] if extra else []
    notes += _ignored_note(of_modality)
    return Tree(
        root, manifest.name, manifest.classes, [manifest.ids[row] for row in rows],
        [manifest.labels[row] for row in rows],
        {name: [files.files[places[row][0]][places[row][1]] for row in rows] for name, files in of_modality.items()},
        manifest.templates, tuple(notes), (), tuple(gone.values()),
    )  # fmt: skip


def _find(root: Path, base: Path, modality: str, split: str | None) -> ModalityFiles:
    """The files of a modality in `base/<class>/` (or `base/<class>/<split>/`); raises InputError, naming what there is,
    where there are none.
    """
    suffixes = MODALITIES[modality].suffixes
    files: dict[str, dict[str, str]] = {}
    ignored: Counter[str] = Counter()
    deeper: Counter[str] = Counter()
    lost: list[str] = []
    unread: Counter[str] = Counter()
    for folder in folders_in(base):
        files[folder] = {}
        others: dict[str, str] = {}
        inside = base / folder / split if split else base / folder
        for entry in entries_of(inside):
            stem, suffix = os.path.splitext(entry.name)
            if is_folder(entry):
                deeper[entry.name] += 1
            elif entry.name.startswith("."):
                ignored["hidden"] += 1
            elif suffix.lower() not in suffixes:
                ignored[suffix.lower() or "no suffix"] += 1
                others[entry.name] = suffix.lower()
            else:
                # a second file of the same stem keeps its suffix in its name, so that ids stay unique
                files[folder][stem if stem not in files[folder] else entry.name] = (
                    (inside / entry.name).relative_to(root).as_posix()
                )
        lost += lost_below(inside, modality)
        if others and not files[folder]:
            lost.append(
                f"{inside}: is left out as a class, its {len(others)} files are {_kinds(others.values())}; "
                f"expected {modality} files, {', '.join(suffixes)}"
            )
        else:
            # a second copy beside a file that is read (1.heic beside 1.jpg) is no sample that is lost
            unread.update(
                suffix
                for name, suffix in others.items()
                if suffix in UNREAD[modality] and os.path.splitext(name)[0] not in files[folder]
            )
    if unread:
        lost.append(
            f"{base}: {unread.total()} files are left out, of formats that are not read: {_kinds(unread.elements())}; "
            f"expected {', '.join(suffixes)}"
        )
    loose = [
        name
        for name in files_in(base, suffixes)
        if not name.lower().endswith(LISTS) and not name.startswith("contact-sheet")
    ]
    if loose and any(files.values()):
        lost.append(
            f"{base}: {len(loose)} {modality} files lie beside the class folders and are left out, "
            f"the first {loose[0]}; expected DIR/<class>/<file>"
        )
    classes = [folder for folder, stems in files.items() if stems]
    if classes and {folder.lower() for folder in classes} <= SPLITS:
        lost.append(
            f"{base}: its folders are called like splits ({_some(classes)}) and are taken for classes; "
            "expected DIR/<split>/<class>/<file>"
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
    return ModalityFiles(files, ignored, lost)


def _ignored_note(of_modality: dict[str, ModalityFiles]) -> list[str]:
    ignored = sum((files.ignored for files in of_modality.values()), Counter[str]())
    counts = _some([f"{count} {suffix}" for suffix, count in _commonest(ignored)])
    return [f"{ignored.total()} files are ignored: {counts}"] if ignored else []


def lost_below(folder: Path, modality: str) -> list[str]:
    """A line that counts the modality's files in folders below the class folder `folder`; none where there are none."""
    below = list(files_below(folder, MODALITIES[modality].suffixes))
    if not below:
        return []
    return [
        f"{folder}: {len(below)} {modality} files lie in folders below it and are left out, the first {below[0]}; "
        "expected DIR/<class>/<file>"
    ]


def _kinds(suffixes: Iterable[str]) -> str:
    return _some([f"{count} {suffix or 'without suffix'}" for suffix, count in _commonest(Counter(suffixes))])


def _commonest(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
