"""Where a job's samples come from, as a value that travels to worker processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ironbind.data import load_dataset
from ironbind.data.listing import Listing, stratified
from ironbind.numerics.sample_random import seed_of
from ironbind.types import Dataset, InputError

HALVES = ("first", "second")


@dataclass(frozen=True)
class DataSpec:
    """What `load_dataset` is to load. `half`: "first" or "second" of two halves that share no sample and hold the same
    share of every class, cut by `seed`; "" for all. The first is for fitting and training, the second for reporting.
    `limit`: so many of these, of each class its share."""

    data: str = "world"
    path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    half: str = ""
    seed: int = 0
    limit: int | None = None

    def load(self) -> Dataset:
        """Raises InputError for what cannot be loaded, and for halves of data that cannot be cut or of a single sample.
        """
        dataset = self._half(load_dataset(self.data, self.path, **self.options))
        if self.limit is None or not isinstance(dataset, Listing) or self.limit >= len(dataset):
            return dataset
        kept: Any = dataset.keep(stratified(dataset.labels, self.limit, self.seed))
        return kept

    def _half(self, dataset: Dataset) -> Dataset:
        if not self.half:
            return dataset
        if not isinstance(dataset, Listing) or len(dataset) < 2:
            raise InputError(f"data set {dataset.name!r} of {len(dataset)} samples cannot be halved; expected at least two files in folders")
        first = set(stratified(dataset.labels, len(dataset) // 2, seed_of(self.seed, "halves")))
        kept: Any = dataset.keep([row for row in range(len(dataset)) if (row in first) == (self.half == HALVES[0])])
        return kept


def sample_first(dataset: Dataset, limit: int, seed: int) -> Dataset:
    """The same data in an order whose first `limit` samples hold the share of every class that the whole has, drawn by
    `seed`: a task's limit is then fair, and its galleries are whole. Data that cannot be reordered stay as they are."""
    if not isinstance(dataset, Listing) or limit >= len(dataset):
        return dataset
    chosen = stratified(dataset.labels, limit, seed)
    taken = set(chosen)
    kept: Any = dataset.keep([*chosen, *(row for row in range(len(dataset)) if row not in taken)])
    return kept
