"""Data whose samples have several captions (Clotho: five each), as retrieval asks about them.

The field's standard (CLIP4Clip, Luo et al. 2022, arXiv 2104.08860; CLIP's retrieval of Flickr30k and COCO): from text
to items every caption is a query; from an item to text every caption is an entry of the gallery, and one of the item's
own within the first k is a hit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Int
from torch import Tensor

from ironbind.evaluate.tasks.rows_of_samples import RowsOfSamples
from ironbind.types import Dataset


def captions_of(dataset: Dataset) -> Sequence[tuple[str, ...]] | None:
    """Every caption of each sample, at least one; None for data without captions."""
    all_captions: Sequence[tuple[str, ...]] | None = getattr(dataset, "all_captions", None)
    if all_captions is None and dataset.captions is not None:
        return [(caption,) for caption in dataset.captions]
    return all_captions


def has_several_captions(dataset: Dataset) -> bool:
    """Whether any sample has more than one caption."""
    return any(len(captions) > 1 for captions in captions_of(dataset) or ())


@dataclass(frozen=True, eq=False)
class ByCaption(RowsOfSamples):
    """A data set as a list of its captions: row j is one caption, together with the sample it describes (`item[j]` of
    `source`).
    """

    @cached_property
    def _rows(self) -> list[tuple[int, int]]:
        return [
            (item, number)
            for item, captions in enumerate(captions_of(self.source) or ())
            for number in range(len(captions))
        ]

    @cached_property
    def item(self) -> list[int]:
        """The sample that each caption belongs to; captions of one sample are neighbours."""
        return [item for item, _ in self._rows]

    @cached_property
    def ids(self) -> list[str]:
        """The sample's id and the caption's number, counted from 1."""
        return [f"{self.source.ids[item]} caption {number + 1}" for item, number in self._rows]

    @cached_property
    def captions(self) -> list[str]:
        all_captions = captions_of(self.source) or ()
        return [all_captions[item][number] for item, number in self._rows]

    @property
    def fingerprint(self) -> str:
        return f"{self.source.fingerprint} by caption"

    def own(self, samples: Sequence[int]) -> Int[Tensor, "b t"]:
        """Rows of all captions of each of these samples of `source`; the first is repeated where others have more."""
        rows_of: dict[int, list[int]] = {}
        for row, item in enumerate(self.item):
            rows_of.setdefault(item, []).append(row)
        most = max(map(len, rows_of.values()))
        return torch.tensor([rows_of[item] + rows_of[item][:1] * (most - len(rows_of[item])) for item in samples])
