"""Any Dataset as real files: `DIR/<modality>/<class>/<stem><suffix>`, captions.csv, dataset.json;
`data.layouts.generic.folder.load` reads it back.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.core.tables.csv_text import csv_text
from ironbind.data.layouts.generic.manifest import FILE, Manifest, read_manifest
from ironbind.modalities import MODALITIES
from ironbind.types import Dataset, InputError, Modality

BATCH = 16  # samples decoded at a time
README = """This folder was written by ironbind. It holds the data set "{name}": {count} samples of {classes} classes.

  <modality>/<class>/<stem><suffix>  one file per sample and modality ({files}); a sample has the same stem in each
  captions.csv                       one sentence per sample (columns id, caption), where the data set has captions
  {manifest:<35}the order of samples and classes,
  ids and prompts; without it the folder is still a tree of class folders

Audit it:  ironbind audit folder --modality MODALITY --data THIS_FOLDER
"""


def export(
    dataset: Dataset,
    folder: str | Path,
    *,
    modalities: Sequence[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Writes `dataset` (all its modalities, or those named) into `folder` and returns that path.

    An interrupted export resumes where it stopped, and further modalities can be added later; every file appears whole
    or not at all. `progress(files done, files in all)` is called after each batch. Raises InputError for a folder that
    holds anything else, or another data set's export, and for a file that cannot be written.
    """
    root = Path(folder)
    names = tuple(modalities) if modalities is not None else tuple(dataset.modalities)
    for name in names:
        if name not in MODALITIES or name not in dataset.modalities:
            raise InputError(
                f"modality {name!r} cannot be exported from {dataset.name!r}; "
                f"expected some of {', '.join(dataset.modalities)}"
            )
    if not names:
        raise InputError(f"no modality of {dataset.name!r} was named; expected some of {', '.join(dataset.modalities)}")
    manifest = _begin(dataset, root, names)
    try:
        _write_readme_and_captions(dataset, manifest, root)
        _write_samples(dataset, manifest, root, names, progress)
        replace(manifest, complete=True).write(root)
    except OSError as error:
        raise InputError(
            f"{error.filename or root}: cannot be written ({error.strerror or error}); "
            "expected room and permission to write"
        ) from error
    return root


def _begin(dataset: Dataset, root: Path, names: tuple[str, ...]) -> Manifest:
    """The manifest of what will be in `root`, written there as incomplete; InputError where something else is there
    already.
    """
    if root.exists() and not root.is_dir():
        raise InputError(f"{root}: is a file; expected a new or empty folder to export to")
    there = read_manifest(root)
    if there is None and root.exists() and any(entry.name != f".partial-{FILE}" for entry in root.iterdir()):
        raise InputError(f"{root}: is not empty and not an export; expected a new or empty folder to export to")
    manifest = _plan(dataset, names)
    if there is not None:
        if replace(there, complete=False, modalities=names) != manifest:
            raise InputError(
                f"{root}: holds an export of another data set, {there.name!r}; "
                f"expected a new folder, or that of {dataset.name!r}"
            )
        both = {*there.modalities, *names}
        # in the data set's order, whichever came first
        manifest = replace(manifest, modalities=tuple(name for name in dataset.modalities if name in both))
    try:
        root.mkdir(parents=True, exist_ok=True)
        manifest.write(root)
    except OSError as error:
        raise InputError(f"{root}: cannot be written ({error.strerror}); expected a folder that can be") from error
    return manifest


def _plan(dataset: Dataset, names: tuple[str, ...]) -> Manifest:
    folders = _unique([_safe(name) for name in dataset.classes], [0] * len(dataset.classes))
    return Manifest(
        name=dataset.name,
        source=dataset.fingerprint,
        complete=False,
        modalities=names,
        classes=tuple(dataset.classes),
        folders=folders,
        templates=None if dataset.templates is None else tuple(dataset.templates),
        ids=tuple(dataset.ids),
        labels=tuple(int(label) for label in dataset.labels),
        stems=_unique([_safe(name) for name in dataset.ids], list(dataset.labels)),
    )


def _safe(name: str) -> str:
    """A file name from any text, at most 100 characters: letters, digits, `.`, `-` and `_`, with no dot in front (that
    would hide it).
    """
    return re.sub(r"[^\w.-]+", "_", name)[-100:].lstrip(".").rstrip(".") or "_"


def _unique(names: list[str], group: Sequence[int]) -> tuple[str, ...]:
    """Names told apart within a group even where capitals are not; the second of a kind gets a number."""
    taken: set[tuple[int, str]] = set()
    unique = []
    for name, label in zip(names, group, strict=True):
        candidate, number = name, 1
        while (label, candidate.lower()) in taken:
            number += 1
            candidate = f"{name}-{number}"
        taken.add((label, candidate.lower()))
        unique.append(candidate)
    return tuple(unique)


def _write_readme_and_captions(dataset: Dataset, manifest: Manifest, root: Path) -> None:
    files = ", ".join(f"{name} {MODALITIES[name].suffixes[0]}" for name in manifest.modalities)
    text = README.format(
        name=dataset.name, count=len(dataset), classes=len(dataset.classes), files=files, manifest=FILE
    )
    (root / "README.txt").write_text(text, encoding="utf-8")
    if dataset.captions is not None:
        rows = zip(dataset.ids, dataset.captions, strict=True)
        (root / "captions.csv").write_text(csv_text(("id", "caption"), rows), encoding="utf-8", newline="")


def _write_samples(
    dataset: Dataset,
    manifest: Manifest,
    root: Path,
    names: tuple[str, ...],
    progress: Callable[[int, int], None] | None,
) -> None:
    total, done = len(names) * len(dataset), 0
    for name in names:
        modality = MODALITIES[name]
        for label in set(manifest.labels):
            (root / name / manifest.folders[label]).mkdir(parents=True, exist_ok=True)
        places = [
            root / name / manifest.folders[label] / f"{stem}{modality.suffixes[0]}"
            for label, stem in zip(manifest.labels, manifest.stems, strict=True)
        ]
        missing = [row for row, place in enumerate(places) if not place.exists()]
        done += len(places) - len(missing)
        for start in range(0, len(missing), BATCH):
            rows = missing[start : start + BATCH]
            for row, sample in zip(rows, dataset.decode(name, rows), strict=True):
                _place(modality, sample, places[row])
            done += len(rows)
            if progress:
                progress(done, total)


def _place(modality: Modality, sample: object, place: Path) -> None:
    """Written beside its place, hidden, then moved there: a file that is there is whole."""
    part = place.with_name(f".partial-{place.name}")
    modality.write(sample, part)
    os.replace(part, place)
