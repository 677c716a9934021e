"""What an index built with the original encoder still gives to a calibrated one: one line per calibrated input."""

from collections.abc import Iterable
from typing import NamedTuple

from ironbind.core.results import INDEX, Row


class Search(NamedTuple):
    """Recall at 10 in the old index of one modality ("itself": of the query's own): the original encoder's queries, and
    the calibrated one's.
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
        return next((one for one in self.searches if one.gallery == gallery), None)


ITSELF = "itself"


def served(rows: Iterable[Row], metric: str = "R@10") -> list[IndexResult]:
    """All calibrated inputs whose rows say how an old index serves them, in the order of the rows."""
    held = [row for row in rows if row.task.startswith(INDEX)]
    before = {(*_where(row), row.task): row for row in held if row.calibration == "none" and row.metric == metric}
    found = []
    for place in dict.fromkeys((*_where(row), row.calibration) for row in held if row.calibration != "none"):
        mine = [row for row in held if (*_where(row), row.calibration) == place]
        cosine = next((row for row in mine if row.metric == "cosine"), None)
        asked = [row for row in mine if row.metric == metric]
        searches = tuple(
            Search(_gallery(row.task, row.modality), before.get((*_where(row), row.task)), row) for row in asked
        )
        found.append(IndexResult(*place, cosine, searches))
    return found


def galleries(lines: Iterable[IndexResult]) -> tuple[str, ...]:
    """The indexes that any line was asked in: its own first, then text, then others."""
    names = dict.fromkeys(one.gallery for line in lines for one in line.searches)
    return tuple(sorted(names, key=lambda name: (name != ITSELF, name != "text")))


def _where(row: Row) -> tuple[str, str, str]:
    return row.encoder, row.modality, row.space


def _gallery(task: str, modality: str) -> str:
    name = task.removeprefix(INDEX).partition("->")[2]
    return ITSELF if name == modality else name
