"""A data set with more rows than samples: each row is one sample, and something that is asked about it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ironbind.types import Dataset, Decoded


@dataclass(frozen=True, eq=False)
class RowsOfSamples(ABC):
    """Row j shows the sample `item[j]` of `source`. What a row is called, and what is told of it, says the kind."""

    source: Dataset

    @property
    @abstractmethod
    def item(self) -> Sequence[int]:
        """The sample of each row."""

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.source.modalities

    @property
    def classes(self) -> tuple[str, ...]:
        return self.source.classes

    @cached_property
    def labels(self) -> list[int]:
        return [self.source.labels[item] for item in self.item]

    @property
    def templates(self) -> Sequence[str] | None:
        return self.source.templates

    def __len__(self) -> int:
        return len(self.item)

    def decode(self, modality: str, indices: Sequence[int]) -> list[Decoded]:
        return self.source.decode(modality, [self.item[index] for index in indices])
