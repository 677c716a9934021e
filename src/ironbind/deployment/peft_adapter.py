"""Trained parts as an adapter folder that the `peft` library loads onto a `transformers` model (extra `peft`).

A low-rank update becomes LoRA of the same matrices with scale 1 (Hu et al. 2022, arXiv 2106.09685); one full matrix
(where that is smaller) LoRA of full rank, one of whose matrices is the identity. LoRA has no place for the gain and
shift of a norm: those norms are saved whole, folded ("modules_to_save").
"""

import re
import warnings
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.calibration.low_rank import CoreUpdate, LowRank
from ironbind.core.errors import writing
from ironbind.deployment.folding import Folded
from ironbind.deployment.official_weights_file import refuse_other_kind
from ironbind.deployment.verification import FOLDED
from ironbind.deployment.written_form import WrittenForm
from ironbind.numerics.networks import sharing_copy
from ironbind.types import InputError

MODEL = "model."  # the attribute of the encoder that holds the library's model


def write(folded: Folded, out: Path) -> WrittenForm:
    """Written by `peft` itself, and loaded by it onto the base model. A head goes beside.

    Raises InputError without the library, for a purifier, for an encoder that is no `transformers` model, and for
    layers that LoRA does not know.
    """
    try:
        import peft
    except ImportError:
        raise InputError("--format peft needs the peft library; expected `pip install ironbind[peft]`") from None
    folded.refuse_purifier("peft")
    model: Any = getattr(folded.base, "model", None)
    if not hasattr(model, "save_pretrained"):
        raise InputError(
            f"--format peft: encoder {folded.base.name!r} is no transformers model; expected --format official"
        )
    refuse_other_kind(out, True, "")
    for name in folded.weights[:1]:
        raise InputError(f"--format peft: all weights of the tower were trained ({name}); expected --format official")
    matrices = {_inside(name): _two(part, name, folded) for name, part in folded.low_rank.items()}
    ranks = {name: len(down) for name, (_, down) in matrices.items()}
    if not ranks:
        raise InputError("--format peft: no low-rank update was trained; expected --format official")
    highest = max(ranks.values())
    others = {re.escape(name): rank for name, rank in ranks.items() if rank != highest}
    config = peft.LoraConfig(
        r=highest,
        lora_alpha=highest,  # a scale of 1
        rank_pattern=others,
        alpha_pattern=others,
        target_modules=list(ranks),
        modules_to_save=[_inside(name) for name in folded.norms] or None,
        inference_mode=True,
    )
    with writing(out), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own affairs
        adapted = peft.get_peft_model(sharing_copy(folded.base).model, config)  # type: ignore[attr-defined]
        _fill(adapted.base_model.model, matrices, folded)
        adapted.save_pretrained(str(out), save_embedding_layers=False)
        base = sharing_copy(folded.base)
        peft.PeftModel.from_pretrained(base.model, str(out))  # type: ignore[attr-defined]
    files = sorted(out.iterdir(), key=lambda path: (path.suffix != ".safetensors", path.name))
    return WrittenForm(
        tuple(path for path in files if path.is_file()),
        lambda x, space: base.embed(folded.modality, x, space=space),
        tuple(folded.spec.spaces),
        FOLDED,
        head=folded.head is None,
    )


def _inside(name: str) -> str:
    """A qualified layer name of the encoder -> that of the library's model."""
    return name.removeprefix(MODEL)


def _two(part: LowRank | CoreUpdate, name: str, folded: Folded) -> tuple[Float[Tensor, "o r"], Float[Tensor, "r ..."]]:
    """`up` and `down` of one update, in the shapes that LoRA keeps them in."""
    layer = folded.layer(name)
    if getattr(layer, "groups", 1) != 1:
        raise InputError(
            f"--format peft: {name} is a grouped convolution, which LoRA does not know; expected --format official"
        )
    rows, rest = part.shape[0], part.shape[1:]
    up, down = part.factors()
    return up.reshape(rows, -1, *[1] * (len(rest) - 1)).detach(), down.reshape(-1, *rest).detach()


def _fill(model: nn.Module, matrices: dict[str, tuple[Tensor, Tensor]], folded: Folded) -> None:
    with torch.no_grad():
        for name, (up, down) in matrices.items():
            layer: Any = model.get_submodule(name)
            layer.lora_A["default"].weight.copy_(down)
            layer.lora_B["default"].weight.copy_(up)
        for name in folded.norms:
            saved: Any = model.get_submodule(_inside(name))
            saved.modules_to_save["default"].load_state_dict(folded.layer(name).state_dict())
