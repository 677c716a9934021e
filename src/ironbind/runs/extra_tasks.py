"""The tasks of a job besides zero-shot classification: retrieval, illusions, hubs, each against other modalities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ironbind.core.results import Check
from ironbind.evaluate.tasks.illusion import Gallery, HubTask, IllusionTask
from ironbind.evaluate.tasks.judged_retrieval import JudgedRetrieval, counterparts_of
from ironbind.evaluate.tasks.zero_shot import retrieval
from ironbind.index_guard.index_scan import FEWEST_ROWS as FEWEST_ROWS
from ironbind.index_guard.read_index import read_index
from ironbind.index_guard.similarity import unit
from ironbind.index_guard.stored_rows import refuse_rows_without_direction
from ironbind.runs.guarded_index.guarded_hubs import quiet
from ironbind.runs.prompted_tasks import templates_for
from ironbind.types import Attack, AttackFactory, Dataset, Encoder, Space, StagedAttack, Task


@dataclass(frozen=True)
class HubSpec:
    """A hub attack. `known`: queries that the attacker knows, at most half of them all (None: half). `concept`: only
    queries of that class. `gallery`: the index to stand in, a path (with `part` where it holds several), in place of
    the data's own items. `undetected`: optimised against the guard of the index too.
    """

    known: int | None = None
    concept: str | None = None
    gallery: str | None = None
    part: str | None = None
    undetected: bool = False


@dataclass(frozen=True)
class ExtraTask:
    """`kind`: a key of KINDS. `others`: the modalities on the other side, where data and encoder have them. `limit`: so
    many samples are attacked (galleries stay whole). `everywhere`: at all radii and for every calibration rather than
    at the headline radius for the last one. `attacks`: () for the job's own. `checked`: the attack checks run on it as
    well, for a job that asks nothing else. `hub`: of the kind "hub", what is special about it.
    """

    kind: str
    others: tuple[str, ...] = ("text", "image")
    limit: int | None = None
    everywhere: bool = False
    attacks: tuple[Attack | StagedAttack | AttackFactory, ...] = ()
    checked: bool = False
    hub: HubSpec = HubSpec()

    def tasks(self, encoder: Encoder, dataset: Dataset, modality: str, space: str) -> list[Task]:
        """One task per other modality and direction that data and encoder allow."""
        make = partial(_hubs, spec=self.hub) if self.kind == "hub" else KINDS[self.kind]
        return [
            task
            for other in self.others
            if other != modality or self.kind == "judged_retrieval"  # pictures may ask for pictures
            for task in make(encoder, dataset, modality, space, other, self.limit)
        ]

    def skipped_check(self, scope: str) -> Check:
        """The entry of attack checks that are not run again for these tasks, with the reason."""
        detail = f"not run for {self.kind}: gradients of the same encoder were checked on the zero-shot task"
        return Check("C1-C22", "attack checks", "skipped", detail, f"{scope} {self.kind}")


def _paired(encoder: Encoder, dataset: Dataset, other: str) -> bool:
    return dataset.captions is not None if other == "text" else other in dataset.modalities and other in encoder.inputs


def _retrievals(
    encoder: Encoder, dataset: Dataset, modality: str, space: str, other: str, limit: int | None
) -> Sequence[Task]:
    ways: list[dict[str, Any]] = [{"to": other}, {"of": other}] if _paired(encoder, dataset, other) else []
    return [retrieval(encoder, dataset, modality, space=space, limit=limit, **way) for way in ways]


def _judged_retrieval(
    encoder: Encoder, dataset: Dataset, modality: str, space: str, other: str, limit: int | None
) -> Sequence[Task]:
    """The one task that the data set's judgements describe."""
    if counterparts_of(dataset).modality != other:
        return []
    return [JudgedRetrieval(encoder, dataset, modality, _space(encoder, modality, space), limit)]


def _illusions(
    encoder: Encoder, dataset: Dataset, modality: str, space: str, other: str, limit: int | None
) -> Sequence[Task]:
    """Towards text: the classes, which every labelled data set has; towards a modality: instances of the same data."""
    if other != "text" and not _paired(encoder, dataset, other):
        return []
    return [
        IllusionTask(
            encoder, dataset, modality, _space(encoder, modality, space), limit, other, templates_for(dataset, modality)
        )
    ]


def _hubs(
    encoder: Encoder,
    dataset: Dataset,
    modality: str,
    space: str,
    other: str,
    limit: int | None,
    spec: HubSpec = HubSpec(),
) -> Sequence[Task]:
    if not _paired(encoder, dataset, other):
        return []
    gallery = None
    if spec.gallery is not None:
        stored = read_index(spec.gallery, spec.part)
        refuse_rows_without_direction(stored, "cosine")
        gallery = Gallery(Path(spec.gallery).name, torch.from_numpy(unit(np.array(stored.z))))
    guard = quiet if spec.undetected else None
    place = _space(encoder, modality, space)
    return [HubTask(encoder, dataset, modality, place, limit, other, spec.known, spec.concept, gallery, guard)]


def _space(encoder: Encoder, modality: str, space: str) -> Space:
    return encoder.inputs[modality].space_named(space)


KINDS: dict[str, Callable[[Encoder, Dataset, str, str, str, int | None], Sequence[Task]]] = {
    "retrieval": _retrievals,
    "judged_retrieval": _judged_retrieval,
    "illusion": _illusions,
    "hub": _hubs,
}
