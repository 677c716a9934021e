"""The two basic tasks: zero-shot classification, and cross-modal retrieval in both directions.

A retrieval task perturbs one modality, as the query ("audio->text") or as the gallery item ("text->audio"); the other
side stays clean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.evaluate.inputs.prepared import load_native
from ironbind.evaluate.tasks.base import BaseTask as BaseTask
from ironbind.evaluate.tasks.base import clean_of
from ironbind.evaluate.tasks.base import embed_all as embed_all
from ironbind.evaluate.tasks.captions import ByCaption, has_several_captions
from ironbind.evaluate.tasks.class_centers import check_labels, distinguishable, reordered, usable
from ironbind.evaluate.tasks.text_centers import fingerprint as fingerprint
from ironbind.evaluate.tasks.text_centers import kept_text_centers
from ironbind.goals.misclassify import Misclassify
from ironbind.goals.miss_retrieved import MissRetrieved
from ironbind.numerics.batching import products
from ironbind.numerics.metrics import class_scores
from ironbind.types import ClassCenters, Dataset, Encoder, InputError, checked_encoder


@dataclass(frozen=True, eq=False, repr=False)
class ZeroShot(BaseTask):
    """Which class: the nearest class center. Metrics top1, top5, mean rank.

    Centers are `given_centers` (of these classes and any others, matched by name), else what `build` makes for an
    encoder and data, else built from `templates`.
    """

    given_centers: ClassCenters | None = field(default=None, repr=False)
    templates: tuple[str, ...] = ("{}",)
    build: Callable[[Encoder, Dataset], ClassCenters] | None = field(default=None, repr=False)

    name = "zero_shot"
    metrics = (("top1", 1), ("top5", 5))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labels(self.dataset)
        if self.given_centers is not None:
            reordered(usable(self.given_centers, self.encoder), self.dataset)  # refused before anything runs

    @cached_property
    def centers(self) -> ClassCenters:
        """Class centers in the order of the data's classes, unit rows in float32; text-built unless given. They belong
        to the frozen text side and stay what they are under calibration. Raises InputError for centers that are zero,
        not finite or of another width, and where more than half of the classes cannot be told apart.
        """
        if self.given_centers is not None:
            centers = self.given_centers
        elif self.build is not None:
            centers = self.build(self.encoder, self.dataset)
        else:
            return kept_text_centers(self.encoder, self.dataset.classes, self.templates).to(self.device)
        centers = reordered(usable(centers, self.encoder), self.dataset)
        return distinguishable(centers, self.encoder).to(self.device)

    @cached_property
    def question(self) -> str:
        """Identifies the question and its reference points, for the verdict store."""
        return f"zero_shot {fingerprint(self.centers.z)} {list(self.centers.label.tolist())}"

    def _labels(self, indices: Sequence[int]) -> Tensor:
        return torch.tensor([self.dataset.labels[index] for index in indices], device=self.device)

    def goal(self, indices: Sequence[int], k: int = 1) -> Misclassify:
        """Keep the true class of these samples out of the top k."""
        return Misclassify(self.centers, self._labels(indices), k)

    @property
    def pairs(self) -> tuple[str, ...]:
        """What the data pairs this modality with: image, text (captions), both or neither."""
        modalities = [
            modality
            for modality in ("image",)
            if modality in self.dataset.modalities and modality in self.encoder.inputs and modality != self.modality
        ]
        return (*modalities, *(["text"] if self.dataset.captions is not None else []))

    def paired(self, indices: Sequence[int]) -> dict[str, Float[Tensor, "b d"]]:
        """Clean embeddings of the same instances in the modalities of `pairs`."""
        return {modality: self.clean(modality)[list(indices)] for modality in self.pairs}

    def answers(self, z: Float[Tensor, "b d"], top: int = 3) -> list[list[tuple[str, float]]]:
        """The `top` best classes of each embedding with their cosines, best first."""
        best = class_scores(z, self.centers).topk(min(top, len(self.centers)), dim=1)
        names = self.centers.names
        return [
            [(names[int(c)], float(score)) for score, c in zip(scores, classes, strict=True)]
            for scores, classes in zip(best.values, best.indices, strict=True)
        ]


@dataclass(frozen=True, eq=False, repr=False)
class Retrieval(BaseTask):
    """Which item: R@1, R@5, R@10, mean rank, between the perturbed modality and a clean `other` one.

    `perturbed_is_query`: True asks perturbed -> other (each perturbed query against the whole clean gallery); False
    asks other -> perturbed (item i is perturbed, the rest of its gallery is clean). Item i belongs to query i.

    Of data with several captions a sample, asking perturbed -> text means a gallery of all captions, where the best of
    the sample's own counts (the others of its own are no rivals). Asking text -> perturbed means one query a caption:
    `dataset` is then the data by caption, each caption has a verdict of its own, and the attacker hides the item from
    that caption.
    """

    other: str = "text"
    perturbed_is_query: bool = True

    metrics = (("R@1", 1), ("R@5", 5), ("R@10", 10))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.other == "text" and not self.perturbed_is_query and has_several_captions(self.dataset):
            object.__setattr__(
                self, "dataset", ByCaption(self.dataset)
            )  # however the task is built, its samples are its queries

    def _needs(self) -> tuple[str, ...]:
        return (self.modality,) if self.other == "text" else (self.modality, self.other)

    @property
    def name(self) -> str:
        """ "retrieval:query->gallery"."""
        pair = (self.modality, self.other) if self.perturbed_is_query else (self.other, self.modality)
        return f"retrieval:{pair[0]}->{pair[1]}"

    @property
    def items(self) -> Dataset:
        """The data set whose samples are the items; `dataset` but for queries by caption."""
        return self.dataset.source if isinstance(self.dataset, ByCaption) else self.dataset

    @cached_property
    def _captions(self) -> ByCaption | None:
        """All captions, where they are a gallery in which samples have several."""
        return (
            ByCaption(self.dataset)
            if self.other == "text" and self.perturbed_is_query and has_several_captions(self.dataset)
            else None
        )

    def clean(self, modality: str) -> Float[Tensor, "n d"]:
        """As `BaseTask.clean`, of the items; "text": the captions, one row per query."""
        return clean_of(self.encoder, self.dataset if modality == "text" else self.items, modality)

    def _item(self, indices: Sequence[int]) -> list[int]:
        """Numbers in `items` of what these samples or queries belong to."""
        return [self.dataset.item[index] for index in indices] if isinstance(self.dataset, ByCaption) else list(indices)

    def native(self, indices: Sequence[int]) -> Float[Tensor, "b ..."]:
        """As `BaseTask.native`; an item is decoded once however many captions ask for it."""
        return load_native(self.encoder, self.items, self.modality, self._item(indices))

    @cached_property
    def centers(self) -> ClassCenters:
        """The clean other side as a gallery: item i is class i (with several captions a sample: caption i)."""
        gallery: Any = self._captions or self.items
        z = clean_of(self.encoder, gallery, self.other)
        return ClassCenters(z, torch.arange(len(gallery), device=self.device), tuple(gallery.ids))

    @cached_property
    def question(self) -> str:
        if self._captions is not None:
            return f"{self.name} {fingerprint(self.centers.z)} {fingerprint(torch.tensor(self._captions.item))}"
        rivals = "" if self.perturbed_is_query else fingerprint(self.clean(self.modality))
        return f"{self.name} {fingerprint(self.clean(self.other))} {rivals}"

    def goal(self, indices: Sequence[int], k: int = 1) -> Misclassify | MissRetrieved:
        """Keep these samples' own partners out of the top k."""
        own = torch.tensor(list(indices), device=self.device)
        if self._captions is not None:
            rows = self._captions.own(indices).to(self.device)
            return Misclassify(self.centers, rows[:, 0], k, also=rows[:, 1:])
        if self.perturbed_is_query:
            return Misclassify(self.centers, own, k)
        query = self.clean(self.other)[own]
        others = products(query, self.clean(self.modality))  # b n
        item = torch.tensor(self._item(indices), device=self.device)
        keep = torch.ones_like(others, dtype=torch.bool).scatter(1, item[:, None], False)
        return MissRetrieved(query, others[keep].reshape(len(own), -1), k)

    def paired(self, indices: Sequence[int]) -> dict[str, Float[Tensor, "b d"]]:
        """Clean embeddings of the same instances on the other side."""
        return {self.other: self.clean(self.other)[list(indices)]}


def zero_shot(
    encoder: Encoder,
    dataset: Dataset,
    modality: str | None = None,
    *,
    space: str | None = None,
    templates: Sequence[str] = (),
    centers: ClassCenters | None = None,
    limit: int | None = None,
) -> ZeroShot:
    """The zero-shot classification task of one modality.

    `modality` may be left out when the data set holds just one. `space`: where the attacker perturbs (None: the
    encoder's default for this modality). `templates` turn class names into prompts (default: the data set's own, else
    the bare name). `centers` replace text-built ones (UniBind ships its own); their rows are matched by class name, and
    more classes in them do not count. Raises InputError for a modality or space that encoder or data do not have, for
    labels that are not numbers of classes, and for centers that do not fit.
    """
    checked_encoder(encoder)
    modality = _only_modality(dataset, modality)
    _check_limit(limit)
    prompts = tuple(templates) or tuple(dataset.templates or ("{}",))
    return ZeroShot(encoder, dataset, modality, _space(encoder, modality, space), limit, centers, prompts)


def retrieval(
    encoder: Encoder,
    dataset: Dataset,
    modality: str | None = None,
    *,
    to: str | None = None,
    of: str | None = None,
    space: str | None = None,
    limit: int | None = None,
) -> Retrieval:
    """A cross-modal retrieval task. `modality` is the perturbed side: the query with `to=` the clean gallery's modality
    (default "text"), or the gallery item with `of=` the clean query's modality. Exactly one of the two may be given."""
    checked_encoder(encoder)
    if to is not None and of is not None:
        raise InputError(
            f"retrieval goes one way: give to={to!r} (the perturbed modality asks) or of={of!r} (it is found), not both"
        )
    modality = _only_modality(dataset, modality)
    _check_limit(limit)
    other = of or to or "text"
    if other == modality:
        raise InputError(f"retrieval needs two modalities, not {modality!r} twice")
    return Retrieval(encoder, dataset, modality, _space(encoder, modality, space), limit, other, of is None)


def _only_modality(dataset: Dataset, modality: str | None) -> str:
    if modality is not None:
        return modality
    if len(dataset.modalities) != 1:
        raise InputError(f"data set {dataset.name!r} holds {', '.join(dataset.modalities)}: say which modality")
    return dataset.modalities[0]


def _space(encoder: Encoder, modality: str, space: str | None) -> Any:
    if modality not in encoder.inputs:
        raise InputError(
            f"encoder {encoder.name!r} does not take modality {modality!r}; it takes {', '.join(encoder.inputs)}"
        )
    return encoder.inputs[modality].space_named(space)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit} leaves no sample; expected at least 1")
