"""Where a job's samples come from, as a value that travels to worker processes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ironbind.data import load_dataset
from ironbind.data.listing import Listing, stratified
from ironbind.numerics.sample_random import seed_of
from ironbind.types import Dataset, InputError

HALVES = ("first", "second")


@dataclass(frozen=True)
class DataSpec:
    """The arguments of `load_dataset`: `layout`, `path` and the layout's own `options`.

    `half`: "first" or "second" of two halves that share no sample and hold the same share of every class, cut by
    `seed`; "" for all. The first is for fitting and training, the second for reporting. `limit`: so many of these, of
    each class its share. `whole_gallery`: keep all, in an order whose first `limit` samples hold those shares: a task
    then attacks only these, and its galleries are whole.
    """

    layout: str = "world"
    path: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    half: str = ""
    limit: int | None = None
    whole_gallery: bool = False
    seed: int = 0

    @property
    def attacked(self) -> int | None:
        """How many of the loaded samples a task attacks; None for all."""
        return self.limit if self.whole_gallery else None

    def load(self) -> Dataset:
        """Raises InputError for what cannot be loaded, and for halves of data that cannot be cut or of a single
        sample.
        """
        if self.limit is not None and not self.half and not self.whole_gallery and self.layout != "world":
            # before anything else that a loader may do with what is left
            return load_dataset(self.layout, self.path, **{**self.options, "limit": self.limit, "seed": self.seed})
        dataset = self._half(load_dataset(self.layout, self.path, **self.options))
        if self.limit is None or not isinstance(dataset, Listing) or self.limit >= len(dataset):
            return dataset
        chosen = stratified(dataset.labels, self.limit, self.seed)
        if self.whole_gallery:
            taken = set(chosen)
            chosen = [*chosen, *(row for row in range(len(dataset)) if row not in taken)]
        subset: Any = dataset.keep(chosen)
        return subset

    def _half(self, dataset: Dataset) -> Dataset:
        if not self.half:
            return dataset
        if not isinstance(dataset, Listing) or len(dataset) < 2:
            raise InputError(
                f"data set {dataset.name!r} of {len(dataset)} samples cannot be halved; expected at least "
                "two files in folders"
            )
        first = set(stratified(dataset.labels, len(dataset) // 2, seed_of(self.seed, "halves")))
        half: Any = dataset.keep([row for row in range(len(dataset)) if (row in first) == (self.half == HALVES[0])])
        return half

    def first_half(self, limit: int | None = None) -> "DataSpec":
        """The half to fit or train on."""
        return replace(self, half=HALVES[0], limit=limit, whole_gallery=False)
