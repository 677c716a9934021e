"""Tasks of the benchmark library mteb (Massive Text Embedding Benchmark), written into the cache as mteb loads them:
samples as encoded files, candidate labels, queries, documents, and which match which.

Needs mteb: `pip install 'ironbind[mteb]'`. What is written is read without it (`data/layouts/generic/mteb_task.py`).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ironbind.core.results import write_atomically
from ironbind.data.hubs.cached_samples import encoded_file, file_type, undecoded, write_rows
from ironbind.numerics.content_cache import cache_folder, content_key
from ironbind.types import InputError

# parquet, under names that no other layout reads
TASK, SAMPLES, COUNTERPARTS = "task.json", "samples.rows", "counterparts.rows"
FORMAT = "ironbind mteb task 1"
LETTERS = {"i": "image", "a": "audio", "v": "video", "t": "text"}  # in a task's category: i2t, t2a, va2t
ALL_SUPPORTED = "zero-shot classification of pictures, sounds or clips, and retrieval of one modality by another"


class Part(NamedTuple):
    """Which part of a task: its `subset` (often a language) and `split`, at a `revision` of its data."""

    subset: str
    split: str
    revision: str


def task_named(name: str) -> Any:
    """The task of the installed mteb. Raises InputError without mteb, and for a name that it does not know."""
    try:
        import mteb
    except ImportError as error:
        raise InputError(
            f"mteb/{name}: needs mteb ({error}); expected it installed: pip install 'ironbind[mteb]'"
        ) from None
    try:
        return mteb.get_task(name)
    except KeyError as error:
        told = re.sub(r"^.*?not found", "not found", str(error).strip("'\""))
        raise InputError(f"mteb/{name}: {told}; expected a task of the installed mteb") from None


def part_of(task: Any, split: str | None = None, subset: str | None = None) -> Part:
    """The part of a task that is meant where some is left out: "test" or the only split, "default" or the only subset.
    Raises InputError, naming the choices.
    """
    metadata = task.metadata
    splits, subsets = list(metadata.eval_splits), list(task.hf_subsets or ["default"])
    return Part(
        _chosen(metadata.name, "subset", subset, subsets, "default"),
        _chosen(metadata.name, "split", split, splits, "test"),
        str(metadata.dataset.get("revision") or "none"),
    )


def _chosen(task: str, what: str, wanted: str | None, able: Sequence[str], usual: str) -> str:
    chosen = wanted or (usual if usual in able else able[0] if len(able) == 1 else None)
    if chosen is None or chosen not in able:
        said = f"{what} {chosen!r} is not in it" if chosen else f"has several {what}s"
        raise InputError(f"mteb/{task}: {said}; expected --data-option {what}=... (one of {', '.join(able)})")
    return chosen


def folder_of(name: str, part: Part) -> Path:
    """Where a part of a task lies in the cache."""
    return cache_folder() / "mteb" / f"{name}-{content_key(tuple(part), length=12)}"


def written_task(task: Any, part: Part, folder: Path | None = None) -> Path:
    """The folder with this part of the task, written now where it is not there (None: `folder_of`). Raises InputError
    for data that cannot be loaded, and for tasks of other kinds than ALL_SUPPORTED.
    """
    metadata = task.metadata
    folder = folder_of(metadata.name, part) if folder is None else folder
    if (folder / TASK).is_file():
        return folder
    from mteb.abstasks.retrieval import AbsTaskRetrieval
    from mteb.abstasks.zeroshot_classification import AbsTaskZeroShotClassification

    if not isinstance(task, AbsTaskZeroShotClassification | AbsTaskRetrieval):
        raise _unsupported(metadata)
    if isinstance(task, AbsTaskRetrieval):
        _sides(metadata)  # raises before anything is fetched
    else:
        _input_column(task)
    _load(task)
    about = {"format": FORMAT, "name": metadata.name, **part._asdict()}
    if isinstance(task, AbsTaskZeroShotClassification):
        about |= _write_zero_shot(task, part, folder)
    else:
        about |= _write_retrieval(task, part, folder)
    write_atomically(folder / TASK, json.dumps(about, ensure_ascii=False, indent=1))
    return folder


def _load(task: Any) -> None:
    try:
        task.load_data()
        if hasattr(task, "convert_v1_dataset_format_to_v2"):
            task.convert_v1_dataset_format_to_v2(num_proc=None)
    except Exception as error:  # whatever the hub, a loading script or a decoder throws
        told = " ".join(str(error).split())[:160]
        raise InputError(
            f"mteb/{task.metadata.name}: its data cannot be loaded ({type(error).__name__}: {told}); "
            "expected a network, or the data in the cache of `datasets`"
        ) from error


def _unsupported(metadata: Any) -> InputError:
    return InputError(
        f"mteb/{metadata.name}: is a {metadata.type} task of category {metadata.category}; expected {ALL_SUPPORTED}"
    )


# ---------------------------------------------------------------------------------------------------- classification


def _input_column(task: Any) -> tuple[str, str]:
    """The column of the samples and its modality."""
    kinds = [kind for kind in task.metadata.modalities if kind != "text"]
    column = task.input_column_name
    if not isinstance(column, str) or len(kinds) != 1 or kinds[0] not in LETTERS.values():
        raise _unsupported(task.metadata)
    return column, kinds[0]


def _write_zero_shot(task: Any, part: Part, folder: Path) -> dict[str, Any]:
    import pyarrow as pa

    column, modality = _input_column(task)
    data = _split_of(task, part)
    classes = [str(label) for label in task.get_candidate_labels()]
    number = {label: row for row, label in enumerate(classes)}

    def rows() -> Iterator[dict[str, Any]]:
        for row, sample in enumerate(undecoded(data, column).select_columns([column, task.label_column_name])):
            where = f"mteb/{task.metadata.name}: row {row}"
            label = sample[task.label_column_name]
            label = number.get(label, -1) if isinstance(label, str) else label
            if not isinstance(label, int) or not 0 <= label < len(classes):
                raise InputError(
                    f"{where} has the label {label!r}; expected one of its {len(classes)} candidate labels"
                )
            yield {"id": f"{part.split}/{row}", "file": encoded_file(sample[column], where), "label": label}

    write_rows(folder / SAMPLES, rows(), {"id": pa.string(), "file": file_type(), "label": pa.int64()})
    return {"modality": modality, "classes": classes}


def _split_of(task: Any, part: Part) -> Any:
    data = task.dataset
    data = data[part.subset] if part.subset in data and part.split not in data else data
    if part.split not in data:
        raise InputError(f"mteb/{task.metadata.name}: has no split {part.split!r}; expected one of {', '.join(data)}")
    return data[part.split]


# --------------------------------------------------------------------------------------------------------- retrieval


def _sides(metadata: Any) -> tuple[str, str]:
    """The modalities of queries and documents."""
    asks, _, found = str(metadata.category or "").partition("2")
    if asks not in LETTERS or found not in LETTERS or asks == found == "t":
        raise _unsupported(metadata)
    return LETTERS[asks], LETTERS[found]


def _write_retrieval(task: Any, part: Part, folder: Path) -> dict[str, Any]:
    import pyarrow as pa

    asks, found = _sides(task.metadata)
    data = task.dataset[part.subset][part.split]
    _refuse_other_galleries(task, data)
    judged = {query: [doc for doc, score in docs.items() if score > 0] for query, docs in data["relevant_docs"].items()}
    queries, documents = data["queries"], data["corpus"]
    kept = [row for row, query in enumerate(queries["id"]) if judged.get(query)]
    queries = queries.select(kept)
    row_of = {str(document): row for row, document in enumerate(documents["id"])}
    relevant = [[row_of[str(doc)] for doc in judged[query] if str(doc) in row_of] for query in queries["id"]]
    samples_ask = asks != "text"  # what is perturbed: the query, or the documents that texts ask for
    samples, others = (queries, documents) if samples_ask else (documents, queries)
    if not samples_ask:
        several = next((row for row, rows in enumerate(relevant) if len(rows) != 1), None)
        if several is not None:
            raise InputError(
                f"mteb/{task.metadata.name}: query {queries['id'][several]!r} has {len(relevant[several])} right "
                "documents, of which an attacker hides one; expected one for every query"
            )
        asking: list[list[int]] = [[] for _ in range(len(documents))]
        for query, (row,) in enumerate(relevant):
            asking[row].append(query)
        relevant = asking
    modality = asks if samples_ask else found
    other = found if samples_ask else asks
    columns = {"id": pa.string(), "file": file_type()}
    name = task.metadata.name
    write_rows(
        folder / SAMPLES,
        ({**row, "relevant": rows} for row, rows in zip(_files(name, samples, modality), relevant, strict=True)),
        {**columns, "relevant": pa.list_(pa.int64())},
    )
    about: dict[str, Any] = {"modality": modality, "other": other, "samples_ask": samples_ask}
    if other != "text":
        write_rows(folder / COUNTERPARTS, _files(name, others, other), columns)
        return about
    texts = [_text(row, others.column_names, samples_ask) for row in others]
    return {**about, "ids": [str(name) for name in others["id"]], "texts": texts}


def _refuse_other_galleries(task: Any, data: Mapping[str, Any]) -> None:
    """Raises InputError for tasks whose queries are not all asked in the same, whole gallery."""
    alike = set(map(str, data["queries"]["id"])) & set(map(str, data["corpus"]["id"]))
    reason = (
        "gives each query candidates of its own" if data.get("top_ranked")
        else "leaves out each query's first result" if task.skip_first_result
        else "leaves out the document that is called like the query" if task.ignore_identical_ids and alike
        else ""
    )  # fmt: skip
    if reason:
        raise InputError(f"mteb/{task.metadata.name}: {reason}; expected a task that asks in one whole gallery")


def _files(name: str, data: Any, modality: str) -> Iterator[dict[str, Any]]:
    for row in undecoded(data, modality).select_columns(["id", modality]):
        yield {"id": str(row["id"]), "file": encoded_file(row[modality], f"mteb/{name}: {row['id']}")}


def _text(row: Mapping[str, Any], columns: Sequence[str], document: bool) -> str:
    """The text that a model reads, as mteb joins it: a document's title in front, a query's instruction behind."""
    text = row["text"]
    if not isinstance(text, str):
        raise InputError(
            f"query {row['id']!r} is {type(text).__name__}, not a text; expected tasks without conversations"
        )
    if document:
        title = row.get("title") if "title" in columns else None
        return f"{title} {text}".strip() if title else text.strip()
    instruction = row.get("instruction") if "instruction" in columns else None
    return f"{text} {instruction}" if instruction is not None else text
