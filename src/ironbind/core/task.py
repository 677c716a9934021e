"""The types of an evaluation: labelled data, a task over them, an attack that is built for a task, a certifier.

Axis letters: b = batch, d = embedding width, k = ranks that are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor
from typing_extensions import Self

from ironbind.core.attack import Attack, Embed, StagedAttack
from ironbind.core.budget import Budget, Space
from ironbind.core.encoder import ClassCenters, Encoder
from ironbind.core.samples import Decoded


@runtime_checkable
class Dataset(Protocol):
    """Labelled samples in one or more modalities, decoded on demand, never resized.

    `ids[i]` names sample i for good (it keys stored verdicts and the per-sample randomness); `labels[i]` indexes
    `classes`; `captions` (or None) pair each sample with one text. `fingerprint` changes when the content does.
    `templates` (or None: the modality's own) turn a class name into prompts: "a photo of a {}.".
    """

    name: str
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    ids: Sequence[str]
    labels: Sequence[int]
    captions: Sequence[str] | None
    templates: Sequence[str] | None
    fingerprint: str

    def __len__(self) -> int: ...

    def decode(self, modality: str, indices: Sequence[int]) -> list[Decoded]: ...


@dataclass(frozen=True, eq=False)
class Counterparts:
    """What the samples of a data set are matched with in retrieval where every match was judged, as benchmarks publish
    them: a counterpart may belong to several samples or to none.

    `texts` or `samples`, the other is None; `ids` name them. `relevant[i]`: the counterparts that are right for sample
    i. `samples_ask`: the samples are queries and the counterparts the gallery, or the reverse.
    """

    ids: Sequence[str]
    texts: Sequence[str] | None
    samples: "Dataset | None"
    relevant: Sequence[tuple[int, ...]]
    samples_ask: bool = True

    @property
    def modality(self) -> str:
        """Of the counterparts."""
        return "text" if self.samples is None else self.samples.modalities[0]

    @property
    def name(self) -> str:
        """What messages call them."""
        return "counterparts" if self.samples is None else self.samples.name

    @property
    def captions(self) -> Sequence[str] | None:
        """The texts, under the name that a data set has for them."""
        return self.texts


class Task(Protocol):
    """An evaluation task: one encoder, one modality of a data set, one question about every sample. The attacker
    perturbs that modality in `space`.

    `question` identifies it, reference points included, in stored verdicts; `metrics`: name -> k, the share of samples
    whose rank stays within k. `load(indices)`: inputs in that space; `native(indices)`: decoded ones on the CPU, which
    `bring` brings there. `goal(indices, k)`: keep the truth of these samples out of the top k. `paired(indices)`: clean
    embeddings of the same instances in other modalities, by modality ({} where there are none). `on(encoder)`,
    `over(dataset)`: the same question to another encoder, or about other data.
    """

    @property
    def encoder(self) -> "Encoder": ...

    @property
    def dataset(self) -> "Dataset": ...

    @property
    def modality(self) -> str: ...

    @property
    def space(self) -> Space: ...

    @property
    def name(self) -> str: ...

    @property
    def question(self) -> str: ...

    @property
    def metrics(self) -> tuple[tuple[str, int], ...]: ...

    @property
    def centers(self) -> ClassCenters: ...

    @property
    def device(self) -> Any: ...

    def __len__(self) -> int: ...

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b ..."]: ...

    def native(self, indices: Sequence[int]) -> Float[Tensor, "b ..."]: ...

    def bring(self, native: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]: ...

    def embed(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]: ...

    def goal(self, indices: Sequence[int], k: int = 1) -> Any: ...

    def paired(self, indices: Sequence[int]) -> dict[str, Float[Tensor, "b d"]]: ...

    def on(self, encoder: "Encoder") -> Self: ...

    def over(self, dataset: "Dataset") -> Self: ...


@runtime_checkable
class AttackFactory(Protocol):
    """An attack that must know its task before it can run: it is fitted on other samples, crafts on another encoder, or
    takes its gradients from a copy of this one.

    A value without tensors, so that it travels to worker processes. An audit calls `for_task` once for
    every encoder that it evaluates.
    """

    @property
    def name(self) -> str: ...

    def for_task(self, task: "Task", budgets: Sequence[Budget], folder: Path) -> "Attack | StagedAttack":
        """The attack on this task's encoder, for these budgets; `folder` keeps what is costly to compute."""
        ...


class Certificates(NamedTuple):
    """What is proven of samples, row by row, for each rank that was asked for.

    `radius`: Euclidean length that may be added to a sample, in units of its space, before its truth may leave the top
    k; 0 where nothing is proven (abstained, or wrong). `probability`: what the proof rests on, a lower bound of the
    probability that the truth is in the top k under noise. `forward_passes`: what it cost.
    """

    radius: Float[Tensor, "b k"]
    probability: Float[Tensor, "b k"]
    forward_passes: Int[Tensor, " b"]


@dataclass(frozen=True)
class Keeping:
    """Where a certifier keeps embeddings: in `folder`, under what `decides` them beside input, noise and seed. The
    passes count for `asked_by`, the first who needed them.
    """

    folder: Path
    decides: str = ""
    asked_by: str = ""


@runtime_checkable
class Certifier(Protocol):
    """A frozen dataclass of knobs that proves how far samples of a task may be moved. `name` goes into every table.

    `attacked(embed, *key)`: what an attacker embeds with, differentiable, other draws of the same noise at every call.
    `refuted(task, index, x, k, seed)`: whether the certified encoder provably does *not* keep the truth of a sample
    among the first k at the perturbed input `x` (one row), and the passes that it cost to tell.
    """

    @property
    def name(self) -> str: ...

    def attacked(self, embed: Embed, *key: object) -> Embed: ...

    def refuted(
        self, task: "Task", index: int, x: Float[Tensor, "1 ..."], k: int, seed: int, batch_size: int
    ) -> tuple[bool, int]: ...

    def __call__(
        self, task: "Task", indices: Sequence[int], ks: Sequence[int], seed: int, batch_size: int, keeping: Keeping
    ) -> Certificates: ...
