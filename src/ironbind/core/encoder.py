"""The types of an encoder: modalities, inputs and their spaces, class centers, calibrated and defended encoders.

Axis letters: b = batch, d = embedding width, n = number of texts or samples, m = rows of a set of class centers.
`...` stands for the axes of one sample, which differ per modality (see `InputSpec.shape`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor

from ironbind.core.budget import Space
from ironbind.core.errors import InputError
from ironbind.core.samples import Decoded


@dataclass(frozen=True)
class Modality:
    """A value in the MODALITIES table: how a kind of file is decoded and written, and which spaces an attacker may
    perturb it in.

    `read(path)` raises InputError naming the file for anything it cannot decode; `write(decoded, path)` is its inverse
    (lossless where the format allows). `suffixes` are those `read` understands, lower-case with dot, `suffixes[0]` the
    one `write` uses. `spaces` by name, the default first. `templates` turn a class name into prompts.
    """

    name: str
    decoded: type
    suffixes: tuple[str, ...]
    read: Callable[[Path], Decoded] = field(repr=False)
    write: Callable[[Any, Path], None] = field(repr=False)
    spaces: Mapping[str, Space] = field(default_factory=dict)
    templates: tuple[str, ...] = ("{}",)


@dataclass(frozen=True)
class FrontEnd:
    """A further space in which an encoder's modality can be entered: `convert` takes native tensors there,
    differentiably.
    """

    space: Space
    shape: tuple[int, ...]
    convert: Callable[[Float[Tensor, "b ..."]], Float[Tensor, "b ..."]]


@dataclass(frozen=True)
class InputSpec:
    """How one encoder takes one modality.

    `shape`: one sample without batch axis. `space`: the native space, that of `encoder.embed(modality, x)`. `prepare`:
    a decoded file -> native float32 tensor of `shape` (resize, crop, resample, sample points; never normalise: that
    happens inside `embed`). `fronts`: further spaces by name, e.g. "logmel" for an encoder of waveforms; entered with
    `embed(modality, x, space="logmel")`. `attack_space`: the space that an audit uses by default (None: the native
    one).
    """

    modality: str
    shape: tuple[int, ...]
    space: Space
    prepare: Callable[[Any], Float[Tensor, "..."]] = field(repr=False)
    fronts: Mapping[str, FrontEnd] = field(default_factory=dict, repr=False)
    attack_space: str | None = None

    @property
    def spaces(self) -> dict[str, Space]:
        """Every space of this input by name, the native one first."""
        return {self.space.name: self.space, **{name: front.space for name, front in self.fronts.items()}}

    def space_named(self, name: str | None) -> Space:
        """The space called `name`, the default one to attack for None. Raises InputError naming those that exist."""
        name = name or self.attack_space or self.space.name
        if name not in self.spaces:
            raise InputError(
                f"space {name!r} does not exist for {self.modality}; expected one of {', '.join(self.spaces)}"
            )
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

    `embed` returns unit rows, normalises inputs inside (attacks see native units), and is differentiable in `x`. `x`
    lives in the native space of `inputs[modality]`, or in the one named by `space`. `weights_sha256` identifies the
    weights in every result.
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


def checked_encoder(value: object) -> Encoder:
    """The same, where it is an encoder. Raises InputError for a name, a bare network or anything else."""
    # isinstance would ask for every property: the hash reads all weights
    if not (callable(getattr(value, "embed", None)) and hasattr(value, "inputs")):
        told = f"the name {value!r}" if isinstance(value, str) else type(value).__name__
        raise InputError(
            f"expected an encoder, not {told}: ib.load_encoder(NAME), ib.from_pretrained(FOLDER), or a function of "
            "yours by ib.from_callable(...)"
        )
    return cast(Encoder, value)


@dataclass(frozen=True)
class ClassCenters:
    """What embeddings are compared with: `z` unit rows, `label[i]` the class of row i; several rows per class are
    pooled (maximum).

    A retrieval gallery is the same type: its classes are its items.
    """

    z: Float[Tensor, "m d"]
    label: Int[Tensor, " m"]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def one_row_each(self) -> bool:
        """Whether row i is all that class i has. Read from the labels once: on a GPU every look at them waits."""
        return self.label.tolist() == list(range(len(self.names)))

    def to(self, device: Any) -> "ClassCenters":
        """The same centers on `device`."""
        return replace(self, z=self.z.to(device), label=self.label.to(device))


@runtime_checkable
class CalibratedEncoder(Protocol):
    """An Encoder (it has all of an Encoder's members) made of a frozen `backbone` and trained parts; `calibration`
    names the recipe.
    """

    @property
    def backbone(self) -> "Encoder": ...

    @property
    def calibration(self) -> str: ...


@runtime_checkable
class DefendedEncoder(Protocol):
    """An Encoder (it has all of an Encoder's members) that answers through a test-time defence around `undefended`,
    which is the same encoder without it; `defence` names it.
    """

    @property
    def undefended(self) -> "Encoder": ...

    @property
    def defence(self) -> Any: ...


def undefended_of(encoder: Encoder) -> Encoder:
    """The encoder without its test-time defences; another encoder is its own."""
    while isinstance(encoder, DefendedEncoder):
        encoder = encoder.undefended
    return encoder


def backbone_of(encoder: Encoder) -> Encoder:
    """The frozen encoder below a calibrated one; another encoder is its own backbone."""
    return encoder.backbone if isinstance(encoder, CalibratedEncoder) else encoder


def calibration_of(encoder: Encoder) -> str:
    """The name of an encoder's calibration, "none" where it has none; of a defended encoder, of what it defends."""
    held = undefended_of(encoder)
    return held.calibration if isinstance(held, CalibratedEncoder) else "none"


def title_of(encoder: Encoder) -> str:
    """What tables call an encoder: its backbone's name, and those of its test-time defences ("tiny+ttc")."""
    if isinstance(encoder, DefendedEncoder):
        return f"{title_of(encoder.undefended)}+{encoder.defence.name}"
    return backbone_of(encoder).name
