"""Names and settings of open_clip checkpoints, as `transformers` calls them: CLIP's two towers, of any size."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ironbind.types import InputError

TOWERS = {
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre": "vision_model.pre_layrnorm",
    "visual.ln_post": "vision_model.post_layernorm",
    "visual.proj": "visual_projection.weight",
    "visual.transformer.resblocks": "vision_model.encoder.layers",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final": "text_model.final_layer_norm",
    "text_projection": "text_projection.weight",
    "transformer.resblocks": "text_model.encoder.layers",
    "logit_scale": "logit_scale",
}
BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
TRANSPOSED = ("visual.proj", "text_projection")  # which open_clip multiplies from the right
LEFT_OUT = ("attn_mask", "input_resolution", "context_length", "vocab_size")  # no parameters, in some releases' files

# what these settings are where they are left out: what CLIPModel of `transformers` computes
CLIP_VISION = {
    "ls_init_value": None, "attentional_pool": False, "no_ln_pre": False, "pos_embed_type": "learnable",
    "final_ln_after_pool": False, "pool_type": "tok", "act_kwargs": None, "block_type": None, "qk_norm": False,
    "scaled_cosine_attn": False, "scale_heads": False, "scale_attn_inner": False, "scale_attn": False,
    "scale_fc": False, "timm_model_name": None, "input_patchnorm": False,
}  # fmt: skip
CLIP_TEXT = {
    "hf_tokenizer_name": None, "tokenizer_kwargs": None, "tokenizer_mode": None, "ls_init_value": None,
    "embed_cls": False, "no_causal_mask": False, "final_ln_after_pool": False, "pool_type": "argmax",
    "proj_bias": False, "proj_type": "linear", "act_kwargs": None, "block_type": None, "qk_norm": False,
    "scaled_cosine_attn": False, "scale_heads": False, "scale_attn_inner": False, "scale_attn": False,
    "scale_fc": False, "hf_model_name": None,
}  # fmt: skip
SIZES = {
    "vision_cfg": {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size", "patch_dropout",
                   "norm_kwargs", "output_tokens"},
    "text_cfg": {"context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", "pad_id", "eos_id",
                 "norm_kwargs", "output_tokens"},
}  # fmt: skip
UNUSED = ("attn_", "timm_", "hf_")  # beginnings of settings that only matter beside one that is refused
MODEL = {
    "embed_dim",
    "vision_cfg",
    "text_cfg",
    "quick_gelu",
    "custom_text",
    "init_logit_scale",
    "nonscalar_logit_scale",
}


def transformers_config(model: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The arguments of `transformers.CLIPConfig` for open_clip's `model_cfg`. Raises InputError, naming the setting,
    for a model with other parts than CLIP's.
    """
    unlike = next((name for name in model if name not in MODEL), None)
    if unlike is not None:
        raise _unlike(where, unlike, model[unlike])
    try:
        vision, text = dict(model["vision_cfg"]), dict(model["text_cfg"])
        for part, settings, usual in (("vision_cfg", vision, CLIP_VISION), ("text_cfg", text, CLIP_TEXT)):
            for name, value in settings.items():
                known = name in SIZES[part] or (name in usual and value == usual[name])
                if not known and (name in usual or not name.startswith(UNUSED)):
                    raise _unlike(where, f"{part}.{name}", value)
        activation = "quick_gelu" if model.get("quick_gelu", False) else "gelu"
        width, side = int(vision.get("width", 768)), vision.get("image_size", 224)
        if not isinstance(side, int):
            raise _unlike(where, "vision_cfg.image_size", side)
        return {
            "projection_dim": int(model["embed_dim"]),
            "vision_config": {
                "hidden_size": width,
                "intermediate_size": int(width * vision.get("mlp_ratio", 4.0)),
                "num_hidden_layers": int(vision.get("layers", 12)),
                "num_attention_heads": width // int(vision.get("head_width", 64)),
                "image_size": side,
                "patch_size": int(vision.get("patch_size", 16)),
                "hidden_act": activation,
                "layer_norm_eps": _eps(vision, where),
            },
            "text_config": {
                "vocab_size": int(text.get("vocab_size", 49408)),
                "hidden_size": int(text.get("width", 512)),
                "intermediate_size": int(int(text.get("width", 512)) * text.get("mlp_ratio", 4.0)),
                "num_hidden_layers": int(text.get("layers", 12)),
                "num_attention_heads": int(text.get("heads", 8)),
                "max_position_embeddings": int(text.get("context_length", 77)),
                "hidden_act": activation,
                "layer_norm_eps": _eps(text, where),
                "bos_token_id": 0,
                "eos_token_id": 2,  # read out where the highest token stands, as open_clip does
            },
        }
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise InputError(f"{where}: its model_cfg cannot be used ({error!r:.80}); expected open_clip's") from error


def _eps(settings: Mapping[str, Any], where: str) -> float:
    given = dict(settings.get("norm_kwargs") or {})
    eps = float(given.pop("eps", 1e-5))
    if given:
        raise _unlike(where, "norm_kwargs", settings["norm_kwargs"])
    return eps


def _unlike(where: str, name: str, value: Any) -> InputError:
    shown = f"{value!r:.60}"
    return InputError(f"{where}: its setting {name}={shown} is none of CLIP's towers; expected a CLIP-shaped model")


def transformers_state(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """The tensors of an open_clip file under the names of `transformers`' CLIPModel. Raises InputError for one that
    CLIP's towers do not have.
    """
    state: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = name.removeprefix("text.")  # of models whose text tower is an object of its own
        if plain in LEFT_OUT or name in LEFT_OUT:
            continue
        known = next((own for own in TOWERS if plain == own or plain.startswith(f"{own}.")), None)
        if known is None:
            raise InputError(f"{where}: holds {name!r}, which CLIP's towers do not have; expected a CLIP-shaped model")
        target = TOWERS[known] + plain[len(known) :]
        if not known.endswith("resblocks"):
            state[target] = tensor.T if plain in TRANSPOSED else tensor
            continue
        *before, number, part, kind = _block_name(target, where, name)
        prefix = ".".join([*before, number])
        if part == "attn.in_proj":
            for letter, third in zip("qkv", tensor.chunk(3), strict=True):
                state[f"{prefix}.self_attn.{letter}_proj.{kind}"] = third
        elif part in BLOCK:
            state[f"{prefix}.{BLOCK[part]}.{kind}"] = tensor
        else:
            raise InputError(f"{where}: holds {name!r}, which CLIP's towers do not have; expected a CLIP-shaped model")
    return {name: tensor.to(torch.float32).contiguous() for name, tensor in state.items()}


def _block_name(target: str, where: str, name: str) -> list[str]:
    """["vision_model", "encoder", "layers", "3", "mlp.c_fc", "weight"]."""
    parts = target.split(".")
    place = parts.index("layers") + 1
    inside = ".".join(parts[place + 1 :]).replace("in_proj_", "in_proj.")
    part, dot, kind = inside.rpartition(".")
    if not dot or not parts[place].isdigit():
        raise InputError(f"{where}: holds {name!r}, which CLIP's towers do not have; expected a CLIP-shaped model")
    return [*parts[: place + 1], part, kind]
