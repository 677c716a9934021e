"""UniBind as an Encoder; its semantic centers are in `center_files`.

Code: ours, from a specification. Weights: MIT, but they contain all of ImageBind (CC BY-NC-SA 4.0: non-commercial).
Paper: arXiv:2403.12532.
"""

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ironbind.encoders.imagebind.encoder import BindEncoder, fill, official_state, read_official, settle, wanted
from ironbind.encoders.imagebind.model import HUGE, TowerSize
from ironbind.encoders.shared.clip_tokens import tokenize
from ironbind.encoders.shared.official_form import OfficialForm, write_tensors
from ironbind.encoders.unibind.inputs import UniBindInputs
from ironbind.encoders.unibind.model import TOWER_OF, UniBindModel, official_name
from ironbind.encoders.unibind.point_tower import LEVELS, LevelSize

HEAD, BACKBONE = "mlp_for_", "backbone."


def load(
    weights: str | os.PathLike[str] | None = None,
    modalities: str | Iterable[str] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    *,
    checkpointing: bool = False,
    vocabulary: str | Path | None = None,
    keep_end: bool = False,
    sizes: Mapping[str, TowerSize] = HUGE,
    levels: tuple[LevelSize, ...] = LEVELS,
    **choices: Any,
) -> BindEncoder:
    """UniBind for `modalities` (image, video, event, audio, thermal, point, text; None: all), frozen, in evaluation
    mode.

    `weights`: the official pretrained_weights.pt, or a fine-tuned `<modality>_model_*.pt`, whose head then follows that
    modality's embedding; "random" for the rule. `keep_end`: keep the end token of over-long texts; officially it is cut
    off, and all such texts coincide. `choices`: fields of UniBindInputs. The rest, and what is raised, as
    `imagebind.load`.
    """
    names = wanted(modalities, tuple(TOWER_OF))
    inputs = UniBindInputs(**choices)
    source = read_official("unibind", weights)
    heads: tuple[str, ...] = ()
    if source is not None:
        path, tensors = source
        tensors = {name.removeprefix(BACKBONE): value for name, value in tensors.items()}
        heads = tuple(
            name.removeprefix(HEAD).removesuffix(".weight")
            for name in tensors
            if name.startswith(HEAD) and name.endswith(".weight")
        )
        source = path, tensors
    with torch.device("meta"):
        model = UniBindModel(names, [modality for modality in heads if modality in names], sizes, levels)

    def whole() -> UniBindModel:
        return UniBindModel(heads=heads, sizes=sizes, levels=levels, all_towers=True)

    def write(model: nn.Module, modality: str, path: Path, head: Mapping[str, Tensor]) -> None:
        state = official_state(model, official_name, whole, source) | dict(head)
        tuned = any(name.startswith(HEAD) for name in state)  # as the official code saves what it fine-tuned
        write_tensors(
            path, {name if name.startswith(HEAD) or not tuned else BACKBONE + name: state[name] for name in state}
        )

    def again(path: Path, modality: str) -> BindEncoder:
        return load(path, (modality,), vocabulary=vocabulary, keep_end=keep_end, sizes=sizes, levels=levels, **choices)

    def head_entries(modality: str, linear: nn.Linear) -> dict[str, Tensor]:
        return {f"{HEAD}{modality}.{name}": value for name, value in linear.state_dict().items()}

    sha256 = fill(model, official_name, whole, "unibind", source)
    settle(model, dtype, device, checkpointing)
    specs = {name: spec for name, spec in inputs.specs().items() if name in names}
    tokens = partial(tokenize, vocabulary=vocabulary, keep_end=keep_end) if "text" in names else None
    official = OfficialForm("unibind.safetensors", False, write, again, None if heads else head_entries)
    return BindEncoder("unibind", model, specs, inputs.converters(), sha256, tokens, official)
