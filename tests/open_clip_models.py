"""Small open_clip checkpoints whose numbers follow from a seed: open_clip itself and our reader see the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

VOCABULARY = 49408  # CLIP's, so that texts are read by its own tokenizer
TEXT = {"context_length": 77, "vocab_size": VOCABULARY, "width": 16, "heads": 2, "layers": 2}
SMALL = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8}
CONFIGS: dict[str, dict[str, Any]] = {
    "gelu": {"embed_dim": 12, "vision_cfg": SMALL, "text_cfg": TEXT},
    "quick_gelu": {"embed_dim": 12, "quick_gelu": True, "vision_cfg": SMALL, "text_cfg": TEXT},
    # as ViT-g: a ratio whose product is rounded down, heads of another width; short texts, an own object for them
    "g": {
        "embed_dim": 8, "custom_text": True,
        "vision_cfg": {**SMALL, "width": 24, "head_width": 8, "mlp_ratio": 4.3637, "patch_size": 16},
        "text_cfg": {**TEXT, "context_length": 9, "layers": 1},
    },
}  # fmt: skip
PREPROCESS: dict[str, dict[str, Any]] = {
    "gelu": {"size": 32, "interpolation": "bicubic", "resize_mode": "shortest"},
    "quick_gelu": {
        "size": 32,
        "interpolation": "bilinear",
        "resize_mode": "squash",
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    },
    "g": {"size": 32, "interpolation": "bicubic", "resize_mode": "shortest"},
}  # fmt: skip
TEXTS = ("a photo of a guinea pig", "Two  &amp; a half caf\u00e9s, " + "very " * 40 + "far away", "")
SIZES = ((50, 71), (64, 47), (32, 32))  # rows and columns of pictures: odd margins on either side


def shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor, in open_clip's names."""
    vision, text, dim = config["vision_cfg"], config["text_cfg"], config["embed_dim"]
    width, patch = vision["width"], vision["patch_size"]
    own = "text." if config.get("custom_text") else ""
    out = {
        "visual.class_embedding": (width,),
        "visual.positional_embedding": (1 + (vision["image_size"] // patch) ** 2, width),
        "visual.conv1.weight": (width, 3, patch, patch),
        "visual.proj": (width, dim),
        f"{own}positional_embedding": (text["context_length"], text["width"]),
        f"{own}token_embedding.weight": (text["vocab_size"], text["width"]),
        f"{own}text_projection": (text["width"], dim),
        "logit_scale": (),
    }
    for norm, size in (("visual.ln_pre", width), ("visual.ln_post", width), (f"{own}ln_final", text["width"])):
        out |= {f"{norm}.weight": (size,), f"{norm}.bias": (size,)}
    for tower, size, settings in (("visual.", width, vision), (own, text["width"], text)):
        hidden = int(size * settings.get("mlp_ratio", 4.0))
        for layer in range(settings["layers"]):
            block = f"{tower}transformer.resblocks.{layer}"
            out |= {f"{block}.attn.in_proj_weight": (3 * size, size), f"{block}.attn.in_proj_bias": (3 * size,)}
            for part, rows, columns in (
                ("attn.out_proj", size, size),
                ("mlp.c_fc", hidden, size),
                ("mlp.c_proj", size, hidden),
            ):
                out |= {f"{block}.{part}.weight": (rows, columns), f"{block}.{part}.bias": (rows,)}
            for norm in ("ln_1", "ln_2"):
                out |= {f"{block}.{norm}.weight": (size,), f"{block}.{norm}.bias": (size,)}
    return out


def tensors(config: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Numbers of a seed; numpy's old generator gives the same ones for good."""
    rng = np.random.RandomState(0)  # noqa: NPY002
    made = {}
    for name, shape in sorted(shapes(config).items()):
        values = rng.randn(*shape) if shape else np.float64(2.0)
        if ".ln_" in name or name.startswith("ln_"):
            values = 1 + 0.1 * values if name.endswith("weight") else 0.1 * values
        elif len(shape) > 1 and "embedding" not in name:
            values = values / np.sqrt(np.prod(shape[1:]))
        made[name] = torch.tensor(np.asarray(values, np.float32) * (0.5 if "bias" in name else 1))
    return made


def pictures() -> list[np.ndarray]:
    """uint8 `h w 3` of SIZES."""
    rng = np.random.RandomState(1)  # noqa: NPY002
    return [rng.randint(0, 256, (*size, 3)).astype(np.uint8) for size in SIZES]


def write(folder: Path, kind: str, file: str = "open_clip_model.safetensors") -> Path:
    """A checkpoint as open_clip publishes it: configuration and tensors."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    about = {"model_cfg": CONFIGS[kind], "preprocess_cfg": PREPROCESS[kind]}
    (folder / "open_clip_config.json").write_text(json.dumps(about), encoding="utf-8")
    if file.endswith(".safetensors"):
        save_file(tensors(CONFIGS[kind]), folder / file)
    else:
        torch.save(tensors(CONFIGS[kind]), folder / file)
    return folder
