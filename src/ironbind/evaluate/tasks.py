"""The two questions ironbind asks: which class is this (zero-shot), and which item belongs to this (cross-modal retrieval, both directions).

A retrieval task perturbs one modality, as the query ("audio->text") or as the gallery item ("text->audio"); the other side stays clean.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from ironbind.evaluate.inputs import embedded_once, load_native
from ironbind.maths.batches import in_full_batches, products
from ironbind.maths.goals import Misclassify, MissRetrieved
from ironbind.maths.scores import class_scores
from ironbind.types import ClassCenters, Dataset, Encoder, InputError, Space

BATCH = 64  # rows per forward pass when embedding clean data


@dataclass(frozen=True, eq=False)
class AskedTask:
    """What both questions share: an encoder, data, a perturbed modality, a space. `limit`: attack only the first so many samples
    (a retrieval gallery stays whole)."""

    encoder: Encoder
    dataset: Dataset
    modality: str
    space: Space
    limit: int | None = None

    def __post_init__(self) -> None:
        for one in self._needs():
            if one not in self.encoder.inputs:
                able = ", ".join(self.encoder.inputs)
                raise InputError(f"encoder {self.encoder.name!r} does not take modality {one!r}; it takes {able}")
            if one not in self.dataset.modalities:
                raise InputError(f"data set {self.dataset.name!r} does not hold modality {one!r}; it holds {', '.join(self.dataset.modalities)}")

    def _needs(self) -> tuple[str, ...]:
        return (self.modality,)

    def __len__(self) -> int:
        return len(self.dataset) if self.limit is None else min(self.limit, len(self.dataset))

    @property
    def device(self) -> torch.device:
        """Where this encoder computes."""
        return torch.device(getattr(self.encoder, "device", "cpu"))

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Inputs of these samples in the attacked space, on the encoder's device."""
        native = load_native(self.encoder, self.dataset, self.modality, indices).to(self.device)
        with torch.no_grad():
            return in_full_batches(lambda x: self.encoder.inputs[self.modality].convert(x, self.space.name))(native)

    def embed(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """Unit embeddings of inputs in the attacked space."""
        return self.encoder.embed(self.modality, x, space=self.space.name)

    def on(self, encoder: Encoder) -> Self:
        """The same question to another encoder."""
        return replace(self, encoder=encoder)

    def over(self, dataset: Dataset) -> Self:
        """The same question about other data, all of it: a limit belongs to the data it was set for."""
        return replace(self, dataset=dataset, limit=None)

    def within(self, space: str) -> Self:
        """The same question with the perturbed modality attacked in another of its spaces."""
        return replace(self, space=self.encoder.inputs[self.modality].space_named(space))

    def clean(self, modality: str) -> Float[Tensor, "n d"]:
        """Embeddings of the whole data set in one modality, unperturbed ("text": its captions); computed once per encoder and data set."""
        return embedded_once(self.encoder, self.dataset, modality, partial(self._embed_all, modality))

    def _embed_all(self, modality: str) -> Float[Tensor, "n d"]:
        if modality == "text":
            if self.dataset.captions is None:
                raise InputError(f"data set {self.dataset.name!r} has no captions, which retrieval with text needs; expected a captions.csv")
            return self.encoder.embed_text(list(self.dataset.captions))
        return embed_all(self.encoder, self.dataset, modality, range(len(self.dataset)))


def embed_all(encoder: Encoder, dataset: Dataset, modality: str, indices: Sequence[int]) -> Float[Tensor, "n d"]:
    """Clean embeddings of these samples, in batches, without gradients."""
    device = torch.device(getattr(encoder, "device", "cpu"))
    out = []
    for first in range(0, len(indices), BATCH):
        some = list(indices[first : first + BATCH])
        with torch.no_grad():
            out.append(encoder.embed(modality, load_native(encoder, dataset, modality, some).to(device)))
    return torch.cat(out)


@dataclass(frozen=True, eq=False)
class ZeroShot(AskedTask):
    """Which class: the nearest class center. Metrics top1, top5, mean rank."""

    given_centers: ClassCenters | None = field(default=None, repr=False)
    templates: tuple[str, ...] = ("{}",)

    name = "zero_shot"
    metrics = (("top1", 1), ("top5", 5))

    @cached_property
    def centers(self) -> ClassCenters:
        """Class centers; text-built unless given. They belong to the frozen text side and stay what they are under calibration."""
        if self.given_centers is not None:
            return self.given_centers.to(self.device)
        return text_centers(self.encoder, self.dataset.classes, self.templates).to(self.device)

    @cached_property
    def question(self) -> str:
        """Identifies the question and its reference points, for the verdict store."""
        return f"zero_shot {fingerprint(self.centers.z)} {list(self.centers.label.tolist())}"

    def _labels(self, indices: Sequence[int]) -> Tensor:
        return torch.tensor([self.dataset.labels[one] for one in indices], device=self.device)

    def goal(self, indices: Sequence[int], k: int = 1) -> Misclassify:
        """Keep the true class of these samples out of the top k."""
        return Misclassify(self.centers, self._labels(indices), k)

    def paired(self, indices: Sequence[int]) -> dict[str, Float[Tensor, "b d"]]:
        """Clean embeddings of the same instances as image and as caption, where the data has them."""
        has = [one for one in ("image",) if one in self.dataset.modalities and one != self.modality]
        has += ["text"] if self.dataset.captions is not None else []
        return {one: self.clean(one)[list(indices)] for one in has}

    def answers(self, z: Float[Tensor, "b d"], top: int = 3) -> list[list[tuple[str, float]]]:
        """The `top` best classes of each embedding with their cosines, best first."""
        best = class_scores(z, self.centers).topk(min(top, len(self.centers)), dim=1)
        names = self.centers.names
        return [
            [(names[int(c)], float(score)) for score, c in zip(scores, classes, strict=True)]
            for scores, classes in zip(best.values, best.indices, strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Retrieval(AskedTask):
    """Which item: R@1, R@5, R@10, mean rank, between the perturbed modality and a clean `other` one.

    `perturbed_is_query`: True asks perturbed -> other (each perturbed query against the whole clean gallery); False asks other ->
    perturbed (item i is perturbed, the rest of its gallery is clean). Item i belongs to query i.
    """

    other: str = "text"
    perturbed_is_query: bool = True

    metrics = (("R@1", 1), ("R@5", 5), ("R@10", 10))

    def _needs(self) -> tuple[str, ...]:
        return (self.modality,) if self.other == "text" else (self.modality, self.other)

    @property
    def name(self) -> str:
        """ "retrieval:query->gallery"."""
        pair = (self.modality, self.other) if self.perturbed_is_query else (self.other, self.modality)
        return f"retrieval:{pair[0]}->{pair[1]}"

    @cached_property
    def centers(self) -> ClassCenters:
        """The clean other side as a gallery: item i is class i."""
        return ClassCenters(self.clean(self.other), torch.arange(len(self.dataset), device=self.device), tuple(self.dataset.ids))

    @cached_property
    def question(self) -> str:
        return f"{self.name} {fingerprint(self.clean(self.other))} {'' if self.perturbed_is_query else fingerprint(self.clean(self.modality))}"

    def goal(self, indices: Sequence[int], k: int = 1) -> Misclassify | MissRetrieved:
        """Keep these samples' own partners out of the top k."""
        own = torch.tensor(list(indices), device=self.device)
        if self.perturbed_is_query:
            return Misclassify(self.centers, own, k)
        query = self.clean(self.other)[own]
        others = products(query, self.clean(self.modality))  # b n
        keep = torch.ones_like(others, dtype=torch.bool).scatter(1, own[:, None], False)
        return MissRetrieved(query, others[keep].reshape(len(own), -1), k)

    def paired(self, indices: Sequence[int]) -> dict[str, Float[Tensor, "b d"]]:
        """Clean embeddings of the same instances on the other side."""
        return {self.other: self.clean(self.other)[list(indices)]}


def text_centers(encoder: Encoder, classes: Sequence[str], templates: Sequence[str]) -> ClassCenters:
    """One unit center per class: the mean over its prompts' embeddings, normalised again (CLIP's prompt ensembling, Radford et al. 2021)."""
    if not classes:
        raise InputError("zero-shot classification needs at least one class name, and the data set has none")
    z = encoder.embed_text([template.format(name) for name in classes for template in templates])
    z = torch.nn.functional.normalize(z.reshape(len(classes), len(templates), -1).mean(dim=1), dim=-1)
    return ClassCenters(z, torch.arange(len(classes), device=z.device), tuple(classes))


def fingerprint(z: Tensor) -> str:
    """Twelve hex digits that change with any bit of `z`."""
    return hashlib.sha256(z.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:12]


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

    `modality` may be left out when the data set holds just one. `space`: where the attacker perturbs (None: the encoder's default for
    this modality). `templates` turn class names into prompts (default: the data set's own, else the bare name). `centers` replace
    text-built ones (UniBind ships its own). Raises InputError for a modality or space that encoder or data do not have.
    """
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
    """A cross-modal retrieval task. `modality` is the perturbed side: the query with `to=` the clean gallery's modality (default
    "text"), or the gallery item with `of=` the clean query's modality. Exactly one of the two may be given."""
    if to is not None and of is not None:
        raise InputError(f"retrieval goes one way: give to={to!r} (the perturbed modality asks) or of={of!r} (it is found), not both")
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
        raise InputError(f"encoder {encoder.name!r} does not take modality {modality!r}; it takes {', '.join(encoder.inputs)}")
    return encoder.inputs[modality].space_named(space)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit} leaves no sample; expected at least 1")
