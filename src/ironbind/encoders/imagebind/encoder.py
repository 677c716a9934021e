"""ImageBind as an Encoder: native units in front of the network, unit rows behind it.

Code: ours, from a specification. Weights: imagebind_huge.pth, CC BY-NC-SA 4.0 (research only), never shipped. Paper:
arXiv:2305.05665.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.encoders.imagebind.inputs import ImageBindInputs
from ironbind.encoders.imagebind.model import HUGE, TOWER_OF, WIDTH, ImageBindModel, TowerSize, official_name
from ironbind.encoders.shared import checkpoint
from ironbind.encoders.shared.clip_tokens import tokenize
from ironbind.encoders.shared.official_form import OfficialForm, write_tensors
from ironbind.encoders.shared.official_weights import WEIGHTS
from ironbind.encoders.shared.trunk import Trunk
from ironbind.numerics.networks import device_of
from ironbind.types import InputError, InputSpec

MASK = "modality_preprocessors.text.mask"  # a table entry, not a weight: the random rule leaves it alone
TEXT_BATCH = 64
PRECISIONS = (torch.float32, torch.bfloat16, torch.float16)


class BindEncoder:
    """An Encoder around a network whose `forward(modality, x)` takes official input tensors.

    `converters[modality, space]` lead from a space to those, `tokens` from texts (None: no text tower). `model` is the
    frozen network, open to heads and adapters. `official`: how it is written as its official file.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        inputs: Mapping[str, InputSpec],
        converters: Mapping[tuple[str, str], Callable[[Tensor], Tensor]],
        weights_sha256: str,
        tokens: Callable[[Sequence[str]], Tensor] | None,
        official: OfficialForm | None = None,
    ) -> None:
        self.name = name
        self.licence = WEIGHTS[name].licence
        self.dim = WIDTH
        self.model = model
        self.inputs = inputs
        self.weights_sha256 = weights_sha256
        self.official = official
        self._converters = converters
        self._tokens = tokens

    def to(self, device: Any) -> "BindEncoder":
        """This encoder, its network moved to `device`."""
        self.model.to(device)
        return self

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b 1024"]:
        """Unit rows of inputs in the native space (or the one named), differentiable in `x`. Raises InputError for what
        was not loaded.
        """
        if modality not in self.inputs:
            raise InputError(
                f"modality {modality!r} is not loaded in {self.name}; expected one of {', '.join(self.inputs)}"
            )
        spec = self.inputs[modality]
        convert = self._converters[modality, spec.space_named(space or spec.space.name).name]
        return F.normalize(self.model(modality, convert(x)), dim=-1)

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n 1024"]:
        """Unit rows of texts. Raises InputError where the text tower was not loaded or no vocabulary can be had."""
        if self._tokens is None:
            raise InputError(f"modality 'text' is not loaded in {self.name}; add it to modalities")
        ids = self._tokens(texts).to(device_of(self))
        return torch.cat([F.normalize(self.model("text", batch), dim=-1) for batch in ids.split(TEXT_BATCH)])


def wanted(modalities: str | Iterable[str] | None, possible: Sequence[str]) -> tuple[str, ...]:
    """The modalities asked for, all for None. Raises InputError for one that does not exist."""
    names = (
        tuple(possible) if modalities is None else (modalities,) if isinstance(modalities, str) else tuple(modalities)
    )
    for name in names:
        if name not in possible:
            raise InputError(
                f"modality {name!r} does not exist for this encoder; expected one of {', '.join(possible)}"
            )
    return names


Official = tuple[Path, dict[str, Tensor]]  # a checkpoint's path and its tensors by official name


def read_official(encoder: str, weights: str | os.PathLike[str] | None) -> Official | None:
    """The file's tensors, None for "random". Says once under which licence. Raises InputError for a missing or damaged
    file.
    """
    if weights == "random":
        return None
    path = checkpoint.require_file(weights, WEIGHTS[encoder])
    checkpoint.announce(encoder)
    return path, checkpoint.read_checkpoint(path)


def fill(
    model: nn.Module,
    official: Callable[[str], str],
    whole: Callable[[], nn.Module],
    encoder: str,
    source: Official | None,
) -> str:
    """Gives `model`, built on the meta device, its weights from `source` (checked against `whole()`, all towers) or by
    rule; returns their hash.
    """
    if source is None:
        checkpoint.assign(model, _by_rule(model, official), official)
        return hashlib.sha256(repr(sorted(checkpoint.shapes(model, official).items())).encode()).hexdigest()
    path, tensors = source
    with torch.device("meta"):
        expected = checkpoint.shapes(whole(), official)
    checkpoint.check_names(path, tensors, expected, WEIGHTS[encoder])
    checkpoint.assign(model, tensors, official)
    return checkpoint.file_sha256(path)


def _by_rule(model: nn.Module, official: Callable[[str], str]) -> dict[str, Tensor]:
    kept = [name for name in map(official, model.state_dict()) if name.endswith(MASK)]
    return checkpoint.rule_weights(model, official, keep=kept)


def official_state(
    model: nn.Module, official: Callable[[str], str], whole: Callable[[], nn.Module], source: Official | None
) -> dict[str, Tensor]:
    """The whole official state dict, in the file's types: `model`'s own entries, all others as in `source` or by rule.
    `fill` read backwards.
    """
    if source is None:
        with torch.device("meta"):
            every = whole()
        others = _by_rule(every, official)
    else:
        others = source[1]
    own = {official(name): value for name, value in model.state_dict().items()}
    return {name: own.get(name, value).to(value.dtype) for name, value in others.items()}


def settle(model: nn.Module, dtype: torch.dtype, device: str | torch.device, checkpointing: bool) -> None:
    """Trunks in `dtype` (stems, norms around them and heads stay float32), everything on `device`. Raises InputError
    for other precisions.
    """
    if dtype not in PRECISIONS:
        raise InputError(f"dtype {dtype}; expected one of {', '.join(map(str, PRECISIONS))}")
    for module in model.modules():
        if isinstance(module, Trunk):
            module.to(dtype)
            module.checkpointing = checkpointing
    model.to(device)


def load(
    weights: str | os.PathLike[str] | None = None,
    modalities: str | Iterable[str] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    *,
    checkpointing: bool = False,
    vocabulary: str | Path | None = None,
    sizes: Mapping[str, TowerSize] = HUGE,
    **choices: Any,
) -> BindEncoder:
    """ImageBind for `modalities` (image, video, audio, depth, thermal, imu, text; None: all), frozen, in evaluation
    mode.

    `weights`: the official imagebind_huge.pth (or the same as .safetensors), memory-mapped, so only what is asked for
    takes memory; "random" for the rule of `checkpoint.rule_weights`, which knows nothing. `dtype`: precision of the
    frozen trunks. `checkpointing`: recompute activations in attacks (a third more time, a fraction of the memory).
    `vocabulary`: see `text.tokenize`. `sizes`: smaller towers, for tests. `choices`: fields of ImageBindInputs. Raises
    InputError for a missing, foreign or damaged file, an unknown modality or precision.
    """
    names = wanted(modalities, tuple(TOWER_OF))
    inputs = ImageBindInputs(**choices)
    source = read_official("imagebind-huge", weights)
    with torch.device("meta"):
        model = ImageBindModel(names, sizes)

    def whole() -> ImageBindModel:
        return ImageBindModel(sizes=sizes)

    def write(model: nn.Module, modality: str, path: Path, head: Mapping[str, Tensor]) -> None:
        write_tensors(path, official_state(model, official_name, whole, source))

    def again(path: Path, modality: str) -> BindEncoder:
        return load(path, (modality,), vocabulary=vocabulary, sizes=sizes, **choices)

    sha256 = fill(model, official_name, whole, "imagebind-huge", source)
    settle(model, dtype, device, checkpointing)
    specs = {name: spec for name, spec in inputs.specs().items() if name in names}
    tokens = partial(tokenize, vocabulary=vocabulary) if "text" in names else None
    official = OfficialForm("imagebind_huge.safetensors", False, write, again)
    return BindEncoder("imagebind-huge", model, specs, inputs.converters(), sha256, tokens, official)
