"""Recall of a calibrated encoder in an index that the original encoder built: one entry per calibrated input."""

from collections.abc import Iterable
from typing import NamedTuple

from ironbind.core.results import INDEX, Row


class Search(NamedTuple):
    """Recall in the old index of one modality ("itself": that of the query): `before` with the original encoder's
    queries, `after` with the calibrated one's.
    """

    gallery: str
    before: Row | None
    after: Row


class IndexResult(NamedTuple):
    """One calibration of one input. `cosine`: of new to old clean embeddings."""

    encoder: str
    modality: str
    space: str
    calibration: str
    cosine: Row | None
    searches: tuple[Search, ...]

    def search(self, gallery: str) -> Search | None:
        return next((search for search in self.searches if search.gallery == gallery), None)


ITSELF = "itself"


def index_results(rows: Iterable[Row], metric: str = "R@10") -> list[IndexResult]:
    """The results of all calibrated inputs that were searched in an old index, in the order of the rows."""
    index_rows = [row for row in rows if row.task.startswith(INDEX)]
    before = {(*_where(row), row.task): row for row in index_rows if row.calibration == "none" and row.metric == metric}
    results = []
    for place in dict.fromkeys((*_where(row), row.calibration) for row in index_rows if row.calibration != "none"):
        own_rows = [row for row in index_rows if (*_where(row), row.calibration) == place]
        cosine = next((row for row in own_rows if row.metric == "cosine"), None)
        recall_rows = [row for row in own_rows if row.metric == metric]
        searches = tuple(
            Search(_gallery(row.task, row.modality), before.get((*_where(row), row.task)), row) for row in recall_rows
        )
        results.append(IndexResult(*place, cosine, searches))
    return results


def telling(lines: Iterable[IndexResult]) -> tuple[list[IndexResult], str]:
    """The results in which some recall is not 100 %, of old or new queries; and a sentence about those left out, ""
    where there are none.
    """
    shown: list[IndexResult] = []
    left_out: list[IndexResult] = []
    for line in lines:
        recalls = [row.value for search in line.searches for row in (search.before, search.after) if row]
        (left_out if all(recall == 100 for recall in recalls) else shown).append(line)
    if not left_out:
        return shown, ""
    cosines = sorted(line.cosine.value for line in left_out if line.cosine)
    between = f" (cosines from {cosines[0]:.3f} to {cosines[-1]:.3f})" if cosines else ""
    count = "1 further row is" if len(left_out) == 1 else f"{len(left_out)} further rows are"
    return shown, f"{count} left out: every recall is 100.0 there, with old queries and with new ones{between}."


def galleries(lines: Iterable[IndexResult]) -> tuple[str, ...]:
    """The indexes that were searched: that of the query's own modality first, then text, then others."""
    names = dict.fromkeys(search.gallery for line in lines for search in line.searches)
    return tuple(sorted(names, key=lambda name: (name != ITSELF, name != "text")))


def _where(row: Row) -> tuple[str, str, str]:
    return row.encoder, row.modality, row.space


def _gallery(task: str, modality: str) -> str:
    name = task.removeprefix(INDEX).partition("->")[2]
    return ITSELF if name == modality else name
