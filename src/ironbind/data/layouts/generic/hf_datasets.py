"""Tables of encoded files on disk, read with pyarrow: parquet files, whatever they are called, in the form that the
Hugging Face `datasets` library gives them or any other, and what its `save_to_disk` writes (Arrow).

`photos.parquet`; a folder of parquet files; `data/test-00000-of-00002.parquet`, `<config>/test/0.parquet`; or
`dataset_dict.json`, and per split `state.json` and `data-00000-of-00001.arrow`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.class_folders import SPLITS
from ironbind.data.layouts.generic.table_columns import Column, Parts, column_of, parts_of
from ironbind.data.list_by_ranks import listed_by_ranks
from ironbind.data.list_files import json_of, names_in, root_of, templates_of
from ironbind.data.listing import UNLABELLED, Listing
from ironbind.data.storage.packed import PackedStrings, RowsOfFiles
from ironbind.data.storage.parquet import ARROW, ParquetRows, first_value, open_arrow, open_parquet, some_values
from ironbind.modalities import MODALITIES
from ironbind.modalities.reading import reading
from ironbind.types import InputError

SUFFIXES = (".parquet", ".parq", ".pq")
SHARD = re.compile(r"(?P<split>\w+?)-\d+-of-\d+|(?P<word>[A-Za-z]+)[-_]?\d*")
SUFFIX = {
    "image": ".png",
    "audio": ".wav",
    "video": ".mp4",
}  # for bytes without a file name; readers look at the bytes as well
NAMES = ("classnames.txt", "classes.txt")
ALL = "all"  # the split of files whose names tell none
EXPECTED = "a parquet file, a folder of them, or what save_to_disk writes"


class Found(NamedTuple):
    """The files of one split: relative to `root`, and what a reader of the results should know of them."""

    name: str
    root: Path
    split: str
    shards: list[Path]
    notes: tuple[str, ...]


class Listed(NamedTuple):
    """What one file holds: its rows, the values of the small columns, and the names of its labels."""

    rows: int
    told: dict[str, list[Any]]
    names: tuple[str, ...] | None


def load(
    path: str | Path | None,
    *,
    split: str | None = None,
    modality: str | Sequence[str] | None = None,
    columns: Mapping[str, str] | None = None,
    names: str | Sequence[str] | None = None,
) -> Listing:
    """The rows of one parquet file, or of one split of a folder (None: "test" where there is one, else the only one).
    Files whose names tell no split are one split together.

    `modality`: what to read, one or several columns of encoded files (None: the first that there is). `columns` says
    which column is what: {"image": "photo", "label": "fine_label", "caption": "text_en"}; without it the library's
    description of the columns decides, then their bytes and names. `names`: class names for labels that are numbers, in
    order, or a file of them, one a line (None: those in the schema, else classnames.txt or classes.txt beside the
    data). Raises InputError.
    """
    return listing_of_shards(_found(path, split), modality, columns, names)


def listing_of_shards(
    found: Found,
    modality: str | Sequence[str] | None,
    columns: Mapping[str, str] | None,
    names: str | Sequence[str] | None,
) -> Listing:
    """The rows of these files, with the options of `load`. Raises InputError."""
    root, shards = found.root, found.shards
    wanted = (modality,) if isinstance(modality, str) else tuple(modality or ())
    described = _columns(root, shards[0])
    given = _given_names(root, names)
    parts = parts_of(
        shards[0],
        described,
        wanted,
        dict(columns or {}),
        lambda column: _first_bytes(shards[0], column),
        lambda column: some_values(shards[0], column.name),
        names=bool(given),
    )
    counts: list[tuple[str, int]] = []
    small = [column for column in (parts.label, parts.caption) if column is not None]
    told: dict[str, list[Any]] = {column.name: [] for column in small}
    named: list[tuple[Path, tuple[str, ...] | None]] = []
    for shard, listed in zip(shards, listed_by_ranks(shards, partial(_listed, root, parts)), strict=True):
        for name, values in listed.told.items():
            told[name] += values
        counts.append((shard.relative_to(root).as_posix(), listed.rows))
        named.append((shard, listed.names))
    members = RowsOfFiles.whole(counts)
    if not members:
        raise InputError(f"{shards[0]}: holds no row; expected some")
    classes: tuple[str, ...] = UNLABELLED
    labels = [0] * len(members)
    if parts.label is not None:
        # names that a person listed are taken as they are, those of a schema may have underscores for blanks
        called = given or tuple(name.replace("_", " ") for name in _agreed(parts.label, named) or ())
        classes, labels = _labels(members, root, told[parts.label.name], called)
    captions = [_captions(texts) for texts in told[parts.caption.name]] if parts.caption is not None else None
    if captions is not None and not all(captions):
        raise InputError(
            f"{root}: {sum(not texts for texts in captions)} rows of the split {found.split!r} have no caption; "
            "expected one each, or another column"
        )
    return Listing(
        found.name,
        classes,
        PackedStrings.of(f"{file}/{row}" for file, row in members),
        labels,
        {
            kind: ParquetRows(root, members, column.of_bytes, MODALITIES[kind].read, SUFFIX.get(kind, ""))
            for kind, column in parts.files.items()
        },
        captions,
        templates=templates_of(root),
        notes=(*found.notes, *parts.notes),
    )


def _found(path: str | Path | None, split: str | None) -> Found:
    place = Path(path) if path is not None else None
    if place is not None and place.is_file():
        if split is not None:
            raise InputError(f"split {split!r} is not in {place}: it is one file; expected the folder of its splits")
        return Found(place.stem, place.parent, place.stem, [place], (f"file {place.name}",))
    root = root_of(path, "hf_datasets", EXPECTED)
    splits = _splits(root)
    if not splits:
        raise InputError(f"{root}: holds no parquet or Arrow file of a split; expected {EXPECTED}")
    chosen = split or ("test" if "test" in splits else next(iter(splits)) if len(splits) == 1 else None)
    if chosen is None:
        raise InputError(
            f"{root}: holds the splits {', '.join(splits)}; expected --data-option split={next(iter(splits))} or "
            "another of them"
        )
    if chosen not in splits:
        raise InputError(f"split {chosen!r} is not in {root}; expected one of {', '.join(splits)}")
    shards = splits[chosen]
    note = f"split {chosen}"
    if chosen == ALL and shards[0].suffix != ARROW:
        note = f"all {len(shards)} parquet files: their names tell no split"
    left = splits.get(ALL, []) if chosen != ALL else []
    notes = (note, f"{len(left)} parquet files whose names tell no split are left out") if left else (note,)
    return Found(root.resolve().name, root, chosen, shards, notes)


def _listed(root: Path, parts: Parts, shard: Path) -> Listed:
    """Of one file the number of rows, and the values of label and caption, a row group at a time: the large columns are
    not read.
    """
    wanted = [column.name for column in (parts.label, parts.caption) if column is not None]
    there = {column.name: column for column in _columns(root, shard)}
    absent = next((name for name in (*wanted, *(c.name for c in parts.files.values())) if name not in there), None)
    if absent is not None:
        raise InputError(
            f"{shard}: has no column {absent!r} as the files before it have; expected files of the same columns"
        )
    told: dict[str, list[Any]] = {name: [] for name in wanted}
    label = there[parts.label.name].feature.get("names") if parts.label is not None else None
    names = tuple(map(str, label)) if isinstance(label, list) else None
    with reading(shard, "a parquet or Arrow file"):
        if shard.suffix == ARROW:
            table = open_arrow(shard)
            return Listed(table.num_rows, {name: table.column(name).to_pylist() for name in wanted}, names)
        file = open_parquet(shard)
        for group in range(file.num_row_groups) if wanted else ():
            columns = file.read_row_group(group, columns=list(wanted))
            for name in wanted:
                told[name] += columns.column(name).to_pylist()
        return Listed(file.metadata.num_rows, told, names)


def recognise(path: Path) -> str | None:
    """A parquet file or a folder of them, or what save_to_disk leaves."""
    if path.is_file():
        return f"{path.name} is a parquet file" if path.suffix.lower() in SUFFIXES else None
    for name in ("dataset_dict.json", "state.json"):
        if (path / name).is_file():
            return f"it holds {name}, as save_to_disk writes it"
    shards = [shard for files in _splits(path).values() for shard in files] if path.is_dir() else []
    return f"it holds {shards[0].relative_to(path).as_posix()}" if shards else None


def _splits(root: Path) -> dict[str, list[Path]]:
    """Files by split, in order; those whose names tell no split under ALL."""
    if (root / "dataset_dict.json").is_file():
        expected = "splits as save_to_disk writes them"
        listed = json_of(root / "dataset_dict.json", expected)
        names = listed.get("splits") if isinstance(listed, dict) else None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InputError(f"{root / 'dataset_dict.json'}: lists no splits; expected {expected}")
        return {name: _saved(root / name) for name in names}
    if (root / "state.json").is_file():
        state = json_of(root / "state.json", "a state as save_to_disk writes it")
        return {str((state.get("_split") if isinstance(state, dict) else None) or ALL): _saved(root)}
    splits: dict[str, list[Path]] = {}
    for shard in _parquet_files(root):
        splits.setdefault(_split_told_by(shard, root), []).append(shard)
    return splits


def _parquet_files(root: Path) -> list[Path]:
    """Those in the folder and in folders up to two levels below it, hidden ones left out."""
    return sorted(
        file
        for pattern in ("*", "*/*", "*/*/*")
        for file in root.glob(pattern)
        if file.suffix.lower() in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(root).parts)
    )


def _split_told_by(shard: Path, root: Path) -> str:
    """`fine-00000-of-00002` is of the split fine; `test`, `test_1` and `<anything>/test/0` of test; other names, as of
    photos.parquet or part-0.parquet, tell no split.
    """
    fitting = SHARD.fullmatch(shard.stem)
    if fitting and fitting["split"] and fitting["split"] not in ("part", "shard", "data", "chunk", "file"):
        return fitting["split"]
    if fitting and fitting["word"] and fitting["word"].lower() in SPLITS:
        return fitting["word"]
    inside = shard.parent.name
    return inside if shard.parent != root and inside.lower() in SPLITS else ALL


def _saved(folder: Path) -> list[Path]:
    expected = "a state as save_to_disk writes it: _data_files"
    state = json_of(folder / "state.json", expected)
    try:
        files = [folder / file["filename"] for file in state["_data_files"]]
    except (KeyError, TypeError) as error:
        raise InputError(f"{folder / 'state.json'}: lists no data files; expected {expected}") from error
    absent = next((file for file in files if not file.is_file()), None)
    if absent is not None or not files:
        raise InputError(f"{absent or folder}: is missing; expected what {folder.name}/state.json lists")
    return files


def _columns(root: Path, shard: Path) -> list[Column]:
    """The columns of a file, with what the library says of each: out of the file's schema, else of dataset_info.json
    beside it.
    """
    with reading(shard, "a parquet or Arrow file"):
        schema = open_arrow(shard).schema if shard.suffix == ARROW else open_parquet(shard).schema_arrow
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        beside = next(
            (file for file in (shard.parent / "dataset_info.json", root / "dataset_info.json") if file.is_file()), None
        )
        info = json_of(beside, "an object with features") if beside is not None else None
        described = info.get("features") if isinstance(info, dict) else None
    features = described if isinstance(described, dict) else {}
    return [column_of(field, features.get(field.name)) for field in schema]


def _first_bytes(shard: Path, column: Column) -> bytes:
    """The first encoded file of a column that is there; b"" where none is."""
    with reading(shard, "a parquet or Arrow file"):
        value = first_value(shard, column.of_bytes)
    return value if isinstance(value, bytes) else b""


def _given_names(root: Path, names: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Class names that a user gives, else those in a file beside the data."""
    if isinstance(names, str):
        return names_in(Path(names))
    if names is not None:
        return tuple(names)
    beside = next((root / name for name in NAMES if (root / name).is_file()), None)
    return names_in(beside) if beside is not None else None


def _agreed(label: Column, named: Sequence[tuple[Path, tuple[str, ...] | None]]) -> tuple[str, ...] | None:
    """The class names that the schemas of all files hold. Raises InputError where two files number them otherwise."""
    first, names = named[0]
    other = next((shard for shard, told in named if told != names), None)
    if other is not None:
        raise InputError(
            f"{other}: names the classes of its column {label.name!r} otherwise than {first.name}; "
            "expected the same names in every file, or the option names=FILE"
        )
    return names


def _labels(
    members: Sequence[tuple[str, int]], root: Path, told: Sequence[Any], names: tuple[str, ...]
) -> tuple[tuple[str, ...], list[int]]:
    """Class names and numbers: named by the schema or the user, or the different texts, sorted."""

    def where(row: int) -> str:
        file, number = members[row]
        return f"{root / file}: row {number}"

    absent = next((row for row, label in enumerate(told) if label is None), None)
    if absent is not None:
        raise InputError(f"{where(absent)} has no label; expected one each")
    if all(isinstance(label, str) for label in told):
        called = sorted(set(told))
        number = {name: i for i, name in enumerate(called)}
        return tuple(label.replace("_", " ") for label in called), [number[label] for label in told]
    if not names:
        raise InputError(
            f"{root / members[0][0]}: its labels are numbers without names; expected ClassLabel names in the schema, "
            "--data-option names=FILE (class names, one a line), or a label column of texts"
        )
    wrong = next(
        (row for row, label in enumerate(told) if not isinstance(label, int) or not 0 <= label < len(names)), None
    )
    if wrong is not None:
        raise InputError(f"{where(wrong)} has the label {told[wrong]}; expected 0 to {len(names) - 1}")
    return names, [int(label) for label in told]


def _captions(told: Any) -> tuple[str, ...]:
    each = told if isinstance(told, list) else [told]
    return tuple(caption.strip() for caption in each if isinstance(caption, str) and caption.strip())


LAYOUT = Layout(load, recognise)
