"""The nouns of ironbind: the only file that every other file may import.

Axis letters used in all annotations: b = batch, d = embedding width, n = number of texts or samples, m = rows of a set of
class centers, c = classes. `...` stands for the axes of one sample, which differ per modality (see `InputSpec.shape`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor
from typing_extensions import Self

from ironbind.budgets import L1 as L1
from ironbind.budgets import L2 as L2
from ironbind.budgets import NORMS as NORMS
from ironbind.budgets import SNR as SNR
from ironbind.budgets import Budget as Budget
from ironbind.budgets import EventShare as EventShare
from ironbind.budgets import Linf as Linf
from ironbind.budgets import PointwiseL2 as PointwiseL2
from ironbind.budgets import Space as Space
from ironbind.budgets import budget_of as budget_of
from ironbind.budgets import parse_radius as parse_radius
from ironbind.errors import InputError as InputError  # re-exported: whoever knows the nouns may raise it
from ironbind.samples import Audio as Audio
from ironbind.samples import Decoded as Decoded
from ironbind.samples import Depth as Depth
from ironbind.samples import Events as Events
from ironbind.samples import Image as Image
from ironbind.samples import Imu as Imu
from ironbind.samples import Points as Points
from ironbind.samples import Thermal as Thermal
from ironbind.samples import Video as Video
from ironbind.stages import PARTS as PARTS
from ironbind.stages import AdapterShape as AdapterShape
from ironbind.stages import CalibrationRecipe as CalibrationRecipe
from ironbind.stages import Live as Live
from ironbind.stages import Stage as Stage

# --------------------------------------------------------------------------------------------------- modalities


@dataclass(frozen=True)
class Modality:
    """A value in the MODALITIES table: how a kind of file is decoded and written, and which spaces an attacker may perturb it in.

    `read(path)` raises InputError naming the file for anything it cannot decode; `write(decoded, path)` is its inverse (lossless where
    the format allows). `suffixes` are those `read` understands, lower-case with dot, `suffixes[0]` the one `write` uses. `spaces` by
    name, the default first. `templates` turn a class name into prompts.
    """

    name: str
    decoded: type
    suffixes: tuple[str, ...]
    read: Callable[[Path], Decoded] = field(repr=False)
    write: Callable[[Any, Path], None] = field(repr=False)
    spaces: Mapping[str, Space] = field(default_factory=dict)
    templates: tuple[str, ...] = ("{}",)


# ----------------------------------------------------------------------------------------------------- encoders


@dataclass(frozen=True)
class Front:
    """A further space in which an encoder's modality can be entered: `convert` takes native tensors there, differentiably."""

    space: Space
    shape: tuple[int, ...]
    convert: Callable[[Float[Tensor, "b ..."]], Float[Tensor, "b ..."]]


@dataclass(frozen=True)
class InputSpec:
    """How one encoder takes one modality.

    `shape`: one sample without batch axis. `space`: the native space, that of `encoder.embed(modality, x)`. `prepare`: a decoded
    file -> native float32 tensor of `shape` (resize, crop, resample, sample points; never normalise: that happens inside `embed`).
    `fronts`: further spaces by name, e.g. "logmel" for an encoder of waveforms; entered with `embed(modality, x, space="logmel")`.
    `attack_space`: the space an audit uses when nobody names one (None: the native one).
    """

    modality: str
    shape: tuple[int, ...]
    space: Space
    prepare: Callable[[Any], Float[Tensor, "..."]] = field(repr=False)
    fronts: Mapping[str, Front] = field(default_factory=dict, repr=False)
    attack_space: str | None = None

    @property
    def spaces(self) -> dict[str, Space]:
        """Every space of this input by name, the native one first."""
        return {self.space.name: self.space, **{name: front.space for name, front in self.fronts.items()}}

    def space_named(self, name: str | None) -> Space:
        """The space called `name`, the default one to attack for None. Raises InputError naming those that exist."""
        name = name or self.attack_space or self.space.name
        if name not in self.spaces:
            raise InputError(f"space {name!r} does not exist for {self.modality}; expected one of {', '.join(self.spaces)}")
        return self.spaces[name]

    def shape_in(self, space: str) -> tuple[int, ...]:
        """The shape of one sample in the space called `space`."""
        return self.shape if space == self.space.name else self.fronts[space].shape

    def convert(self, x: Float[Tensor, "b ..."], space: str) -> Float[Tensor, "b ..."]:
        """Native tensors -> the space called `space` (the identity for the native one)."""
        return x if space == self.space.name else self.fronts[space].convert(x)


@runtime_checkable
class Encoder(Protocol):
    """Anything that puts several modalities into one embedding space.

    `embed` returns unit rows, normalises inputs inside (attacks see native units), and is differentiable in `x`. `x` lives in the
    native space of `inputs[modality]`, or in the one named by `space`. `weights_sha256` identifies the weights in every result.
    """

    @property
    def name(self) -> str: ...

    @property
    def dim(self) -> int: ...

    @property
    def inputs(self) -> Mapping[str, InputSpec]: ...

    @property
    def weights_sha256(self) -> str: ...

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]: ...

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]: ...


@dataclass(frozen=True)
class ClassCenters:
    """What embeddings are compared with: `z` unit rows, `label[i]` the class of row i; several rows per class are pooled (maximum).

    A retrieval gallery is the same type: its classes are its items.
    """

    z: Float[Tensor, "m d"]
    label: Int[Tensor, " m"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    def to(self, device: Any) -> "ClassCenters":
        """The same centers on `device`."""
        return replace(self, z=self.z.to(device), label=self.label.to(device))


# --------------------------------------------------------------------------------------------------------- data


@runtime_checkable
class Dataset(Protocol):
    """Labelled samples in one or more modalities, decoded on demand, never resized.

    `ids[i]` names sample i for good (it keys stored verdicts and the per-sample randomness); `labels[i]` indexes `classes`;
    `captions` (or None) pair each sample with one text. `fingerprint` changes when the content does. `templates` (or None: the
    modality's own) turn a class name into prompts: "a photo of a {}.".
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


# ------------------------------------------------------------------------------------------------------ attacks


class Goal(Protocol):
    """What the attacker wants of the embeddings of a batch; row i belongs to sample i.

    `loss`: higher = nearer to success, differentiable. `reached`: success, row by row. Indexing with row numbers keeps those rows.
    `using` returns the same goal pursued through another loss ("margin", "ce", "dlr", "cosine"). `rivals`: up to `count` ways to get there, the
    nearest first (wrong classes, as numbers; none where there is one way only); `against` pursues one of them per row.
    """

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]: ...

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]: ...

    def using(self, loss: str) -> "Goal": ...

    def rivals(self, z: Float[Tensor, "b d"], count: int) -> Int[Tensor, "b t"]: ...

    def against(self, rival: Int[Tensor, " b"]) -> "Goal": ...

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "Goal": ...


class SampleRandom(Protocol):
    """Randomness that belongs to samples, not to batches (see `maths.random.PerSample`)."""

    def uniform(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]: ...

    def normal(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]: ...

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "SampleRandom": ...


class Attacked(NamedTuple):
    """What an attack returns: the examples, whether the goal was reached there, the goal's loss there, and the passes spent per sample."""

    x: Float[Tensor, "b ..."]
    reached: Bool[Tensor, " b"]
    loss: Float[Tensor, " b"]
    gradient_passes: Int[Tensor, " b"]
    forward_passes: Int[Tensor, " b"]


Embed = Callable[[Float[Tensor, "b ..."]], Float[Tensor, "b d"]]


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of knobs, called with all it needs. `name` goes into every table."""

    @property
    def name(self) -> str: ...

    def __call__(self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom) -> Attacked: ...


@runtime_checkable
class Ensemble(Protocol):
    """An attack made of attacks, each spent only on samples that still stand. An audit runs the stages itself, to say which one won."""

    @property
    def name(self) -> str: ...

    @property
    def stages(self) -> tuple[Attack, ...]: ...


@runtime_checkable
class Tailored(Protocol):
    """An attack that must know its task before it can run: it is fitted on other samples, crafts on another encoder, or climbs on a copy of this one.

    A value without tensors, so that it travels to worker processes. An audit asks for the attack itself, once for every encoder that it examines.
    """

    @property
    def name(self) -> str: ...

    def for_task(self, task: "Task", ladder: Sequence[Budget], folder: Path) -> "Attack | Ensemble":
        """The attack on this task's encoder, for these budgets; `folder` keeps what is dear to make."""
        ...


# -------------------------------------------------------------------------------------------------------- tasks


class Task(Protocol):
    """An encoder asked one question about every sample of one modality of a data set; the attacker perturbs that modality in `space`.

    `question` identifies it, reference points included, in stored verdicts; `metrics`: name -> k, the share of samples whose rank stays within k.
    `load(indices)`: inputs in that space; `native(indices)`: decoded ones on the CPU, which `bring` brings there. `goal(indices, k)`: keep the truth
    of these samples out of the top k. `paired(indices)`: clean embeddings of the same instances in other modalities, by modality ({} where there are
    none). `on(encoder)`, `over(dataset)`: the same question to another encoder, or about other data.
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


# -------------------------------------------------------------------------------------------------- calibration


@runtime_checkable
class CalibratedEncoder(Protocol):
    """An Encoder (it has all of an Encoder's members) made of a frozen `backbone` and trained parts; `calibration` names the recipe."""

    @property
    def backbone(self) -> "Encoder": ...

    @property
    def calibration(self) -> str: ...


@dataclass(frozen=True)
class Views:
    """What an objective may look at, for one batch of one modality. All embeddings are unit rows.

    `clean`: frozen backbone on the clean input. `clean_out`/`adv_out`: the encoder under training on the clean / adversarial input.
    `paired`: the clean embeddings of the same instances in other modalities (image, text), by modality.
    """

    clean: Float[Tensor, "b d"]
    clean_out: Float[Tensor, "b d"]
    adv_out: Float[Tensor, "b d"]
    label: Int[Tensor, " b"]
    centers: ClassCenters
    paired: Mapping[str, Float[Tensor, "b d"]] = field(default_factory=dict)


Objective = Callable[[Views], Float[Tensor, ""]]
