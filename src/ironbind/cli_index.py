"""The commands that guard an index: scan, check. `cli` registers them."""

from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated

import typer

from ironbind.cli_progress import Screen

if TYPE_CHECKING:
    from ironbind.index_guard.index_scan import IndexScan, ScanSettings
    from ironbind.index_guard.stored_rows import StoredRows

index_app = typer.Typer(
    help="Guard an index of embeddings: find hubs among its rows, check items before they enter.", no_args_is_help=True
)


class Metric(str, Enum):
    """How an index compares."""

    cosine = "cosine"
    dot = "dot"
    l2 = "l2"


Index = Annotated[
    Path, typer.Argument(help=".npy (float32 rows), .safetensors, .parquet, .faiss; a folder of Qdrant or LanceDB.")
]
Queries = Annotated[
    Path | None,
    typer.Option("--queries", help="Embeddings of queries, in the same forms (default: rows of the index itself)."),
]
Out = Annotated[Path, typer.Option("--out", help="Folder for index.json, index.html and index.md.")]
Natural = Annotated[
    Path | None,
    typer.Option("--natural", help="Rows that are known to be no hubs, to calibrate on (default: the index itself)."),
]
Part = Annotated[
    str | None, typer.Option("--part", help="Which tensor, column, collection or table, where there are several.")
]
Modalities = Annotated[
    str | None, typer.Option("--modalities", help="Modality of each row: a column, or a .txt or .npy with one per row.")
]
QueryPart = Annotated[str | None, typer.Option("--query-part", help="The same of the queries.")]
QueryModalities = Annotated[
    str | None, typer.Option("--query-modalities", help="Modality of each query, in the same way.")
]
MetricOption = Annotated[
    Metric | None, typer.Option("--metric", help="How rows are compared (default: as the store says, else cosine).")
]
K = Annotated[int | None, typer.Option("--k", min=1, help="Rows that a query returns (default: 10).")]
Concepts = Annotated[
    int | None, typer.Option("--concepts", min=1, help="Groups of queries (default: 25 queries each, at most 16).")
]
Sample = Annotated[int, typer.Option("--sample", min=1, help="Ask at most so many queries, drawn by seed.")]
AlertBudget = Annotated[
    float, typer.Option("--alert-budget", min=0.0, max=100.0, help="Per cent of the rows to list for review.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the queries that are drawn, and of their noise.")]


def scan(
    index: Index,
    out: Out,
    queries: Queries = None,
    natural: Natural = None,
    part: Part = None,
    modalities: Modalities = None,
    query_part: QueryPart = None,
    query_modalities: QueryModalities = None,
    metric: MetricOption = None,
    k: K = None,
    concepts: Concepts = None,
    sample: Sample = 5000,
    alert_budget: AlertBudget = 0.2,
    seed: Seed = 0,
) -> None:
    """Score every row of an index by how many queries find it, per concept and per modality, and flag what natural
    rows do not explain. Exit code 1 where a row is flagged, 0 where none is, 2 for bad input.
    """
    from ironbind.index_guard.index_scan import scan_index

    stored = _read(index, part, modalities)
    asked, known = _queries(queries, query_part, query_modalities), _natural(natural)
    settings = _settings(k, concepts, sample, metric, alert_budget, seed)
    _refuse(out)
    screen = Screen()
    with screen:
        found = scan_index(
            stored,
            asked,
            settings,
            known,
            _told(screen, "scan"),
        )
    _tell(found, out)


def check(
    index: Index,
    item: Annotated[Path, typer.Option("--item", help="One item or several, in the same forms as the index.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for index.json, index.html and index.md.")] = None,
    queries: Queries = None,
    natural: Natural = None,
    part: Part = None,
    modalities: Modalities = None,
    query_part: QueryPart = None,
    query_modalities: QueryModalities = None,
    item_modalities: Annotated[
        str | None, typer.Option("--item-modalities", help="Modality of each item, in the same way.")
    ] = None,
    metric: MetricOption = None,
    k: K = None,
    concepts: Concepts = None,
    sample: Sample = 5000,
    alert_budget: AlertBudget = 0.2,
    seed: Seed = 0,
) -> None:
    """Score items before they enter an index, each as if it alone did. Exit code 1 where one is flagged, 0 where none
    is, 2 for bad input.
    """
    from ironbind.index_guard.index_scan import check_items

    stored = _read(index, part, modalities)
    items = _read(item, None, item_modalities, {**ALONE, "--modalities": "--item-modalities"})
    asked, known = _queries(queries, query_part, query_modalities), _natural(natural)
    settings = _settings(k, concepts, sample, metric, alert_budget, seed)
    _refuse(out)
    screen = Screen()
    with screen:
        found = check_items(
            stored,
            items,
            asked,
            settings,
            known,
            _told(screen, "check"),
        )
    _tell(found, out)


ALONE = {"say which with --part": "expected one alone"}


def _read(path: Path, part: str | None, labels: str | None, called: Mapping[str, str] | None = None) -> "StoredRows":
    """The rows of a path. `called`: what the reader's options are called where it is not the index that is read."""
    from ironbind.core.errors import InputError
    from ironbind.index_guard.read_index import read_index

    try:
        return read_index(path, part, labels)
    except InputError as error:
        line = str(error)
        for own, name in (called or {}).items():
            line = line.replace(own, name)
        raise InputError(line) from error


def _queries(path: Path | None, part: str | None, labels: str | None) -> "StoredRows | None":
    called = {"--part": "--query-part", "--modalities": "--query-modalities"}
    return None if path is None else _read(path, part, labels, called)


def _natural(path: Path | None) -> "StoredRows | None":
    return None if path is None else _read(path, None, None, ALONE)


def _refuse(out: Path | None) -> None:
    """Before the work: what cannot be written into."""
    from ironbind.report.index_scan_page import refuse_folder

    if out is not None:
        refuse_folder(out)


index_app.command()(scan)
index_app.command()(check)


def _settings(
    k: int | None, concepts: int | None, sample: int, metric: Metric | None, alert_budget: float, seed: int
) -> "ScanSettings":
    from ironbind.index_guard.index_scan import ScanSettings

    return ScanSettings(k, concepts, sample, None if metric is None else metric.value, alert_budget, seed=seed)


def _told(screen: Screen, job: str) -> Callable[[int, int], None]:
    return lambda done, total: screen(SimpleNamespace(job=job, what="rows compared", done=done, total=total))


def _tell(found: "IndexScan", out: Path | None) -> None:
    """Writes the files, prints the summary, ends with the exit code."""
    from ironbind.report.index_scan_page import index_markdown, write_index_scan

    stored = found.to_dict()
    typer.echo(index_markdown(stored))
    if out is not None:
        write_index_scan(stored, out)
        typer.echo(f"report: {out / 'index.html'}")
    raise typer.Exit(1 if found.flagged else 0)
