"""A task of mteb as a data set: zero-shot classification among its candidate labels, retrieval by its judgements.

Read from the cache, into which mteb writes a task once (`data/hubs/mteb_files.py`).
"""

from pathlib import Path
from typing import Any

from ironbind.data.hubs.mteb_files import (
    COUNTERPARTS,
    FORMAT,
    SAMPLES,
    TASK,
    Part,
    folder_of,
    part_of,
    task_named,
    written_task,
)
from ironbind.data.layout import Layout
from ironbind.data.list_by_ranks import fetched_by_first
from ironbind.data.list_files import json_of
from ironbind.data.listing import UNLABELLED, Listing
from ironbind.data.storage.packed import RowsOfFiles
from ironbind.data.storage.parquet import ParquetRows, open_parquet
from ironbind.modalities import MODALITIES
from ironbind.modalities.reading import reading
from ironbind.types import Counterparts, InputError

EXPECTED = "the name of a task of the installed mteb, or a folder that was written from one"
SUFFIX = {"image": ".png", "audio": ".wav", "video": ".mp4"}


def load(
    path: str | Path | None,
    *,
    split: str | None = None,
    subset: str | None = None,
    revision: str | None = None,
) -> Listing:
    """The samples of the mteb task called `path`, or of a folder in which one was written.

    `split`, `subset` (often a language): which part (None: "test", "default", or the only one); `revision` of its data
    (None: the one that the installed mteb names). Classes are the candidate labels, and are whole prompts. The samples
    of a retrieval task have `counterparts`. Raises InputError.
    """
    if path is None:
        raise InputError(f"path is missing: the data set 'mteb' is a task; expected {EXPECTED}")
    name = str(path)
    return _listing(fetched_by_first(lambda: _folder(name, split, subset, revision)))


def _folder(path: str, split: str | None, subset: str | None, revision: str | None) -> Path:
    if (Path(path) / TASK).is_file():
        return Path(path)
    if split and subset and revision:  # all that mteb would be asked for is known
        folder = folder_of(path, Part(subset, split, revision))
        if (folder / TASK).is_file():
            return folder
    task = task_named(path)
    return written_task(task, part_of(task, split, subset))


def recognise(path: Path) -> str | None:
    """A folder that was written from a task."""
    return f"it holds {TASK} of an mteb task" if (path / TASK).is_file() and (path / SAMPLES).is_file() else None


def _listing(folder: Path) -> Listing:
    expected = f"what ironbind writes of an mteb task ({FORMAT})"
    about = json_of(folder / TASK, expected)
    try:
        if about["format"] != FORMAT:
            raise KeyError("format")
        modality, columns = about["modality"], ("label",) if "classes" in about else ("relevant",)
        ids, source, values = _samples(folder, SAMPLES, modality, columns)
        counterparts = None
        if "classes" not in about:
            counterparts = _counterparts(folder, about, values["relevant"])
        classes = tuple(str(name) for name in about["classes"]) if "classes" in about else UNLABELLED
        labels = [int(label) for label in values["label"]] if "classes" in about else [0] * len(ids)
        name, note = (
            str(about["name"]),
            f"subset {about['subset']}, split {about['split']}, revision {about['revision']}",
        )
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise InputError(f"{folder / TASK}: cannot be used ({error!r:.80}); expected {expected}") from error
    return Listing(
        name, classes, ids, labels, {modality: source}, templates=("{}",), notes=(note,), counterparts=counterparts
    )  # fmt: skip


def _counterparts(folder: Path, about: dict[str, Any], relevant: list[list[int]]) -> Counterparts:
    rows = [tuple(int(row) for row in of_sample) for of_sample in relevant]
    other, samples_ask = about["other"], bool(about["samples_ask"])
    if other == "text":
        ids, texts, samples = [str(name) for name in about["ids"]], [str(text) for text in about["texts"]], None
    else:
        ids, source, _ = _samples(folder, COUNTERPARTS, other, ())
        texts = None
        samples = Listing(f"{about['name']} {other}", UNLABELLED, ids, [0] * len(ids), {other: source})
    wrong = next((row for of_sample in rows for row in of_sample if not 0 <= row < len(ids)), None)
    if wrong is not None or (texts is not None and len(texts) != len(ids)):
        raise ValueError(f"counterpart {wrong} of {len(ids)}")
    return Counterparts(ids, texts, samples, rows, samples_ask)  # type: ignore[arg-type]


def _samples(
    folder: Path, file: str, modality: str, columns: tuple[str, ...]
) -> tuple[list[str], ParquetRows, dict[str, list[Any]]]:
    with reading(folder / file, "a parquet file of samples"):
        table = open_parquet(folder / file).read(columns=["id", *columns])
        ids, values = table.column("id").to_pylist(), {name: table.column(name).to_pylist() for name in columns}
    members = RowsOfFiles.whole([(file, len(ids))])
    read = MODALITIES[modality].read
    return ids, ParquetRows(folder, members, "file.bytes", read, SUFFIX.get(modality, "")), values


LAYOUT = Layout(load, recognise)
