"""A scan: every row of an index, by what queries find; and single items before they enter.

Letters: n = rows, q = queries, r = rows counted.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from ironbind import __version__
from ironbind.core.errors import InputError
from ironbind.index_guard.baseline import FALSE_ALARMS, Baseline, baseline_of, threshold
from ironbind.index_guard.copies import first_of_copies, with_copies
from ironbind.index_guard.detectors import effective_concepts
from ironbind.index_guard.natural_tail import FEWEST
from ironbind.index_guard.nearest_rows import Pool, nearest_rows
from ironbind.index_guard.query_set import QuerySet, concepts_of, numbered, sampled_queries, usual_number_of_concepts
from ironbind.index_guard.read_index import Rows, stored_rows
from ironbind.index_guard.retrieval_counts import (
    Counts,
    Groups,
    NoiseSpec,
    NoisyScores,
    counts_of_items,
    counts_of_rows,
)
from ironbind.index_guard.stored_rows import (
    BLOCK,
    StoredRows,
    metric_of,
    refuse_other_width,
    refuse_rows_without_direction,
)

POOL = 4  # times k: rows of which a noisy query chooses
FEWEST_ROWS = 20
TELLING_LENGTH = 2.0  # of the longest row, relative to the median


@dataclass(frozen=True)
class ScanSettings:
    """`k`: how many rows a query returns (None: 10, fewer for an index below 200 rows). `concepts`: groups of queries
    (None: 25 queries each, at most 16). `queries`: at most so many are drawn. `metric`: cosine, dot or l2 (None: what
    the store says, else cosine). `alert_budget`: per cent of the rows listed for review. `noise`: of queries, for the
    detector of stability.
    """

    k: int | None = None
    concepts: int | None = None
    queries: int = 5000
    metric: str | None = None
    alert_budget: float = 0.2
    noise: NoiseSpec = field(default_factory=NoiseSpec)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.alert_budget <= 100:
            raise InputError(f"alert budget {self.alert_budget} %: expected more than 0 and at most 100")
        if (self.k is not None and self.k < 1) or (self.concepts is not None and self.concepts < 1) or self.queries < 1:
            raise InputError(f"{self} cannot be used; expected k, concepts and queries of 1 or more")


@dataclass(frozen=True, eq=False)
class Suspect:
    """A row or an item and why: `score`, its number of queries as `count` and as `share` of all, the share of them
    `kept` under noise, the effective number of `concepts` they come from, the detectors' values and surprise.
    """

    row: int
    key: str | None
    score: float
    count: int
    share: float
    kept: float
    concepts: float
    values: dict[str, float]
    surprise: dict[str, float]

    @property
    def reason(self) -> str:
        """The detector that speaks loudest."""
        return max(self.surprise, key=lambda name: self.surprise[name])


@dataclass(frozen=True, eq=False)
class IndexScan:
    """`scores`: one per row (or item), 0 for a row that no query finds. `flagged`: those at or above `threshold`, the
    most suspicious first. `review`: the `alert_budget` per cent with the largest scores, whether flagged or not.
    """

    what: str
    index: str
    rows: int
    dim: int
    metric: str
    k: int
    concepts: int
    queries: int
    query_source: str
    natural_source: str
    threshold: float
    alert_budget: float
    seed: int
    scores: Float[np.ndarray, " n"]
    flagged: tuple[int, ...]
    review: tuple[int, ...]
    suspects: tuple[Suspect, ...]
    remarks: tuple[str, ...]
    frequencies: dict[int, int]

    def to_dict(self) -> dict[str, Any]:
        """What `index.json` holds."""
        return {
            "ironbind": __version__,
            "what": self.what,
            "index": {"source": self.index, "rows": self.rows, "dim": self.dim, "metric": self.metric},
            "queries": {"source": self.query_source, "number": self.queries, "concepts": self.concepts},
            "k": self.k,
            "seed": self.seed,
            "natural": self.natural_source,
            "false_alarms": FALSE_ALARMS,
            "threshold": round(self.threshold, 4),
            "alert_budget": self.alert_budget,
            "remarks": list(self.remarks),
            "flagged": list(self.flagged),
            "review": list(self.review),
            "suspects": [
                {
                    "row": each.row,
                    "key": each.key,
                    "score": round(each.score, 4),
                    "reason": each.reason,
                    "count": each.count,
                    "share": round(each.share, 6),
                    "kept": round(each.kept, 4),
                    "concepts": round(each.concepts, 4),
                    "values": {name: round(value, 4) for name, value in each.values.items()},
                    "surprise": {name: round(value, 4) for name, value in each.surprise.items()},
                }
                for each in self.suspects
            ],
            "frequencies": {str(count): rows for count, rows in self.frequencies.items()},
            "scores": [round(score, 4) for score in self.scores.tolist()],
        }


@dataclass(frozen=True, eq=False)
class Looked:
    """An index that queries have looked through: what a scan and a check of items both begin with. `first`: of every
    row the first one that is equal; `counts` are those of first rows.
    """

    index: StoredRows
    queries: QuerySet
    pool: Pool
    groups: Groups
    counts: Counts
    noisy: NoisyScores
    baseline: Baseline
    metric: str
    k: int
    settings: ScanSettings
    natural_source: str
    remarks: tuple[str, ...]
    first: Int[np.ndarray, " n"]

    @property
    def limit(self) -> float:
        """The score from which rows and items are flagged."""
        return threshold(int((self.first == np.arange(len(self.first))).sum()))

    @property
    def every(self) -> Counts:
        """The counts of all rows that are found, copies too."""
        return with_copies(self.counts, self.first)

    def counts_of(self, items: StoredRows) -> Counts:
        """The counts of items, each as if it alone entered the index. Those of no modality, or of one that the index
        does not hold, are compared with all rows.
        """
        refuse_other_width(items, self.index)
        refuse_rows_without_direction(items, self.metric)
        names = {name: number for number, name in enumerate(self.groups.row_modalities)}
        unnamed = 0 if self.index.labels is None else -1
        labels = [names.get(label, -1) for label in items.labels] if items.labels else [unnamed] * len(items)
        return counts_of_items(
            items.z, np.array(labels), self.queries, self.pool, self.noisy, self.groups, self.metric, self.k
        )

    def result(self, what: str, counts: Counts, size: int, keys: tuple[str, ...] | None) -> IndexScan:
        """The scan of `counts`, which are of some of `size` rows or items."""
        scores = np.zeros(size)
        by_row = self.baseline.scores(counts)
        scores[counts.rows] = by_row
        limit, every = self.limit, self.every
        order = sorted(range(len(counts.rows)), key=lambda at: (-by_row[at], -counts.total[at], counts.rows[at]))
        flagged = [at for at in order if by_row[at] >= limit]
        reviewed = order[: max(1, int(self.settings.alert_budget / 100 * size))] if what == "scan" else order
        diversity = effective_concepts(self.counts, counts)
        values, surprise = self.baseline.values(counts), self.baseline.surprise(counts)
        suspects = tuple(
            Suspect(
                int(counts.rows[at]),
                keys[int(counts.rows[at])] if keys else None,
                float(by_row[at]),
                int(counts.total[at]),
                float(counts.total[at] / len(self.queries)),
                float(counts.kept[at] / max(1, counts.total[at])),
                float(diversity[at]),
                {name: float(column[at]) for name, column in values.items()},
                {name: float(column[at]) for name, column in surprise.items()},
            )
            for at in (flagged if len(flagged) > len(reviewed) else reviewed)
        )
        numbers, rows = np.unique(every.total, return_counts=True)
        never = len(self.index) - len(every.rows)
        return IndexScan(
            what, self.index.source, len(self.index), self.index.dim, self.metric, self.k, self.groups.concepts,
            len(self.queries), self.queries.source, self.natural_source, limit, self.settings.alert_budget,
            self.settings.seed, scores,
            tuple(int(counts.rows[at]) for at in flagged), tuple(int(counts.rows[at]) for at in reviewed), suspects,
            self.remarks, {0: never, **dict(zip(numbers.tolist(), rows.tolist(), strict=True))},
        )  # fmt: skip


def look_through(
    index: StoredRows,
    queries: StoredRows | None,
    settings: ScanSettings,
    natural: StoredRows | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Looked:
    """Every query's nearest rows, counted; and what is natural there. `queries`: None for rows of the index itself.
    `natural`: rows that are known to be no hubs, such as held-out ones, to calibrate on. Raises InputError for rows
    that cannot be compared.
    """
    metric = metric_of(index, settings.metric)
    for rows in (index, *([queries] if queries else []), *([natural] if natural else [])):
        refuse_rows_without_direction(rows, metric)
        refuse_other_width(rows, index)
    if natural is not None and len(natural) < FEWEST:
        raise InputError(f"{natural.source}: holds {len(natural)} rows; what is natural can be told from {FEWEST} on")
    first = first_of_copies(index)
    distinct, different = np.flatnonzero(first == np.arange(len(first))), ""
    if len(distinct) < len(index):
        different = "different "
    if len(distinct) < FEWEST_ROWS:
        raise InputError(
            f"{index.source}: holds {len(distinct)} {different}rows; what is usual can be told from {FEWEST_ROWS} on"
        )
    remarks = []
    if different:
        remarks.append(
            f"{len(index) - len(distinct)} of {len(index)} rows are copies of others; copies are counted as one row"
        )
    among = distinct if queries is None else None
    asked = sampled_queries(queries or index, settings.queries, settings.seed, queries is None, among)
    if queries is None:
        remarks.append(f"no queries were given: {asked.source} are asked instead, which do not find themselves")
    if settings.metric is None and index.metric is None:
        remarks += _remark_on_lengths(index)
    k = settings.k or min(10, max(1, len(distinct) // FEWEST_ROWS))
    if k >= len(distinct) - 1:
        raise InputError(f"--k {k}: the index holds {len(distinct)} {different}rows; expected fewer")
    wanted = settings.concepts or usual_number_of_concepts(len(asked))
    concept = concepts_of(asked, wanted)
    groups = Groups(
        concept, int(concept.max()) + 1, *numbered(asked.labels, len(asked)), *numbered(index.labels, len(index))
    )
    depth = min(POOL * k, len(distinct) - 1)
    pool = nearest_rows(index, asked.z, metric, depth, asked.own, progress, copies_in(first))
    counts, noisy = counts_of_rows(index, asked, pool, groups, metric, k, settings.noise)
    own, told = baseline_of(counts, len(distinct)), tuple(remarks)
    looked = Looked(
        index, asked, pool, groups, counts, noisy, own, metric, k, settings, "the index itself", told, first
    )
    if natural is None:
        return looked
    fitted = baseline_of(counts, len(distinct), looked.counts_of(natural))
    return replace(looked, baseline=fitted, natural_source=f"{len(natural)} rows of {natural.source}")


def copies_in(first: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"] | None:
    """Which rows are copies of an earlier one; None where none is."""
    copies = first != np.arange(len(first))
    return copies if copies.any() else None


def _remark_on_lengths(index: StoredRows) -> list[str]:
    """What to say where nobody said how the index compares, and it would matter: by inner product a long row is near
    to everything.
    """
    squares = np.concatenate(
        [
            np.square(index.z[first : first + BLOCK], dtype=np.float64).sum(axis=1)
            for first in range(0, len(index), BLOCK)
        ]
    )
    longest = int(np.argmax(squares))
    ratio = math.sqrt(squares[longest] / float(np.median(squares)))
    if ratio < TELLING_LENGTH:
        return []
    return [f"row {longest} is {ratio:.1f} times as long as the median; compared by inner product, as `--metric dot` "
            "does, that would count"]  # fmt: skip


def scan_index(
    index: Rows,
    queries: Rows | None = None,
    settings: ScanSettings | None = None,
    natural: Rows | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> IndexScan:
    """The scan of a whole index: `index.flagged` of its rows are hubs that natural rows do not explain.

    `index`: an array of float32 rows, a path of anything that `ironbind index scan` reads, or StoredRows with labels.
    `queries`, in the same forms: those that the index is asked (None: some of its own rows). `natural`: rows that are
    known to be no hubs, to calibrate on (None: the index itself). `progress(done, total)` counts rows. Raises
    InputError for rows that cannot be compared.
    """
    stored = stored_rows(index, "index")
    looked = look_through(
        stored, _optional(queries, "queries"), settings or ScanSettings(), _optional(natural, "natural rows"), progress
    )
    return looked.result("scan", looked.every, len(stored), stored.keys)


def _optional(rows: Rows | None, name: str) -> StoredRows | None:
    return None if rows is None else stored_rows(rows, name)


def check_items(
    index: Rows,
    items: Rows,
    queries: Rows | None = None,
    settings: ScanSettings | None = None,
    natural: Rows | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> IndexScan:
    """Items before they enter, each as if it alone did; the rows of the result are numbers of items. Takes and raises
    what `scan_index` does.
    """
    stored, entering = stored_rows(index, "index"), stored_rows(items, "items")
    refuse_other_width(entering, stored)
    refuse_rows_without_direction(entering, metric_of(stored, None if settings is None else settings.metric))
    looked = look_through(
        stored, _optional(queries, "queries"), settings or ScanSettings(), _optional(natural, "natural rows"), progress
    )
    return looked.result("check", looked.counts_of(entering), len(entering), entering.keys)
