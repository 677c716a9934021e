"""Embedding models of the `transformers` library as Encoders (extra `hf`): native units in, unit rows out,
differentiable to the raw input.

    load_encoder("hf", weights="openai/clip-vit-large-patch14")          # a folder or a hub name
    hf.from_model("my clip", model, tokenizer, image=image_processor)    # objects at hand

One function per family, in FAMILIES by the configuration's `model_type`. Adding a family is one function and one line.
The library's processors run in numpy or PIL and so let no gradient through; only their configuration is used, and
`inputs.py` does their arithmetic in torch.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ironbind.core.errors import first_line
from ironbind.core.placeholders import placeholder
from ironbind.encoders.from_callable import CallableEncoder
from ironbind.encoders.hf import families, omni
from ironbind.encoders.hf.parts import Ends, Parts
from ironbind.encoders.hf.saved_model import write_folder
from ironbind.encoders.shared.checkpoint import read_json
from ironbind.encoders.shared.official_form import OfficialForm
from ironbind.numerics.networks import device_of
from ironbind.types import InputError

READ_FROM_FOLDERS = (".json", ".safetensors", ".bin", ".txt", ".model")


class Family(NamedTuple):
    """The function of a family, and what its models embed besides text."""

    build: Callable[[Parts], Ends]
    modalities: tuple[str, ...]


FAMILIES = {
    "clip": Family(families.clip, ("image",)),
    "metaclip_2": Family(families.clip, ("image",)),
    "siglip": Family(families.siglip, ("image",)),
    "siglip2": Family(families.siglip2, ("image",)),
    "xclip": Family(families.xclip, ("video",)),
    "clap": Family(families.clap, ("audio",)),
    "pe_audio": Family(omni.pe_audio, ("audio",)),
    "pe_video": Family(omni.pe_video, ("video",)),
    "pe_audio_video": Family(omni.pe_audio_video, ("audio", "video")),
    "embedding_gemma2": Family(omni.embedding_gemma2, ("image", "video", "audio")),
}
TOWER_OF = {
    f"hf: {kind}": {modality: modality for modality in (*family.modalities, "text")}
    for kind, family in FAMILIES.items()
}


def from_model(
    name: str,
    model: nn.Module,
    tokenizer: Any = None,
    *,
    image: Any = None,
    video: Any = None,
    audio: Any = None,
    modalities: str | Iterable[str] | None = None,
    **options: Any,
) -> CallableEncoder:
    """A `transformers` model as an Encoder, frozen and in evaluation mode.

    `image`, `video`: its image and video processors, or their configuration as a mapping; `audio`: its feature
    extractor. `modalities`: which to offer (None: all that the model has). `options`: `seconds`, `frames`, `size`,
    `text_head`, `prompt`, explained at the families that take them. Raises InputError for a family that is not in
    FAMILIES, and for a modality that the model does not have.
    """
    kind: Any = model.config.model_type  # type: ignore[union-attr]
    if kind not in FAMILIES:
        raise InputError(
            f"transformers model type {kind!r} has no adapter; expected one of {', '.join(FAMILIES)} (or use"
            " from_callable)"
        )
    model.requires_grad_(False).eval()
    parts = Parts(model, tokenizer, _config(image), _config(video), audio, **options)
    ends = _ends(FAMILIES[kind], parts, f"{name} ({kind})")
    wanted = (
        (*ends.inputs, "text")
        if modalities is None
        else (modalities,)
        if isinstance(modalities, str)
        else tuple(modalities)
    )
    for modality in wanted:
        if modality not in (*ends.inputs, "text"):
            raise InputError(
                f"modality {modality!r} does not exist for {name} ({kind}); expected some of"
                f" {', '.join(ends.inputs)}, text"
            )
    inputs = {modality: spec for modality, spec in ends.inputs.items() if modality in wanted}
    functions = {(modality, spec.space.name): ends.functions[modality] for modality, spec in inputs.items()}
    text = ends.text if tokenizer is not None and "text" in wanted else None

    def write(model: Any, modality: str, path: Path, head: Mapping[str, Tensor]) -> None:
        write_folder(model, parts, path)

    def again(path: Path, modality: str) -> CallableEncoder:
        asked = (modality,) if text is None else (modality, "text")
        return load(path, asked, device_of(model), name=name, **{**options, "folder": path})

    return CallableEncoder(
        name, _width(model, ends), inputs, state_sha256(model), functions, text, model,
        official=OfficialForm(name.removeprefix("hf:"), True, write, again),
    )  # fmt: skip


def load(
    weights: str | Path | None = None,
    modalities: str | Iterable[str] | None = None,
    device: str | torch.device = "cpu",
    *,
    revision: str | None = None,
    name: str | None = None,
    **options: Any,
) -> CallableEncoder:
    """The model in a folder, or under a name on the Hugging Face hub (downloaded through `huggingface_hub`; remote code
    is never run).

    `modalities`, `options`: see `from_model`. Raises InputError when `transformers` is missing, nothing is there, or
    the family is not known.
    """
    if weights is None:
        raise InputError(
            "weights=None: hf needs a folder with a transformers model, or its name on the Hugging Face hub"
            " (openai/clip-vit-base-patch32)"
        )
    try:
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoTokenizer
        from transformers.utils.hub import cached_file
    except ImportError:
        raise InputError("encoder 'hf' needs the transformers library; expected `pip install ironbind[hf]`") from None
    where = str(weights)
    refuse_placeholders(Path(where))
    spoken = modalities is None or "text" in ((modalities,) if isinstance(modalities, str) else tuple(modalities))
    try:
        kind = AutoConfig.from_pretrained(where, revision=revision).model_type
        config_file = cached_file(where, "config.json", revision=revision)
        if kind not in FAMILIES:
            raise InputError(
                f"weights {where!r} is of transformers model type {kind!r}, which has no adapter; expected one of"
                f" {', '.join(FAMILIES)}"
            )
        with without_warnings():  # what it would warn of is refused
            model, report = AutoModel.from_pretrained(
                where, revision=revision, dtype=torch.float32, output_loading_info=True
            )
        refuse_parts_of_a_model(where, model, report)
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision) if spoken else None
        if tokenizer is not None and set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
            raise InputError(
                f"weights {where!r} holds no tokenizer; expected tokenizer.json (or vocab.json and merges.txt) beside"
                " the"
                " model, or modalities without text"
            )
        image, video, sound = _processor_configs(where, revision)
        audio = AutoFeatureExtractor.from_pretrained(where, revision=revision) if sound else None
    except InputError:
        raise
    except Exception as error:  # the library's parsers throw anything at a damaged or foreign file
        raise InputError(
            f"weights {where!r} cannot be loaded ({type(error).__name__}: {first_line(error)}); expected a folder"
            " with a whole transformers model, or its name on the Hugging Face hub"
        ) from None
    if config_file is not None:
        options.setdefault("folder", Path(config_file).parent)
    called = name or f"hf:{Path(where).name if Path(where).exists() else where}"
    return from_model(
        called, model.to(device), tokenizer, image=image, video=video, audio=audio, modalities=modalities, **options
    )


@contextmanager
def without_warnings() -> Iterator[None]:
    """Within the block transformers warns of nothing and draws no progress bars."""
    from transformers.utils import logging

    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def refuse_placeholders(folder: Path) -> None:
    """Raises InputError for a file of a local folder that is a git-lfs pointer, a web page, or empty."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        content = placeholder(path) if path.suffix in READ_FROM_FOLDERS and path.is_file() else ""
        if content:
            raise InputError(f"weights {str(folder)!r}: {path.name} is {content}; expected a whole transformers model")


def refuse_parts_of_a_model(where: str, model: nn.Module, report: Mapping[str, Any]) -> None:
    """Raises InputError where the library made parameters up, or left out layers that the file has: both give numbers
    that belong to no model. Other tensors that the model has no place for (buffers of older releases) are left out.
    """
    missing = sorted(report["missing_keys"])
    if missing:
        unexpected = sorted(report["unexpected_keys"])
        other = f", and {len(unexpected)} that the model does not have, first {unexpected[0]!r}" if unexpected else ""
        raise InputError(
            f"weights {where!r} lack {len(missing)} tensors of {type(model).__name__}, first {missing[0]!r}{other};"
            " expected all of them (the library would fill them with random numbers)"
        )
    modules = {name for name, _ in model.named_modules()}
    deeper = [
        key for key in sorted(report["unexpected_keys"]) if _numbered_layer(key) and _numbered_layer(key) not in modules
    ]
    if deeper:
        raise InputError(
            f"weights {where!r} hold layers that config.json does not name, first {deeper[0]!r}; expected the"
            " configuration that the model was saved with"
        )


def _numbered_layer(tensor: str) -> str:
    """The innermost numbered module that a tensor belongs to ("encoder.layers.11"); "" for none."""
    names = tensor.split(".")
    numbers = [place for place, name in enumerate(names) if name.isdigit()]
    return ".".join(names[: numbers[-1] + 1]) if numbers else ""


def _ends(family: Family, parts: Parts, called: str) -> Ends:
    """The family's answer. Raises InputError for processors whose configuration is missing or says too little."""
    try:
        return family.build(parts)
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        files = {
            "image": "preprocessor_config.json",
            "video": "video_preprocessor_config.json",
            "audio": "preprocessor_config.json",
        }
        absent = [kind for kind in family.modalities if not getattr(parts, kind)]
        lack = (
            f"has no configuration of its {' and '.join(absent)} processor"
            if absent
            else "has one that says too little"
        )
        expected = ", ".join(dict.fromkeys(files[kind] for kind in absent or family.modalities))
        raise InputError(
            f"{called} {lack} ({type(error).__name__}: {error}); expected {expected} beside the model, or the processor"
            " itself"
        ) from error


def _processor_configs(where: str, revision: str | None) -> tuple[Any, Any, Any]:
    """The configurations of the image, video and audio processors, from whichever of the library's files exist."""
    from transformers.utils.hub import cached_file

    merged: dict[str, Any] = {}
    for file in ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"):
        path = cached_file(where, file, revision=revision, _raise_exceptions_for_missing_entries=False)
        if path:
            config = read_json(Path(path))
            if file == "preprocessor_config.json":
                config = {"feature_extractor" if "sampling_rate" in config else "image_processor": config}
            merged |= {"video_processor": config} if file.startswith("video") else config
    return merged.get("image_processor"), merged.get("video_processor"), merged.get("feature_extractor")


def _config(processor: Any) -> Mapping[str, Any]:
    return {} if processor is None else processor if isinstance(processor, Mapping) else processor.to_dict()


def state_sha256(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _width(model: nn.Module, ends: Ends) -> int:
    """The length of an embedding, asked of the model itself: configurations name it differently in every family."""
    modality, spec = min(ends.inputs.items(), key=lambda item: torch.Size(item[1].shape).numel())
    with torch.no_grad():
        return ends.functions[modality](torch.zeros(1, *spec.shape, device=device_of(model))).shape[1]
