"""Data of the Hugging Face `datasets` library on disk, read with pyarrow: folders of parquet shards, and what
`save_to_disk` writes (Arrow).

`data/test-00000-of-00002.parquet`, `<config>/test/0.parquet`; or `dataset_dict.json`, and per split `state.json` and
`data-00000-of-00001.arrow`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ironbind.data.layout import Layout
from ironbind.data.list_by_ranks import listed_by_ranks
from ironbind.data.list_files import json_of, root_of, templates_of
from ironbind.data.listing import UNLABELLED, Listing
from ironbind.data.storage.parquet import ARROW, ParquetRows, open_arrow, open_parquet
from ironbind.modalities import MODALITIES
from ironbind.modalities.reading import reading
from ironbind.types import InputError

SHARD = re.compile(r"(?P<split>[A-Za-z_]+)(-\d+-of-\d+|[-_]?\d*)\.parquet")
KINDS = {"Image": "image", "Audio": "audio", "Video": "video"}  # features of the library that hold encoded files
ROLES = ("label", "caption")
LABELS, TEXTS = (
    ("label", "labels", "cls", "category", "class"),
    ("caption", "captions", "sentence", "text", "description"),
)
FILES = {
    "image": ("image", "img", "picture", "webp", "jpg", "png"),
    "audio": ("audio", "sound"),
    "video": ("video", "mp4"),
}
SUFFIX = {
    "image": ".png",
    "audio": ".wav",
    "video": ".mp4",
}  # for bytes without a file name; readers look at the bytes as well
EXPECTED = "parquet shards called by their split (data/test-00000-of-00001.parquet), or what save_to_disk writes"


def load(
    path: str | Path | None,
    *,
    split: str | None = None,
    modality: str | None = None,
    columns: Mapping[str, str] | None = None,
) -> Listing:
    """The rows of one split (None: "test" where there is one, else the only one).

    `modality`: what to read (None: the first column of encoded files). `columns` says what is called otherwise:
    {"image": "photo", "label": "fine_label", "caption": "text_en"}. A label column of numbers needs its names in the
    schema, as the library writes them. Raises InputError.
    """
    root = root_of(path, "hf_datasets", EXPECTED)
    splits = _splits(root)
    if not splits:
        raise InputError(f"{root}: holds no parquet or Arrow file of a split; expected {EXPECTED}")
    chosen = split or ("test" if "test" in splits else next(iter(splits)) if len(splits) == 1 else None)
    if chosen not in splits:
        raise InputError(f"split {chosen or split!r} is not in {root}; expected one of {', '.join(splits)}")
    shards = splits[chosen]
    features = _features(root, shards[0])
    role = _roles(shards[0], features, modality, dict(columns or {}))
    kind = next(name for name in role if name in MODALITIES)
    wanted = [role[name] for name in ROLES if name in role]
    members: list[tuple[str, int]] = []
    told: dict[str, list[Any]] = {name: [] for name in wanted}
    for shard, (rows, columns_told) in zip(shards, listed_by_ranks(shards, partial(_listed, wanted)), strict=True):
        for name, values in columns_told.items():
            told[name] += values
        file = shard.relative_to(root).as_posix()
        members += [(file, row) for row in range(rows)]
    if not members:
        raise InputError(f"{shards[0]}: holds no row; expected some")
    names, labels = (
        _labels(shards[0], told[role["label"]], features.get(role["label"]))
        if "label" in role
        else (UNLABELLED, [0] * len(members))
    )
    captions = [_captions(texts) for texts in told[role["caption"]]] if "caption" in role else None
    if captions is not None and not all(captions):
        raise InputError(
            f"{root}: {sum(not texts for texts in captions)} rows of the split {chosen!r} have no caption; "
            "expected one each, or another column"
        )
    return Listing(
        root.resolve().name,
        names,
        [f"{file}/{row}" for file, row in members],
        labels,
        {kind: ParquetRows(root, members, f"{role[kind]}.bytes", MODALITIES[kind].read, SUFFIX.get(kind, ""))},
        captions,
        templates=templates_of(root),
        notes=(f"split {chosen}",),
    )


def _listed(wanted: Sequence[str], shard: Path) -> tuple[int, dict[str, list[Any]]]:
    """How many rows a shard has, and its small columns, a row group at a time: the large ones are not read."""
    told: dict[str, list[Any]] = {name: [] for name in wanted}
    with reading(shard, "a parquet or Arrow file"):
        if shard.suffix == ARROW:
            table = open_arrow(shard)
            return table.num_rows, {name: table.column(name).to_pylist() for name in wanted}
        file = open_parquet(shard)
        for group in range(file.num_row_groups) if wanted else ():
            columns = file.read_row_group(group, columns=list(wanted))
            for name in wanted:
                told[name] += columns.column(name).to_pylist()
        return file.metadata.num_rows, told


def recognise(path: Path) -> str | None:
    """What save_to_disk leaves, or parquet shards called by a split."""
    for name in ("dataset_dict.json", "state.json"):
        if (path / name).is_file():
            return f"it holds {name}, as save_to_disk writes it"
    shards = [shard for files in _splits(path).values() for shard in files] if path.is_dir() else []
    return f"it holds {shards[0].relative_to(path).as_posix()}" if shards else None


def _splits(root: Path) -> dict[str, list[Path]]:
    """Shards by split, in order."""
    if (root / "dataset_dict.json").is_file():
        expected = "splits as save_to_disk writes them"
        listed = json_of(root / "dataset_dict.json", expected)
        names = listed.get("splits") if isinstance(listed, dict) else None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise InputError(f"{root / 'dataset_dict.json'}: lists no splits; expected {expected}")
        return {name: _saved(root / name) for name in names}
    if (root / "state.json").is_file():
        state = json_of(root / "state.json", "a state as save_to_disk writes it")
        return {str((state.get("_split") if isinstance(state, dict) else None) or "all"): _saved(root)}
    splits: dict[str, list[Path]] = {}
    for shard in sorted([*root.glob("*.parquet"), *root.glob("*/*.parquet"), *root.glob("*/*/*.parquet")]):
        fitting = SHARD.fullmatch(shard.name)
        split = (
            fitting["split"]
            if fitting
            else shard.parent.name
            if shard.stem.isdigit() and shard.parent != root
            else None
        )
        if split:
            splits.setdefault(split.rstrip("_"), []).append(shard)
    return splits


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


def _features(root: Path, shard: Path) -> dict[str, Any]:
    """What the library says of each column: out of the shard's schema, else of dataset_info.json beside it; {} where
    neither says.
    """
    with reading(shard, "a parquet or Arrow file"):
        schema = open_arrow(shard).schema if shard.suffix == ARROW else open_parquet(shard).schema_arrow
    try:
        described = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, ValueError, TypeError):
        beside = next(
            (file for file in (shard.parent / "dataset_info.json", root / "dataset_info.json") if file.is_file()), None
        )
        described = json_of(beside, "an object with features").get("features") if beside is not None else None
    return {name: (described or {}).get(name) or {} for name in schema.names}


def _roles(shard: Path, features: Mapping[str, Any], modality: str | None, given: dict[str, str]) -> dict[str, str]:
    """Which column plays which part: one modality, and label and caption where they are."""
    unknown = next(
        (name for name in (*given, *([modality] if modality else [])) if name not in MODALITIES and name not in ROLES),
        None,
    )
    if unknown is not None:
        raise InputError(
            f"columns: {unknown!r} is neither a modality nor one of {', '.join(ROLES)}; "
            f"expected one of {', '.join(MODALITIES)}"
        )
    absent = next((name for name in given.values() if name not in features), None)
    if absent is not None:
        raise InputError(f"{shard}: has no column {absent!r}; expected one of {', '.join(features)}")
    role = dict(given)
    kinds = [modality] if modality else [name for name in given if name in MODALITIES] or list(KINDS.values())
    for kind in kinds:
        typed = [
            name
            for name, said in features.items()
            if KINDS.get(said.get("_type", "") if isinstance(said, dict) else "") == kind
        ]
        called = [name for name in FILES.get(kind, (kind,)) if name in features]
        if kind not in role and (typed or called):
            role[kind] = (typed or called)[0]
        if kind in role:
            break
    if not any(name in MODALITIES for name in role):
        raise InputError(
            f"{shard}: has columns {', '.join(features)}, none of {modality or 'encoded files'}; "
            f"expected columns={{'image': NAME}} or the like"
        )
    for part, names in (("label", LABELS), ("caption", TEXTS)):
        column = next((name for name in names if name in features and name not in role.values()), None)
        if part not in role and column is not None:
            role[part] = column
    return role


def _labels(shard: Path, told: Sequence[Any], feature: Any) -> tuple[tuple[str, ...], list[int]]:
    """Class names and numbers: named by the schema, or the different texts, sorted."""
    names = feature.get("names") if isinstance(feature, dict) else None
    if any(label is None for label in told):
        raise InputError(f"{shard}: row {list(told).index(None)} has no label; expected one each")
    if all(isinstance(label, str) for label in told):
        called = sorted(set(told))
        return tuple(label.replace("_", " ") for label in called), [called.index(label) for label in told]
    if not names:
        raise InputError(
            f"{shard}: its labels are numbers without names; "
            "expected ClassLabel names in the schema, or a label column of texts"
        )
    wrong = next(
        (row for row, label in enumerate(told) if not isinstance(label, int) or not 0 <= label < len(names)), None
    )
    if wrong is not None:
        raise InputError(f"{shard}: row {wrong} has the label {told[wrong]}; expected 0 to {len(names) - 1}")
    return tuple(str(label).replace("_", " ") for label in names), [int(label) for label in told]


def _captions(told: Any) -> tuple[str, ...]:
    each = told if isinstance(told, list) else [told]
    return tuple(caption.strip() for caption in each if isinstance(caption, str) and caption.strip())


LAYOUT = Layout(load, recognise)
