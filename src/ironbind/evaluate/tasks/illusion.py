"""Attacks with another goal than a wrong answer: to be taken for a chosen target (illusion), to be the first hit of
many queries (hub). They are tasks, so that an audit evaluates them like any other: at every radius, replayed and
adaptive, resumable. Their metrics count samples that *resist*, so that higher is better everywhere; the attacker's
success rate is the rest to 100 %.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.evaluate.tasks.class_centers import check_labels
from ironbind.evaluate.tasks.text_centers import kept_text_centers
from ironbind.evaluate.tasks.zero_shot import BaseTask, fingerprint
from ironbind.goals.hub import Hub
from ironbind.goals.target import Illusion
from ironbind.goals.undetected_hub import UndetectedHub
from ironbind.numerics.batching import products
from ironbind.numerics.sample_random import seed_of
from ironbind.types import ClassCenters, InputError

HUB_SHARE = (
    0.1  # an item that is the first hit of more than a tenth of all queries is called a hub; chance is one query
)


@dataclass(frozen=True, eq=False, repr=False)
class IllusionTask(BaseTask):
    """Is a perturbed sample taken for a chosen target? The target of each sample is drawn by seed among
    those of other classes: a class (`other="text"`: its text center must score highest) or an instance in another
    modality (it must be the first hit of its whole gallery).

    Metric "resists": share of samples not taken for their target. Adversarial Illusions (Zhang et al. 2024, arXiv
    2308.11804).
    """

    other: str = "text"
    templates: tuple[str, ...] = ("{}",)
    target_seed: int = 0

    metrics = (("resists", 1),)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_labels(self.dataset)

    def _needs(self) -> tuple[str, ...]:
        return (self.modality,) if self.other == "text" else (self.modality, self.other)

    @property
    def name(self) -> str:
        """ "illusion:audio->image": a perturbed sound is taken for a chosen image."""
        return f"illusion:{self.modality}->{self.other}"

    @cached_property
    def centers(self) -> ClassCenters:
        """What a target is one of: text centers of the classes, or all instances of the other modality."""
        if self.other == "text":
            return kept_text_centers(self.encoder, self.dataset.classes, self.templates).to(self.device)
        return ClassCenters(
            self.clean(self.other), torch.arange(len(self.dataset), device=self.device), tuple(self.dataset.ids)
        )

    @cached_property
    def targets(self) -> Int[Tensor, " n"]:
        """Target of each sample. Raises InputError when all samples are of one class: nothing to choose from."""
        labels, chosen = list(self.dataset.labels), []
        for index, sample in enumerate(self.dataset.ids):
            able = range(len(self.dataset.classes)) if self.other == "text" else range(len(labels))
            able_now = [item for item in able if (item if self.other == "text" else labels[item]) != labels[index]]
            if not able_now:
                raise InputError(
                    f"data set {self.dataset.name!r} holds one class only; a targeted illusion needs another one to"
                    " aim at"
                )
            chosen.append(able_now[seed_of(self.target_seed, "illusion", self.other, sample) % len(able_now)])
        return torch.tensor(chosen, device=self.device)

    @cached_property
    def question(self) -> str:
        """Identifies the question, its gallery and the targets, for the verdict store."""
        return f"{self.name} {fingerprint(self.centers.z)} targets {self.target_seed}"

    def goal(self, indices: Sequence[int], k: int = 1) -> Illusion:
        """Take these samples for their targets."""
        return Illusion(self.centers, self.targets[list(indices)])

    def paired(self, indices: Sequence[int]) -> dict[str, Float[Tensor, "b d"]]:
        return {}


@dataclass(frozen=True, eq=False)
class Gallery:
    """Unit rows that lie in an index, and its name."""

    name: str
    z: Float[Tensor, "m d"]


Guard = Callable[[Hub, Float[Tensor, "m d"]], UndetectedHub]


@dataclass(frozen=True, eq=False, repr=False)
class HubTask(BaseTask):
    """Does a perturbed item become the first hit of unrelated queries? The gallery holds this modality, queries come in
    `other`.

    Every second query is known to the attacker; verdicts are read from the remaining ones, so that a hub counts by what
    it does to strangers. Metric "resists": share of items that are the first hit of no more than a tenth of those
    queries; mean_rank is 1 + the mean number of such queries. Adversarial hubness (Zhang et al. 2024, arXiv
    2412.14113).

    `known`: of the known half only the first so many. `concept`: only queries of that class are pursued and counted.
    `gallery`: rows to stand among, in place of the data's own. `guard`: makes the goal one that stays below a detector,
    given the hub and the clean gallery; an item that the detector sees is the first hit of no query. Raises InputError
    for a concept that is no class, and for rows of another width.
    """

    other: str = "text"
    known: int | None = None
    concept: str | None = None
    gallery: Gallery | None = None
    guard: Guard | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.known is not None and self.known < 1:
            raise InputError(f"{self.known} known queries: expected 1 or more")
        if self.concept is not None and self.concept not in self.dataset.classes:
            raise InputError(
                f"concept {self.concept!r} is no class of {self.dataset.name!r}; expected one of "
                f"{', '.join(self.dataset.classes[:12])}"
            )
        if self.gallery is not None and self.gallery.z.shape[1] != self.encoder.dim:
            raise InputError(
                f"{self.gallery.name}: rows of {self.gallery.z.shape[1]} numbers; expected {self.encoder.dim}, as "
                f"{self.encoder.name} gives"
            )

    def _needs(self) -> tuple[str, ...]:
        return (self.modality,) if self.other == "text" else (self.modality, self.other)

    @property
    def name(self) -> str:
        """ "hub:text->image": text queries all find the perturbed image; then what is special, as in
        "hub:text->image, 100 known, ball, undetected".
        """
        special = (
            f"{self.known} known" if self.known is not None else "",
            self.concept or "",
            f"in {self.gallery.name}" if self.gallery is not None else "",
            "undetected" if self.guard is not None else "",
        )
        return ", ".join([f"hub:{self.other}->{self.modality}", *filter(None, special)])

    @property
    def metrics(self) -> tuple[tuple[str, int], ...]:
        return (("resists", 1 + int(HUB_SHARE * len(self._pursued[1::2]))),)

    @cached_property
    def centers(self) -> ClassCenters:
        """The queries."""
        return ClassCenters(
            self.clean(self.other), torch.arange(len(self.dataset), device=self.device), tuple(self.dataset.ids)
        )

    @cached_property
    def _pursued(self) -> list[int]:
        """The queries that count: all, or those of the concept."""
        if self.concept is None:
            return list(range(len(self.dataset)))
        number = list(self.dataset.classes).index(self.concept)
        return [row for row, label in enumerate(self.dataset.labels) if label == number]

    @cached_property
    def _items(self) -> Float[Tensor, "m d"]:
        """The clean gallery."""
        return self.clean(self.modality) if self.gallery is None else self.gallery.z.to(self.device)

    @cached_property
    def _halves(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Known and unknown queries, each with the cosine of its best item in the clean gallery."""
        if len(self._pursued) < 4:
            of = f" of {self.concept!r}" if self.concept else ""
            raise InputError(
                f"data set {self.dataset.name!r} holds {len(self._pursued)} samples{of}; hubs need at least 4 queries"
            )
        queries = self.centers.z[self._pursued]
        best = products(queries, self._items).amax(dim=1)
        return (queries[::2][: self.known], best[::2][: self.known]), (queries[1::2], best[1::2])

    @cached_property
    def question(self) -> str:
        judged = " by the scan" if self.guard is not None else ""
        return f"{self.name}{judged} {fingerprint(self.centers.z)} {fingerprint(self._items)}"

    @cached_property
    def _goal(self) -> Hub | UndetectedHub:
        (queries, best), held_out = self._halves
        hub = Hub(queries, best, held_out=held_out)
        return hub if self.guard is None else self.guard(hub, self._items)

    def goal(self, indices: Sequence[int], k: int = 1) -> Hub | UndetectedHub:
        """Make each of these items the first hit of all known queries; with a guard, of as many as it lets pass."""
        return self._goal

    def paired(self, indices: Sequence[int]) -> dict[str, Float[Tensor, "b d"]]:
        return {}
