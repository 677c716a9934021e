"""A CSV of samples with a column mapping: a row names a file for each modality, a label, a caption. The layout of one's
own data.

    id,image,audio,label,caption
    1,pictures/a.png,sounds/a.wav,guinea pig,"a small, round animal"

Paths are relative to the CSV, or to `root`. Beside it, `templates.txt` (one prompt a line, with {}) is used where it
exists.
"""

import csv
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ironbind.data.layout import Layout
from ironbind.data.list_files import as_spelt, read_table, reading_list, templates_of
from ironbind.data.listing import UNLABELLED, Listing
from ironbind.data.storage.files import Files, Read
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

ROLES = ("id", "label", "caption", "split")
FILE = ("file", "path", "filename", "file_name")  # columns that name the file of the one modality asked for
DELIMITERS = {"\\t": "\t", "tab": "\t"}  # as a command line and a spreadsheet write them
EXPECTED = "a CSV with a column for each modality's files, and label, caption, id, split where there are such"


class Row(NamedTuple):
    """One line: `files` by modality; rows of one id are captions of the same sample."""

    id: str
    label: str | None
    files: dict[str, str]
    captions: tuple[str, ...]


def load(
    path: str | Path | None,
    *,
    modality: str | Sequence[str] | None = None,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    split: str | None = None,
    root: str | Path | None = None,
    delimiter: str = ",",
) -> Listing:
    """The samples of a CSV, or of the one CSV (`<split>.csv` with a split) in a folder.

    `columns` says what is called otherwise: {"image": "photo", "label": "species", "caption": ["text_1", "text_2"],
    "id": "key"}; the columns of modalities, id, label, caption and split are found by these names, and the file of a
    single `modality` also as file, path, filename. Without an id column the first file is the id; rows of the same id
    are further captions of one sample. Underscores in labels are read as spaces; without labels the data is for
    retrieval only. `split`: only rows with that value, where there is such a column. `root`: what files are relative to
    (default: the CSV's folder). Raises InputError.
    """
    table = _table(path, split)
    delimiter = DELIMITERS.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '"\r\n':
        raise InputError(f"delimiter {delimiter!r} separates no columns; expected one sign: ',', ';', '|' or \\t")
    header = _header(table, delimiter)
    wanted = (modality,) if isinstance(modality, str) else tuple(modality) if modality is not None else None
    role = _roles(table, header, wanted, dict(columns or {}))
    kinds = [name for name in role if name in MODALITIES]
    flat = [name for names in role.values() for name in names]
    rows = []
    for values in read_table(table, list(dict.fromkeys(flat)), EXPECTED, separator=delimiter):
        told = dict(zip(dict.fromkeys(flat), values, strict=True))
        if split is not None and "split" in role and told[role["split"][0]] != split:
            continue
        files = {kind: told[role[kind][0]].replace("\\", "/") for kind in kinds}
        captions = tuple(told[name] for name in role.get("caption", ()) if told[name])
        key = told[role["id"][0]] if "id" in role else files[kinds[0]]
        rows.append(Row(key, told[role["label"][0]] if "label" in role else None, files, captions))
    if not rows:
        raise InputError(f"{table}: has no row of the split {split!r}; expected some, in the column {role['split'][0]}")
    base = Path(root) if root is not None else table.parent
    if not base.is_dir():
        raise InputError(f"{base}: no such folder; expected the one that the files in {table.name} are relative to")
    listing = of_rows(table.stem, table, base, rows, {kind: MODALITIES[kind].read for kind in kinds})
    return replace(listing, listed=table.name)


def of_rows(name: str, table: Path, root: Path, rows: Sequence[Row], reads: Mapping[str, Read]) -> Listing:
    """The samples of rows, in their order; classes sorted. Raises InputError where rows of one id contradict each
    other.
    """
    first: dict[str, Row] = {}
    captions: dict[str, tuple[str, ...]] = {}
    for row in rows:
        known = first.setdefault(row.id, row)
        if (known.label, known.files) != (row.label, row.files):
            raise InputError(
                f"{table}: has two rows of {row.id!r} with different labels or files; "
                "expected one, or equal ones for more captions"
            )
        captions[row.id] = tuple(dict.fromkeys((*captions.get(row.id, ()), *row.captions)))
    if len(first) < len(rows) and not any(captions.values()):
        twice = next(key for key in first if sum(row.id == key for row in rows) > 1)
        raise InputError(f"{table}: has {twice!r} twice; expected each sample once")
    kept = list(first.values())
    mute = [key for key, told in captions.items() if not told]
    if mute and len(mute) < len(kept):
        raise InputError(
            f"{table}: has no caption for {len(mute)} of {len(kept)} samples, the first {mute[0]!r}; "
            "expected one each, or none at all"
        )
    empty = next((row.id for row in kept if not all(row.files.values())), None)
    unlabelled = [row.id for row in kept if not row.label]
    if empty is not None:
        raise InputError(f"{table}: names no file for {empty!r}; expected one for each of {', '.join(kept[0].files)}")
    if unlabelled and len(unlabelled) < len(kept):
        raise InputError(
            f"{table}: has no label for {len(unlabelled)} of {len(kept)} samples, the first {unlabelled[0]!r}; "
            "expected one each"
        )
    names = sorted({row.label for row in kept if row.label})
    classes = tuple(name.replace("_", " ") for name in names) or UNLABELLED
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if classes.count(name) > 1)
        raise InputError(
            f"{table}: has two labels for the class {twice!r}; expected one spelling (underscores are read as spaces)"
        )
    number = {name: label for label, name in enumerate(names)}
    return Listing(
        name,
        classes,
        [row.id for row in kept],
        [number[row.label] if row.label else 0 for row in kept],
        {
            kind: Files(root, as_spelt(root, [row.files[kind] for row in kept], _composed), read)
            for kind, read in reads.items()
        },
        None if mute else [captions[row.id] for row in kept],
        templates=templates_of(table.parent),
    )


def recognise(path: Path) -> str | None:
    """A CSV with a column that is called like a modality, or like a file beside one of labels or captions; any CSV that
    is named itself.
    """
    tables = (
        [path]
        if path.suffix.lower() == ".csv" and path.is_file()
        else [table for table in sorted(path.glob("*.csv")) if table.is_file()]
    )
    for table in tables:
        with table.open(encoding="utf-8-sig", errors="replace") as file:
            header = [name.strip().strip('"') for name in re.split(r"[,;\t|]", file.readline(2000))]
        kinds = [name for name in header if name in MODALITIES]
        if kinds or {*FILE} & {*header} and {"label", "caption"} & {*header}:
            return f"{table.name} has columns {', '.join(header[:5])}"
    return f"{path.name} is a CSV; its columns need names: columns={{...}}" if tables == [path] else None


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _table(path: str | Path | None, split: str | None) -> Path:
    if path is None:
        raise InputError("path is missing: the data set 'csv' is read from a file or its folder; expected a CSV")
    place = Path(path)
    if not place.is_dir():
        if not place.is_file():
            raise InputError(f"{place}: no such file or folder; expected {EXPECTED}")
        return place
    if split is not None and (place / f"{split}.csv").is_file():
        return place / f"{split}.csv"
    tables = sorted(place.glob("*.csv"))
    if len(tables) != 1:
        raise InputError(
            f"{place}: holds {len(tables)} CSV files ({', '.join(file.name for file in tables[:5])}); "
            "expected one, or the file's own path"
        )
    return tables[0]


def _header(table: Path, delimiter: str) -> list[str]:
    with reading_list(table, EXPECTED), table.open(encoding="utf-8-sig", newline="") as file:
        lines = (line for line in file if not line.startswith("#"))
        rows = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
        header = [name.strip() for name in next(rows, [])]
    other = next((sign for sign in ",;\t|" if len(header) == 1 and sign in header[0]), None)
    if other is not None:
        written = next((name for name, sign in DELIMITERS.items() if sign == other), other)
        raise InputError(
            f"{table}: its first line has no {delimiter!r}: {header[0][:60]!r}; expected the option delimiter={written}"
        )
    return header


def _roles(
    table: Path, header: Sequence[str], wanted: tuple[str, ...] | None, given: Mapping[str, str | Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """What each of modalities, id, label, caption, split is called in this CSV."""
    unknown = next((name for name in (*given, *(wanted or ())) if name not in MODALITIES and name not in ROLES), None)
    if unknown is not None:
        raise InputError(
            f"columns: {unknown!r} is neither a modality nor one of {', '.join(ROLES)}; "
            f"expected one of {', '.join(MODALITIES)}"
        )
    role = {name: (names,) if isinstance(names, str) else tuple(names) for name, names in given.items()}
    absent = next((name for names in role.values() for name in names if name not in header), None)
    if absent is not None:
        raise InputError(f"{table}: has no column {absent!r}; expected one of {', '.join(header)[:200]}")
    for name in (*(wanted if wanted is not None else MODALITIES), *ROLES):
        if name not in role and name in header:
            role[name] = (name,)
    if wanted is not None:
        role = {name: names for name, names in role.items() if name in wanted or name in ROLES}
        file = next((name for name in FILE if name in header), None)
        if len(wanted) == 1 and wanted[0] not in role and file is not None:
            role[wanted[0]] = (file,)
    kinds = wanted if wanted is not None else tuple(name for name in role if name in MODALITIES)
    lacking = next((name for name in kinds if name not in role), None)
    if lacking is not None or not kinds:
        raise InputError(
            f"{table}: no column is known to name {lacking or 'any'} files, of {', '.join(header)[:200]}; "
            f"expected the option columns={{'{lacking or 'image'}': NAME}}"
        )
    return role


LAYOUT = Layout(load, recognise)
