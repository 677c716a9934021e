"""Small trained parts inside a frozen encoder: low-rank updates of its layers, gain and shift behind its norms, a
purifier in front.

They stand in a copy of the encoder that has module objects of its own around the same tensors
(`numerics/networks.py`), so that the backbone is unchanged, and to take them off is to drop the copy. Every part is the
identity before training.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

from ironbind.calibration.low_rank import CoreUpdate, LowRank
from ironbind.calibration.purifiers import Purifier, purifier_for
from ironbind.numerics.networks import device_of, first_device, modules_of, parameter_count, sharing_copy
from ironbind.types import AdapterShape, Encoder, InputError, InputSpec

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
SEPARATOR = "/"  # torch allows no dot in the names of a ModuleDict


# --------------------------------------------------------------------------------------------------------- the parts


class Affine(nn.Module):
    """y -> g y + s behind a norm, over the axes that the norm's own gain and shift have."""

    def __init__(self, norm: Any) -> None:
        super().__init__()
        if isinstance(norm, nn.LayerNorm):
            shape: tuple[int, ...] = tuple(norm.normalized_shape)
        else:
            shape = (norm.num_channels if isinstance(norm, nn.GroupNorm) else norm.num_features,)
        self.channels_first = not isinstance(norm, nn.LayerNorm)
        self.gain = nn.Parameter(torch.ones(shape))
        self.shift = nn.Parameter(torch.zeros(shape))

    def forward(self, y: Tensor) -> Tensor:
        gain, shift = (tensor.to(y.dtype) for tensor in (self.gain, self.shift))
        if self.channels_first:
            gain, shift = (tensor.reshape(-1, *[1] * (y.ndim - 2)) for tensor in (gain, shift))
        return y * gain + shift


class Adapted(nn.Module):
    """A layer with a part: added to its weight, or mapping its answer. Whatever else is asked of it, the layer answers.

    The sum of both weights is made at every pass: on a CPU half the cost of a low-rank answer beside each layer's. A
    Linear layer in low precision is the exception, as the sum would round small updates away.
    """

    def __init__(self, layer: nn.Module, part: nn.Module) -> None:
        super().__init__()
        self.layer = layer  # first: who asks for the first parameter's precision means the layer's
        self.part = part

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("layer"), name)

    def forward(self, x: Tensor) -> Tensor:
        layer: Any = self.layer
        if isinstance(self.part, Affine):
            return self.part(layer(x))
        assert isinstance(self.part, LowRank | CoreUpdate)
        if isinstance(layer, nn.Linear):
            if layer.weight.dtype != self.part.dtype:
                y = layer(x)
                return y + self.part.beside(x).to(y.dtype)
            return linear(x, layer.weight + self.part(), layer.bias)
        return layer._conv_forward(x, layer.weight + self.part().to(layer.weight.dtype), layer.bias)


# -------------------------------------------------------------------------------------------------------- attaching


class Adapters:
    """One modality's adapters, at birth the identity: `embed` is the backbone's, but through the purifier and the
    adapted layers.

    `parts` holds all that trains, by kind: "low_rank" and "norms" by qualified layer name, "purifier" by the space it
    works in, "weights" by name. `networks` are the modules of the adapted copy, whose tensors are the backbone's own
    (but for those in "weights"). `seed`: of the random halves of the low-rank parts; None where saved values will be
    put in the place of all that is made here. Raises InputError for an encoder whose layers cannot be seen at work.
    """

    def __init__(self, backbone: Encoder, modality: str, shape: AdapterShape, seed: int | None = 0) -> None:
        if modality not in backbone.inputs:
            raise InputError(
                f"encoder {backbone.name!r} does not take modality {modality!r}; it takes {', '.join(backbone.inputs)}"
            )
        self.modality, self.shape = modality, shape
        self.encoder = sharing_copy(backbone)
        self.networks = nn.ModuleList(modules_of(self.encoder))
        self._spec = backbone.inputs[modality]
        self.entrance = entrance(self._spec)
        called = _called(self.encoder, self._spec)
        if not any(isinstance(module, (nn.Linear, *CONVS)) for module in called.values()):
            raise InputError(
                f"encoder {backbone.name!r} embeds {modality} through no layer that adapters could attach to; "
                "expected Linear or Conv modules "
                "in an attribute of the encoder (from_callable: in the closures of its functions and in model=...)"
            )
        self._purifier: nn.Module | None = None
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed or 0)
            self.parts = nn.ModuleDict(self._attached(called, fresh=seed is not None))
        self.parts.to(first_device(called.values())).requires_grad_(False).eval()

    def _attached(self, called: "Layers", fresh: bool) -> dict[str, nn.Module]:
        """The parts by kind, in their places."""
        low_rank, norms, purifier = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        weights = _untied(called) if self.shape.weights else nn.ParameterDict()
        places = _places(self.networks)
        for name, layer in called.items():
            part = _part_for(layer, self.shape, name, fresh)
            if part is not None:
                (norms if isinstance(part, Affine) else low_rank)[name.replace(".", SEPARATOR)] = part
                adapted = Adapted(layer, part)
                for parent, child in places[layer]:
                    setattr(parent, child, adapted)
        if self.shape.purifier:
            where = self._spec.spaces[self.entrance]
            self._purifier = purifier_for(where, self._spec.shape_in(where.name), self.shape.purifier)
            purifier[where.name] = self._purifier
        return {"low_rank": low_rank, "norms": norms, "purifier": purifier, "weights": weights}

    def take(self, other: "Adapters") -> None:
        """Becomes the same function as others of the same encoder where this shape has all of theirs (kinds that they
        lack stay the identity), else one near it: see the parts' own `take`.
        """
        for kind, mine in self.parts.items():
            its = other.parts.get_submodule(kind)
            if kind not in other.shape.kinds:
                continue
            if kind in ("low_rank", "purifier"):
                for name, part in its.named_children():
                    place = mine.get_submodule(name)
                    assert isinstance(place, LowRank | CoreUpdate | Purifier)
                    place.take(part)
            else:
                mine.load_state_dict(its.state_dict())

    def embed(self, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        """Unit rows. Inputs of the native space are first brought to the front where the purifier waits, if there is
        one.
        """
        return embed_behind(self.encoder, self._spec, self._purifier, x, space)


def embed_behind(
    encoder: Encoder,
    spec: InputSpec,
    purifier: nn.Module | None,
    x: Float[Tensor, "b ..."],
    space: str | None = None,
) -> Float[Tensor, "b d"]:
    """Unit rows of an encoder behind a purifier, which waits in the space that `entrance` names."""
    space = space or spec.space.name
    if purifier is None:
        return encoder.embed(spec.modality, x, space=space)
    where = entrance(spec)
    if space == spec.space.name:
        x, space = spec.convert(x, where), where
    return encoder.embed(spec.modality, purifier(x) if space == where else x, space=space)


def entrance(spec: InputSpec) -> str:
    """The space that a purifier works in: the one front where there is one, as every input passes it (a waveform on its
    way to a log-mel).
    """
    return next(iter(spec.fronts)) if len(spec.fronts) == 1 else spec.space.name


def _part_for(layer: nn.Module, shape: AdapterShape, name: str, fresh: bool) -> nn.Module | None:
    if isinstance(layer, NORMS):
        return Affine(layer) if shape.norms and next(layer.parameters(), None) is not None else None
    plain = any(
        type(layer).forward is kind.forward for kind in (nn.Linear, *CONVS)
    )  # a subclass may use its weight in another way
    rank = shape.rank_of(name)
    if not rank or not plain:
        return None
    weight: Any = layer.weight
    return CoreUpdate(weight, rank, fresh) if shape.core else LowRank(weight, rank)


def _untied(called: "Layers") -> nn.ParameterDict:
    """The called modules' own parameters in float32, put in the place of the backbone's."""
    own: dict[nn.Parameter, nn.Parameter] = {}
    weights = nn.ParameterDict()
    for name, module in called.items():
        for key, value in module.named_parameters(recurse=False):
            if value not in own:
                own[value] = weights[f"{name}.{key}".replace(".", SEPARATOR)] = nn.Parameter(
                    value.detach().float().clone()
                )
            setattr(module, key, own[value])
    return weights


Layers = dict[str, nn.Module]  # by a qualified name that begins with the encoder's attribute


def named_layers(encoder: Any) -> Layers:
    """Every module of an encoder by the qualified name that parts are kept under, "." for SEPARATOR."""
    if isinstance(encoder, nn.Module):
        return dict(encoder.named_modules())
    roots = {key: one for key, one in vars(encoder).items() if isinstance(one, nn.Module)}
    return {f"{key}.{at}".rstrip("."): one for key, root in roots.items() for at, one in root.named_modules()}


def _places(networks: nn.ModuleList) -> dict[nn.Module, list[tuple[nn.Module, str]]]:
    """Where each module hangs: its parents, and its name there."""
    places: dict[nn.Module, list[tuple[nn.Module, str]]] = {}
    for parent in networks.modules():
        for child, layer in parent._modules.items():  # named_children would hide a second place of the same module
            if layer is not None:
                places.setdefault(layer, []).append((parent, child))
    return places


def _called(encoder: Encoder, spec: InputSpec) -> Layers:
    """The modules that embedding two random inputs of this modality calls, in the order of their first call."""
    called: Layers = {}
    hooks = [
        module.register_forward_pre_hook(lambda module, inputs, name=name: called.setdefault(name, module) and None)
        for name, module in named_layers(encoder).items()
    ]
    low, high = (-1.0, 1.0) if spec.space.low is None or spec.space.high is None else (spec.space.low, spec.space.high)
    x = low + (high - low) * torch.rand((2, *spec.shape), generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            encoder.embed(spec.modality, x.to(device_of(encoder)))
    finally:
        for hook in hooks:
            hook.remove()
    return called


# ---------------------------------------------------------------------------------------------------------- counting


@dataclass(frozen=True)
class Share:
    """How many parameters train for a modality, of how many that embed it (`tower`) and of all (`encoder`)."""

    trained: int
    tower: int
    encoder: int

    def __str__(self) -> str:
        tower, whole = 100 * self.trained / self.tower, 100 * self.trained / self.encoder
        return f"{self.trained:,}: {tower:.2f} % of the tower's {self.tower:,}, {whole:.2f} % of all"


def share(encoder: Encoder, modality: str, shape: AdapterShape) -> Share:
    """What adapters of this shape would train. Works on weightless encoders too (torch's meta device): only shapes are
    looked at.
    """
    adapters = Adapters(encoder, modality, shape, seed=None)
    return Share(
        sum(parameter.numel() for parameter in adapters.parts.parameters()),
        tower_parameters(encoder, modality),
        parameter_count(encoder),
    )


def tower_parameters(encoder: Encoder, modality: str) -> int:
    """Parameters of the modules that take part in embedding this modality."""
    called = _called(encoder, encoder.inputs[modality])
    parameters = {parameter for module in called.values() for parameter in module.parameters(recurse=False)}
    return sum(parameter.numel() for parameter in parameters)
