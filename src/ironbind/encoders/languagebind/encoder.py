"""LanguageBind as Encoders: one official file per modality ("languagebind-audio-ft"), or several in one space
("languagebind").

Image, video, audio, depth, thermal and text, each modality a separate CLIP-like model with its own copy of the same
frozen text tower. Event recordings go through the image tower as pictures; there is no tower for point clouds. Paper
and licence: see `model.py`.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.core.results import write_atomically
from ironbind.encoders.from_callable import CallableEncoder
from ironbind.encoders.imagebind.encoder import settle
from ironbind.encoders.languagebind.inputs import BINS, SPECTROGRAM, VIA, LanguageBindInputs
from ironbind.encoders.languagebind.model import (
    ALPHA,
    HUGE,
    LARGE,
    LOGIT_SCALE,
    VIDEO,
    Architecture,
    LanguageBind,
    TextTower,
    VisionTower,
    merge_lora,
    official_entries,
    official_state,
    own_state,
    text_config,
    vision_config,
)
from ironbind.encoders.shared.checkpoint import (
    announce,
    check_names,
    file_sha256,
    read_checkpoint,
    read_json,
    require_file,
    rule_tensor,
)
from ironbind.encoders.shared.clip_tokens import END, tokenize
from ironbind.encoders.shared.official_form import OfficialForm, write_tensors
from ironbind.encoders.shared.official_weights import WEIGHTS, OfficialWeights
from ironbind.numerics.networks import device_of
from ironbind.types import InputError

FILES = ("model.safetensors", "pytorch_model.bin")
BESIDE = (
    "preprocessor_config.json", "tokenizer_config.json", "tokenizer.json", "vocab.json", "merges.txt",
    "special_tokens_map.json",
)  # fmt: skip
ABSENT = {"point": "LanguageBind has no point tower; UniBind has one"}


class Variant(NamedTuple):
    """One official file: what it sees, how it is built, and the repository of the organisation LanguageBind that it
    lives in.
    """

    modality: str
    arch: Architecture
    repository: str


_AUDIO = Architecture(size=(BINS, SPECTROGRAM))
VARIANTS = {
    "languagebind-image": Variant("image", LARGE, "LanguageBind_Image"),
    "languagebind-video": Variant("video", replace(VIDEO, lora="temporal.attn", lora_rank=64), "LanguageBind_Video"),
    "languagebind-video-ft": Variant("video", VIDEO, "LanguageBind_Video_FT"),
    "languagebind-video-v1.5-ft": Variant("video", replace(VIDEO, v1_5=True), "LanguageBind_Video_V1.5_FT"),
    "languagebind-video-huge-v1.5-ft": Variant("video", HUGE, "LanguageBind_Video_Huge_V1.5_FT"),
    "languagebind-audio": Variant("audio", replace(_AUDIO, lora="attn", lora_rank=8), "LanguageBind_Audio"),
    "languagebind-audio-ft": Variant("audio", _AUDIO, "LanguageBind_Audio_FT"),
    "languagebind-depth": Variant("depth", replace(LARGE, lora="attn", lora_rank=2), "LanguageBind_Depth"),
    "languagebind-thermal": Variant("thermal", replace(LARGE, lora="attn", lora_rank=2), "LanguageBind_Thermal"),
}
DEFAULT_TOWERS = (
    "languagebind-image",
    "languagebind-video-ft",
    "languagebind-audio-ft",
    "languagebind-depth",
    "languagebind-thermal",
)


def _served(modality: str) -> tuple[str, ...]:
    """What a file with this tower can embed."""
    return (modality, *(name for name, through in VIA.items() if through == modality), "text")


TOWER_OF = {
    name: {modality: VIA.get(modality, modality) for modality in _served(variant.modality)}
    for name, variant in VARIANTS.items()
}
TOWER_OF["languagebind"] = {modality: tower for name in DEFAULT_TOWERS for modality, tower in TOWER_OF[name].items()}


def load(
    name: str,
    weights: str | Path | None = None,
    modalities: str | Iterable[str] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    **options: Any,
) -> CallableEncoder:
    """One official file as an Encoder of its modality, of text, and (an image tower) of event recordings.

    `weights`: the file, or the folder of its Hugging Face snapshot, memory-mapped; "hub": fetched from there; "random":
    rebuilt from names alone. `modalities`: which are wanted (None: all). `dtype`: precision of the frozen trunks.
    `options`: `checkpointing` (recompute activations in attacks: a third more time, a fraction of the memory),
    `vocabulary` (see `text.tokenize`), and the fields of LanguageBindInputs. Raises InputError for a file that is not
    this variant's, and for a modality that it has no tower for.
    """
    served = _served(VARIANTS[name].modality)
    return assemble(name, {name: weights}, _wanted(modalities, served), dtype, device, **options)


def load_several(
    weights: str | Path | Mapping[str, str | Path] | None = None,
    modalities: str | Iterable[str] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    **options: Any,
) -> CallableEncoder:
    """Several official files as one Encoder ("languagebind"), with the text tower of the first; only files that
    `modalities` needs are read.

    `weights`: variant name -> file, folder or "random" ("languagebind-" may be left out: {"image": PATH, "audio-ft":
    PATH}); or one folder that holds folders named like the official repositories; or "hub" or "random" for the image,
    video-ft, audio-ft, depth and thermal towers. Raises InputError for two towers of one modality, or for towers of
    unlike embedding spaces (Huge has its own). Else as `load`.
    """
    if weights in ("hub", "random"):
        weights = dict.fromkeys(DEFAULT_TOWERS, str(weights))
    elif isinstance(weights, str | Path):
        folder = Path(weights).expanduser()
        weights = {
            name: folder / variant.repository
            for name, variant in VARIANTS.items()
            if (folder / variant.repository).is_dir()
        }
        if not weights:
            raise InputError(
                f"weights {str(folder)!r} holds no folder of an official repository; expected some of {_repositories()}"
            )
    if not weights:
        raise InputError(
            "weights=None: languagebind needs a mapping of variants to files, or a folder holding some of"
            f" {_repositories()}"
        )
    named = {
        name if name.startswith("languagebind-") else f"languagebind-{name}": path for name, path in weights.items()
    }
    for name in named:
        if name not in VARIANTS:
            raise InputError(
                f"weights names {name!r}, which is not a variant of LanguageBind; expected some of"
                f" {', '.join(VARIANTS)}"
            )
    served = dict.fromkeys(modality for name in named for modality in _served(VARIANTS[name].modality))
    wanted = _wanted(modalities, tuple(served))
    needed = {
        name: path for name, path in named.items() if set(_served(VARIANTS[name].modality)) & set(wanted) - {"text"}
    }
    return assemble("languagebind", needed or named, wanted, dtype, device, **options)


def _repositories() -> str:
    return ", ".join(variant.repository for variant in VARIANTS.values())


def _wanted(modalities: str | Iterable[str] | None, served: tuple[str, ...]) -> tuple[str, ...]:
    names = served if modalities is None else (modalities,) if isinstance(modalities, str) else tuple(modalities)
    for name in names:
        if name not in served:
            expected = ABSENT.get(name, f"expected some of {', '.join(served)}")
            raise InputError(f"modality {name!r} is not in these weights: {expected}")
    return names


def assemble(
    name: str,
    weights: Mapping[str, str | Path | None],
    modalities: Sequence[str],
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    *,
    checkpointing: bool = False,
    vocabulary: str | Path | None = None,
    variants: Mapping[str, Variant] = VARIANTS,
    **choices: Any,
) -> CallableEncoder:
    """The Encoder called `name` out of one file per variant; `variants` may be other sizes than the official ones."""
    inputs = LanguageBindInputs(**choices)
    dims = {key: variants[key].arch.dim for key in weights}
    if len(set(dims.values())) > 1:
        raise InputError(
            f"weights mixes towers of unlike embedding spaces: {dims}; expected one dimension (Huge models stand alone)"
        )
    towers: dict[str, nn.Module] = {}
    digests = []
    for key, path in weights.items():
        variant = variants[key]
        if variant.modality in towers:
            raise InputError(
                f"weights names two towers for {variant.modality}, {key!r} the second; expected one per modality"
            )
        state, digest = _official_state(key, variant, path, with_text="text" in modalities and "text" not in towers)
        towers[variant.modality] = _filled(VisionTower, "vision", variant.arch, state)
        if "text" in modalities and "text" not in towers:
            towers["text"] = _filled(TextTower, "text", variant.arch, state)
        digests.append(digest)
    model = LanguageBind(towers).requires_grad_(False).eval()
    settle(model, dtype, device, checkpointing)
    sha256 = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def function(tower: str, convert: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: model(tower, convert(x))

    def text(texts: list[str]) -> Float[Tensor, "n e"]:
        return model("text", tokenize(texts, vocabulary=vocabulary, pad=END).to(device_of(model)))

    specs = {modality: spec for modality, spec in inputs.specs().items() if modality in modalities}
    functions = {
        (modality, space): function(VIA.get(modality, modality), convert)
        for (modality, space), convert in inputs.converters().items()
        if modality in specs
    }
    dim, asked = next(iter(dims.values())), text if "text" in towers else None
    key_of = {variants[key].modality: key for key in weights}

    def write(model: LanguageBind, modality: str, path: Path, head: Mapping[str, Tensor]) -> None:
        tower = VIA.get(modality, modality)
        key = key_of[tower]
        _write_official(model.towers[tower], key, variants[key], weights[key], path)

    def again(path: Path, modality: str) -> CallableEncoder:
        key = key_of[VIA.get(modality, modality)]
        return assemble(name, {key: path}, (modality,), vocabulary=vocabulary, variants=variants, **choices)

    return CallableEncoder(
        name, dim, specs, sha256, functions, asked, model, ABSENT, WEIGHTS["languagebind-image"].licence,
        OfficialForm(name, True, write, again),
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------------ the files


def _official_state(
    key: str, variant: Variant, weights: str | Path | None, with_text: bool
) -> tuple[dict[str, Tensor], str]:
    """The merged state dict of one variant under the plain models' official names, and a hash that identifies it."""
    if weights == "random":
        wanted = {
            name: shape
            for name, shape in official_entries(variant.arch).items()
            if shape and (with_text or not name.startswith("text"))
        }
        state = merge_lora({name: rule_tensor(name, shape) for name, shape in wanted.items()})
        return {"logit_scale": torch.tensor(LOGIT_SCALE), **state}, hashlib.sha256(f"rule {key}".encode()).hexdigest()
    official, path = _official(key), _path_of(key, weights)
    state = merge_lora(read_checkpoint(path), _alpha(path))
    check_names(path, state, official_entries(replace(variant.arch, lora=None)), official)
    announce(official.encoder)
    return state, file_sha256(path)


def _write_official(tower: nn.Module, key: str, variant: Variant, weights: str | Path | None, folder: Path) -> None:
    """A folder as the official repositories are, low-rank updates of the file merged: this vision tower, all else as it
    is in the original.
    """
    arch = replace(variant.arch, lora=None)
    state, _ = _official_state(key, variant, weights, with_text=True)
    write_tensors(folder / FILES[0], {**state, **official_state(arch, tower)})
    beside = None if weights == "random" else _path_of(key, weights).parent
    config = read_json(beside / "config.json") if beside is not None and (beside / "config.json").is_file() else {}
    config["vision_config"] = {**vision_config(arch), **config.get("vision_config", {}), "lora_r": 0}
    config.setdefault("text_config", text_config(arch))
    write_atomically(folder / "config.json", json.dumps({"projection_dim": arch.dim, **config}, indent=2))
    for file in [beside / name for name in BESIDE] if beside is not None else ():
        if file.is_file():
            write_atomically(folder / file.name, file.read_bytes())


def _path_of(key: str, weights: str | Path | None) -> Path:
    """The file of a variant that "hub", a file or a folder means. Raises InputError."""
    if weights == "hub":
        return _download(_official(key))
    return require_file(_file_in(Path(weights).expanduser()) if weights is not None else None, _official(key))


def _official(key: str) -> OfficialWeights:
    """Where a variant's file comes from; of one of other sizes than the official ones, the image tower's."""
    return WEIGHTS.get(key, WEIGHTS["languagebind-image"])


def _download(official: OfficialWeights) -> Path:
    """The official file out of the local Hugging Face cache, fetched when it is not there yet, its config.json beside
    it.
    """
    repository = official.source.removeprefix("hub:")
    try:
        from huggingface_hub import hf_hub_download

        hf_hub_download(repository, "config.json")
        return Path(hf_hub_download(repository, official.file))
    except ImportError:
        raise InputError(
            "weights 'hub' needs the huggingface_hub library; expected `pip install ironbind`, or a file"
        ) from None
    except (OSError, ValueError) as error:  # huggingface_hub's own errors are both
        raise InputError(
            f"weights 'hub': {official.file} of {repository} cannot be fetched ({type(error).__name__}); expected a"
            " file"
        ) from None


def _file_in(path: Path) -> Path:
    """The weights in a snapshot's folder, safetensors first."""
    for name in FILES if path.is_dir() else ():
        if (path / name).is_file():
            return path / name
    return path / FILES[-1] if path.is_dir() else path


def _alpha(path: Path) -> float:
    """The low-rank updates' alpha out of config.json beside the file. Raises InputError for another activation than the
    exact GELU.
    """
    config = path.with_name("config.json")
    if not config.is_file():
        return ALPHA
    vision = read_json(config).get("vision_config", {})
    activation, alpha = (
        (vision.get("hidden_act", "gelu"), vision.get("lora_alpha", ALPHA)) if isinstance(vision, dict) else ("", "")
    )
    if activation != "gelu":
        raise InputError(
            f"{config}: hidden_act {activation!r} is not what LanguageBind's official models have; expected 'gelu'"
        )
    try:
        return float(alpha)
    except (TypeError, ValueError):
        raise InputError(f"{config}: lora_alpha {alpha!r}; expected a number") from None


def _filled(
    kind: type[VisionTower] | type[TextTower], tower: str, arch: Architecture, state: Mapping[str, Tensor]
) -> nn.Module:
    with torch.device("meta"):
        module = kind(arch)
    module.load_state_dict(own_state(tower, module, state), assign=True)
    return module


image, video, video_ft, video_v1_5_ft, video_huge_v1_5_ft, audio, audio_ft, depth, thermal = (
    partial(load, name) for name in VARIANTS
)
