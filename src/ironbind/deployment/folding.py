"""Folding: low-rank updates added to the weights that they update, gains and shifts multiplied into the norms in front
of them.

W + U D is the sum that the live adapters make at every pass, and is the same bits. A gain g and a shift s behind a norm
of gain w and shift b become g w and g b + s, which round differently in the last bit. What has no place in ordinary
weights stays outside: a purifier in front, a head behind.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.calibration.adapters import SEPARATOR, Affine, embed_behind, named_layers
from ironbind.calibration.calibrated import Calibrated, apply_head
from ironbind.calibration.low_rank import CoreUpdate, LowRank
from ironbind.numerics.networks import modules_of, sharing_copy
from ironbind.types import Encoder, InputError, InputSpec


@dataclass(frozen=True)
class Folded:
    """One modality's tower with its trained parts in its own weights.

    `encoder`: the architecture of the encoder `base`; the tensors that nothing was folded into are the base's own.
    `low_rank`, `norms`, `weights`: what was folded, by the qualified name of its layer (of `weights`: of the
    parameter). `purifier`, `head`: what could not be, and stands in front and behind.
    """

    base: Encoder
    encoder: Encoder
    spec: InputSpec
    low_rank: Mapping[str, LowRank | CoreUpdate]
    norms: Mapping[str, Affine]
    weights: tuple[str, ...]
    purifier: nn.Module | None
    head: nn.Module | None

    @property
    def modality(self) -> str:
        return self.spec.modality

    def layer(self, name: str) -> nn.Module:
        """The folded layer of a qualified name."""
        return named_layers(self.encoder)[name]

    def embed(self, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        """Unit rows: purifier, folded tower, head."""
        z = embed_behind(self.encoder, self.spec, self.purifier, x, space)
        return z if self.head is None else apply_head(self.head, z)

    def refuse_purifier(self, form: str) -> None:
        """Raises InputError where a purifier would be lost in a form that holds ordinary weights only."""
        if self.purifier is not None:
            count = sum(parameter.numel() for parameter in self.purifier.parameters())
            raise InputError(
                f"--format {form}: the purifier in front of {self.modality} ({count:,} parameters) cannot be folded "
                "into ordinary weights; expected --format torch or onnx, which export it together with the tower, or "
                "parts without one (recipe hardened_foldable, --heads shipped-foldable)"
            )


def fold(hard: Calibrated, modality: str) -> Folded:
    """The tower of one modality, folded; `hard` and its backbone stay as they are.

    Raises InputError for a modality that nothing was trained for, for weights in low precision, and for a shift behind
    a norm that has none.
    """
    if modality not in hard.modalities:
        raise InputError(
            f"--modality {modality}: calibration {hard.calibration!r} holds no trained parts for it; expected one of "
            f"{', '.join(hard.modalities)}"
        )
    encoder = sharing_copy(hard.backbone)
    adapters = hard.adapters.get(modality)
    parts: Any = adapters.parts if adapters else nn.ModuleDict({"low_rank": nn.ModuleDict(), "norms": nn.ModuleDict()})
    layers = named_layers(encoder)
    low_rank = {_plain(name): part for name, part in parts["low_rank"].items()}
    norms = {_plain(name): part for name, part in parts["norms"].items()}
    trained = {_plain(name): value for name, value in parts["weights"].items()} if "weights" in parts else {}
    with torch.no_grad():
        for name, value in trained.items():
            owner, _, key = name.rpartition(".")
            _put(layers[owner], key, value.detach(), name)
        for name, part in low_rank.items():
            layer: Any = layers[name]
            _put(layer, "weight", layer.weight + part(), name)
        for name, part in norms.items():
            _fold_norm(layers[name], part, name)
    return Folded(
        hard.backbone,
        encoder,
        hard.inputs[modality],
        low_rank,
        norms,
        tuple(trained),
        next(iter(parts["purifier"].values()), None) if "purifier" in parts else None,
        dict(hard.heads.items()).get(modality),
    )


def networks_of(folded: Folded) -> list[nn.Module]:
    """Every module that runs when a folded tower embeds."""
    around = [module for module in (folded.purifier, folded.head) if module is not None]
    return [*modules_of(folded.encoder), *around]


def _plain(name: str) -> str:
    return name.replace(SEPARATOR, ".")


def _fold_norm(norm: nn.Module, part: Affine, name: str) -> None:
    gain, shift = part.gain.double(), part.shift.double()
    weight, bias = (getattr(norm, key) for key in ("weight", "bias"))
    if bias is None and shift.abs().any():
        raise InputError(
            f"the trained shift behind {name} cannot be folded into ordinary weights, as this norm has no shift of its "
            "own; expected --format torch or onnx"
        )
    _put(norm, "weight", (gain * weight.double()).to(weight.dtype), name)
    if bias is not None:
        _put(norm, "bias", (gain * bias.double() + shift).to(bias.dtype), name)


def _put(layer: nn.Module, key: str, value: Tensor, name: str) -> None:
    held = getattr(layer, key)
    if held.dtype != torch.float32:
        raise InputError(
            f"{name} was loaded in {str(held.dtype).removeprefix('torch.')}, which would round what is folded into it; "
            "expected the encoder in float32"
        )
    setattr(layer, key, nn.Parameter(value.contiguous(), requires_grad=False))
