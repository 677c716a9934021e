"""Retrieval as benchmarks publish it: queries, documents, and judgements of which match. A document may be right for
several queries or for none, and a query may have several right ones.

Metrics R@1, R@5, R@10: the share of queries with a right document among the first k (mteb's hit_rate_at_k).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.evaluate.inputs.prepared import load_native
from ironbind.evaluate.tasks.base import BaseTask, clean_of
from ironbind.evaluate.tasks.rows_of_samples import RowsOfSamples
from ironbind.evaluate.tasks.text_centers import fingerprint
from ironbind.goals.misclassify import Misclassify
from ironbind.goals.miss_retrieved import MissRetrieved
from ironbind.numerics.batching import products
from ironbind.types import ClassCenters, Counterparts, Dataset, InputError


@dataclass(frozen=True, eq=False)
class ByQuery(RowsOfSamples):
    """A data set whose samples are documents, as a list of the queries that ask for them: row j is one query, together
    with the one sample that is right for it (`item[j]` of `source`).
    """

    @property
    def queries(self) -> Counterparts:
        return counterparts_of(self.source)

    @cached_property
    def _asked(self) -> list[tuple[int, int]]:
        """Query and sample, in the order of queries."""
        pairs = [(query, item) for item, queries in enumerate(self.queries.relevant) for query in queries]
        return sorted(pairs)

    @cached_property
    def query(self) -> list[int]:
        """The row of each query among the counterparts."""
        return [query for query, _ in self._asked]

    @cached_property
    def item(self) -> list[int]:
        """The sample that is right for each query."""
        return [item for _, item in self._asked]

    @cached_property
    def ids(self) -> list[str]:
        """Those of the queries."""
        return [self.queries.ids[query] for query in self.query]

    @property
    def captions(self) -> None:
        return None

    @property
    def fingerprint(self) -> str:
        return f"{self.source.fingerprint} by query"


def counterparts_of(dataset: Dataset) -> Counterparts:
    """What the data set's samples are matched with. Raises InputError where it has no judgements."""
    counterparts: Counterparts | None = getattr(dataset, "counterparts", None)
    if counterparts is None:
        raise InputError(f"data set {dataset.name!r} has no judged counterparts; expected a retrieval task's")
    return counterparts


@dataclass(frozen=True, eq=False, repr=False)
class JudgedRetrieval(BaseTask):
    """Which document: R@1, R@5, R@10, mean rank, by a data set's judgements. Where its samples ask, the perturbed query
    is compared with all clean documents, and the best of its own counts; where they are the documents, each query is
    asked while its own document is perturbed and all others are clean.
    """

    metrics = (("R@1", 1), ("R@5", 5), ("R@10", 10))

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.dataset, ByQuery):
            return
        other = counterparts_of(self.dataset)
        if other.modality != "text" and other.modality not in self.encoder.inputs:
            able = ", ".join(self.encoder.inputs)
            raise InputError(
                f"encoder {self.encoder.name!r} does not take modality {other.modality!r}; it takes {able}"
            )
        if not other.samples_ask:
            object.__setattr__(self, "dataset", ByQuery(self.dataset))

    @property
    def items(self) -> Dataset:
        """The data set that holds what is perturbed."""
        return self.dataset.source if isinstance(self.dataset, ByQuery) else self.dataset

    @property
    def other(self) -> Counterparts:
        """The clean side."""
        return counterparts_of(self.items)

    @property
    def name(self) -> str:
        """ "retrieval:query->gallery"."""
        pair = (self.modality, self.other.modality)
        return f"retrieval:{pair[0]}->{pair[1]}" if self.other.samples_ask else f"retrieval:{pair[1]}->{pair[0]}"

    def _item(self, indices: Sequence[int]) -> list[int]:
        return [self.dataset.item[index] for index in indices] if isinstance(self.dataset, ByQuery) else list(indices)

    def native(self, indices: Sequence[int]) -> Float[Tensor, "b ..."]:
        """As `BaseTask.native`; an item is decoded once however many queries ask for it."""
        return load_native(self.encoder, self.items, self.modality, self._item(indices))

    @cached_property
    def _counterparts(self) -> Float[Tensor, "m d"]:
        """Clean embeddings of the other side."""
        other: Any = self.other if self.other.samples is None else self.other.samples
        return clean_of(self.encoder, other, self.other.modality)

    @cached_property
    def centers(self) -> ClassCenters:
        """The clean other side as a gallery: counterpart i is class i."""
        rows = torch.arange(len(self.other.ids), device=self.device)
        return ClassCenters(self._counterparts, rows, tuple(self.other.ids))

    @cached_property
    def question(self) -> str:
        judged = fingerprint(torch.tensor([row for rows in self.other.relevant for row in (-1, *rows)]))
        rivals = "" if self.other.samples_ask else fingerprint(clean_of(self.encoder, self.items, self.modality))
        return f"judged {self.name} {fingerprint(self._counterparts)} {judged} {rivals}"

    def goal(self, indices: Sequence[int], k: int = 1) -> Misclassify | MissRetrieved:
        """Keep what is right for these samples or queries out of the top k."""
        if not isinstance(self.dataset, ByQuery):
            own = [self.other.relevant[index] for index in indices]
            most = max(map(len, own))
            rows = torch.tensor([[*right, *right[:1] * (most - len(right))] for right in own], device=self.device)
            return Misclassify(self.centers, rows[:, 0], k, also=rows[:, 1:] if most > 1 else None)
        query = self._counterparts[[self.dataset.query[index] for index in indices]]
        others = products(query, clean_of(self.encoder, self.items, self.modality))
        item = torch.tensor(self._item(indices), device=self.device)
        keep = torch.ones_like(others, dtype=torch.bool).scatter(1, item[:, None], False)
        return MissRetrieved(query, others[keep].reshape(len(query), -1), k)

    def paired(self, indices: Sequence[int]) -> dict[str, Float[Tensor, "b d"]]:
        """Nothing: matches are not one to one."""
        return {}
