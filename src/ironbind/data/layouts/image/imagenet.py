"""ImageNet-1k (ILSVRC 2012): `val/<wnid>/*.JPEG`, Kaggle's flat `val/` with LOC_val_solution.csv, or Hugging Face's
`data/validation-*.parquet`.

The order of classes is that of sorted wnids, as everywhere. CMYK and grey JPEGs and the PNG named .JPEG are pictures
like others.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.core.names.imagenet_names import names_of, wnids
from ironbind.data.folder_entries import entries_of, files_in, folders_in, is_folder
from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.class_folders import lost_below
from ironbind.data.list_files import read_lines, read_table, root_of
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Files
from ironbind.data.storage.parquet import ParquetRows, open_parquet
from ironbind.modalities import MODALITIES
from ironbind.modalities.reading import reading
from ironbind.types import InputError

EXPECTED = "val/<wnid>/*.JPEG, a flat val/ with LOC_val_solution.csv, or data/validation-*.parquet"
MAPPING, SOLUTION = "LOC_synset_mapping.txt", "LOC_{split}_solution.csv"
INSIDE = ("", "ILSVRC/Data/CLS-LOC", "Data/CLS-LOC")  # where Kaggle's archive has the pictures
WNID = re.compile(r"n\d{8}")


def load(
    path: str | Path | None,
    *,
    split: str = "val",
    names: str = "clip",
) -> Listing:
    """`split` ("val", "train") of the ImageNet in `path`, one class a wnid.

    `names`: "clip" calls classes as CLIP's zero-shot evaluation does, "wordnet" by their first lemma (that of
    LOC_synset_mapping.txt where it is there; see `names_of` for names that occur twice).
    Raises InputError.
    """
    root = root_of(path, "imagenet", EXPECTED)
    prefix = {"val": "validation"}.get(split, split)
    tables = sorted((root / "data").glob(f"{prefix}-*.parquet")) or sorted(root.glob(f"{prefix}-*.parquet"))
    listed = None
    if tables:
        listing = _of_parquet(root, tables, names)
    else:
        pictures = next((root / place / split for place in INSIDE if (root / place / split).is_dir()), root)
        lemmas = _lemmas(root)
        folders = [name for name in folders_in(pictures) if WNID.fullmatch(name)]
        if folders:
            listing = _of_folders(pictures, folders, names, lemmas)
        else:
            solution = root / SOLUTION.format(split=split)
            if not solution.is_file():
                raise InputError(
                    f"{root}: holds no picture folders, {solution.name} or {prefix}-*.parquet; expected {EXPECTED}"
                )
            listing, listed = _of_solution(pictures, solution, names, lemmas), solution.name
    return replace(listing, listed=listed)


def recognise(path: Path) -> str | None:
    """Folders called by wnids, Kaggle's mapping, or shards of validation in a folder called imagenet."""
    for place in ("", *INSIDE):
        folder = path / place / "val" if place or (path / "val").is_dir() else path
        inside = folders_in(folder)
        wnid = next((name for name in inside if WNID.fullmatch(name)), None)
        if wnid and files_in(folder / wnid, (".jpeg", ".jpg", ".png")):
            return f"{folder.name}/ holds folders called by ImageNet's wnids ({wnid})"
    if (path / MAPPING).is_file():
        return f"it holds {MAPPING}"
    if "imagenet" in path.resolve().name.lower() and any((path / "data").glob("validation-*.parquet")):
        return "it is called imagenet and holds data/validation-*.parquet"
    return None


def _lemmas(root: Path) -> dict[str, str]:
    mapping = root / MAPPING
    if not mapping.is_file():
        return {}
    expected = "lines of wnid, blank, lemmas: n01440764 tench, Tinca tinca"
    lines = [line.partition(" ") for line in read_lines(mapping, expected)]
    bad = next((wnid for wnid, _, lemmas in lines if not WNID.fullmatch(wnid) or not lemmas), None)
    if bad is not None:
        raise InputError(f"{mapping}: has {bad[:40]!r} for a wnid and its lemmas; expected {expected}")
    return {wnid: lemmas for wnid, _, lemmas in lines}


def _of_folders(pictures: Path, folders: Sequence[str], names: str, lemmas: dict[str, str]) -> Listing:
    suffixes = MODALITIES["image"].suffixes
    files, labels, ignored, problems = [], [], 0, []
    for label, folder in enumerate(folders):
        read = files_in(pictures / folder, suffixes)
        files += [f"{folder}/{name}" for name in read]
        labels += [label] * len(read)
        entries = [entry for entry in entries_of(pictures / folder) if not is_folder(entry)]
        ignored += len(entries) - len(read)
        problems += lost_below(pictures / folder, "image")
    if not files:
        raise InputError(f"{pictures}: its {len(folders)} folders hold no picture; expected {EXPECTED}")
    notes = [f"{ignored} files are ignored: no pictures"] if ignored else []
    notes += [f"{len(folders)} of ImageNet's 1000 classes"] if len(folders) != 1000 else []
    ids = [file.rpartition(".")[0] for file in files]
    if len(set(ids)) < len(ids):
        ids = files
    sources = {"image": Files(pictures, files, MODALITIES["image"].read)}
    return Listing(
        "imagenet", names_of(folders, names, lemmas), ids, labels, sources, notes=tuple(notes), problems=tuple(problems)
    )


def _of_solution(pictures: Path, solution: Path, names: str, lemmas: dict[str, str]) -> Listing:
    """Kaggle's list: ImageId, and a prediction string that starts with the wnid (boxes follow)."""
    rows = sorted(read_table(solution, ("ImageId", "PredictionString"), "columns ImageId, PredictionString"))
    classes = tuple(sorted(lemmas)) or wnids()
    label = {wnid: number for number, wnid in enumerate(classes)}
    wnid = [(boxes.split() or [""])[0] for _, boxes in rows]
    wrong = next((row for row, synset in enumerate(wnid) if synset not in label), None)
    if wrong is not None:
        raise InputError(
            f"{solution}: says {wnid[wrong]!r} of {rows[wrong][0]}; "
            f"expected one of the {len(classes)} wnids of ImageNet"
        )
    ids = [f"{synset}/{image}" for synset, (image, _) in zip(wnid, rows, strict=True)]
    sources = {"image": Files(pictures, [f"{image}.JPEG" for image, _ in rows], MODALITIES["image"].read)}
    return Listing("imagenet", names_of(classes, names, lemmas), ids, [label[synset] for synset in wnid], sources)


def _of_parquet(root: Path, tables: Sequence[Path], names: str) -> Listing:
    """Hugging Face's shards: columns image {bytes, path} and label; the wnids, or lemmas, are those of the schema's
    metadata where it has them.
    """
    members, labels, ids = [], [], []
    for path in tables:
        with reading(path, "a parquet file with columns image {bytes, path} and label"):
            table = open_parquet(path)
            columns = set(table.schema_arrow.names)
            if not {"image", "label"} <= columns:
                raise InputError(f"{path}: has columns {', '.join(sorted(columns))}; expected image, label")
            values = table.read(columns=["image.path", "label"]).to_pydict()
        file = path.relative_to(root).as_posix()
        members += [(file, row) for row in range(len(values["label"]))]
        labels += values["label"]
        ids += [(image or {}).get("path") or f"{file}/{row}" for row, image in enumerate(values["image"])]
    count = len(_metadata_names(tables[0])) or 1000
    wrong = next(
        (row for row, label in enumerate(labels) if not isinstance(label, int) or not 0 <= label < count), None
    )
    if wrong is not None:
        place = f"{root / members[wrong][0]}: row {members[wrong][1]}"
        raise InputError(
            f"{place} has the label {labels[wrong]}; expected 0 to {count - 1} (the test split's labels are not public)"
        )
    if len(set(ids)) < len(ids):
        ids = [f"{file}/{row}" for file, row in members]
    sources = {"image": ParquetRows(root, members, "image.bytes", MODALITIES["image"].read, ".JPEG")}
    return Listing("imagenet", _parquet_classes(tables[0], count, names), ids, labels, sources)


def _metadata_names(path: Path) -> list[str]:
    """Of the label's feature, as `datasets` writes it into the schema: "tench, Tinca tinca", in order of class. Empty
    where there are none.
    """
    metadata = open_parquet(path).schema_arrow.metadata or {}
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return []
    return [str(name) for name in names] if isinstance(names, list) else []


def _parquet_classes(path: Path, count: int, names: str) -> tuple[str, ...]:
    called = _metadata_names(path)
    if not called or count == 1000:
        return names_of(wnids(), names, dict(zip(wnids(), called, strict=False)))
    if len(set(called)) < len(called):
        raise InputError(
            f"{path}: its metadata name two of {count} classes alike; expected different names, or the 1000 of ImageNet"
        )
    return tuple(called)


LAYOUT = Layout(load, recognise)
