"""Embedding models of the `transformers` library as Encoders (extra `hf`): native units in, unit rows out,
differentiable to the raw input.

    load_encoder("hf", weights="openai/clip-vit-large-patch14")          # a folder or a hub name
    hf.from_model("my clip", model, tokenizer, image=image_processor)    # objects at hand

One function per family, in FAMILIES by the configuration's `model_type`. Adding a family is one function and one line.
The library's processors run in numpy or PIL and so let no gradient through; only their configuration is used, and
`hf_inputs.py` does their arithmetic in torch.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.encoders.from_callable import CallableEncoder, Function, TextFunction
from ironbind.encoders.hf.inputs import Mel, Pixels, patches, waveform_spec
from ironbind.numerics.networks import device_of
from ironbind.types import InputError, InputSpec


@dataclass(frozen=True)
class Parts:
    """What a family builds an encoder from: the model, its tokenizer, the configuration of its image, video and audio
    processors, the options.
    """

    model: Any
    tokenizer: Any
    image: Mapping[str, Any]
    video: Mapping[str, Any]
    audio: Any
    seconds: float | None = None  # of audio, for models that take any length
    frames: int | None = None  # of video, likewise
    size: tuple[int, int] | None = None  # of pictures, likewise
    text_head: str | None = None  # for models whose text has several
    prompt: str = "{}"


@dataclass(frozen=True)
class Ends:
    """One family's answer: what goes in, and the functions from there to embeddings."""

    inputs: Mapping[str, InputSpec]
    functions: Mapping[str, Function]
    text: TextFunction | None


class Family(NamedTuple):
    """Where the function of a family is, and what its models embed besides text."""

    where: str
    modalities: tuple[str, ...]


FAMILIES = {
    "clip": Family("ironbind.encoders.hf.encoder:clip", ("image",)),
    "metaclip_2": Family("ironbind.encoders.hf.encoder:clip", ("image",)),
    "siglip": Family("ironbind.encoders.hf.encoder:siglip", ("image",)),
    "siglip2": Family("ironbind.encoders.hf.encoder:siglip2", ("image",)),
    "xclip": Family("ironbind.encoders.hf.encoder:xclip", ("video",)),
    "clap": Family("ironbind.encoders.hf.encoder:clap", ("audio",)),
    "pe_audio": Family("ironbind.encoders.hf.omni:pe_audio", ("audio",)),
    "pe_video": Family("ironbind.encoders.hf.omni:pe_video", ("video",)),
    "pe_audio_video": Family("ironbind.encoders.hf.omni:pe_audio_video", ("audio", "video")),
    "embedding_gemma2": Family("ironbind.encoders.hf.omni:embedding_gemma2", ("image", "video", "audio")),
}
TOWER_OF = {f"hf: {kind}": {one: one for one in (*family.modalities, "text")} for kind, family in FAMILIES.items()}


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
            f"transformers model type {kind!r} has no adapter; expected one of {', '.join(FAMILIES)} (or use from_callable)"
        )
    model.requires_grad_(False).eval()
    module, _, attribute = FAMILIES[kind].where.partition(":")
    family: Callable[[Parts], Ends] = getattr(import_module(module), attribute)
    ends = family(Parts(model, tokenizer, _config(image), _config(video), audio, **options))
    wanted = (
        (*ends.inputs, "text")
        if modalities is None
        else (modalities,)
        if isinstance(modalities, str)
        else tuple(modalities)
    )
    for one in wanted:
        if one not in (*ends.inputs, "text"):
            raise InputError(
                f"modality {one!r} does not exist for {name} ({kind}); expected some of {', '.join(ends.inputs)}, text"
            )
    inputs = {modality: spec for modality, spec in ends.inputs.items() if modality in wanted}
    functions = {(modality, spec.space.name): ends.functions[modality] for modality, spec in inputs.items()}
    text = ends.text if tokenizer is not None and "text" in wanted else None
    return CallableEncoder(name, _width(model, ends), inputs, _state_sha256(model), functions, text, model)


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
            "weights=None: hf needs a folder with a transformers model, or its name on the Hugging Face hub (openai/clip-vit-base-patch32)"
        )
    try:
        from transformers import AutoConfig, AutoFeatureExtractor, AutoModel, AutoTokenizer
    except ImportError:
        raise InputError("encoder 'hf' needs the transformers library; expected `pip install ironbind[hf]`") from None
    where = str(weights)
    try:
        kind = AutoConfig.from_pretrained(where, revision=revision).model_type
        if kind not in FAMILIES:
            raise InputError(
                f"weights {where!r} is of transformers model type {kind!r}, which has no adapter; expected one of {', '.join(FAMILIES)}"
            )
        model = AutoModel.from_pretrained(where, revision=revision, dtype=torch.float32).to(device)
        tokenizer = AutoTokenizer.from_pretrained(where, revision=revision)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"weights {where!r} cannot be loaded: {str(error).splitlines()[0]}") from None
    image, video, sound = _processor_configs(where, revision)
    audio = AutoFeatureExtractor.from_pretrained(where, revision=revision) if sound else None
    called = name or f"hf:{Path(where).name if Path(where).exists() else where}"
    return from_model(called, model, tokenizer, image=image, video=video, audio=audio, modalities=modalities, **options)


def _processor_configs(where: str, revision: str | None) -> tuple[Any, Any, Any]:
    """The configurations of the image, video and audio processors, from whichever of the library's files exist."""
    from transformers.utils.hub import cached_file

    merged: dict[str, Any] = {}
    for file in ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json"):
        path = cached_file(where, file, revision=revision, _raise_exceptions_for_missing_entries=False)
        if path:
            read = json.loads(Path(path).read_text(encoding="utf-8"))
            if file == "preprocessor_config.json":
                read = {"feature_extractor" if "sampling_rate" in read else "image_processor": read}
            merged |= {"video_processor": read} if file.startswith("video") else read
    return merged.get("image_processor"), merged.get("video_processor"), merged.get("feature_extractor")


def _config(processor: Any) -> Mapping[str, Any]:
    return {} if processor is None else processor if isinstance(processor, Mapping) else processor.to_dict()


def _state_sha256(model: nn.Module) -> str:
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


def vector(output: Any) -> Float[Tensor, "b d"]:
    """`get_*_features` returns a tensor in some releases and models, an object holding `pooler_output` in others."""
    return output if isinstance(output, Tensor) else output.pooler_output


def text_function(parts: Parts, encode: Callable[..., Any], **tokenize: Any) -> TextFunction:
    """Tokenize (cut to what the model takes), encode. `encode` takes the tokenizer's tensors by name."""

    def text(texts: list[str]) -> Float[Tensor, "n d"]:
        tokens = parts.tokenizer(
            [parts.prompt.format(one) for one in texts], return_tensors="pt", truncation=True, **tokenize
        )
        return vector(encode(**tokens.to(parts.model.device)))

    return text


# ------------------------------------------------------------------------------------------------------- families


def clip(parts: Parts) -> Ends:
    """CLIP (arXiv 2103.00020) and MetaCLIP 2: image, text."""
    pixels, model = Pixels.read(parts.image), parts.model
    text = text_function(
        parts, model.get_text_features, padding=True, max_length=model.config.text_config.max_position_embeddings
    )
    return Ends(
        {"image": pixels.image_spec()},
        {"image": lambda x: vector(model.get_image_features(pixel_values=pixels.normalise(x)))},
        text,
    )


def siglip(parts: Parts) -> Ends:
    """SigLIP (arXiv 2303.15343) and SigLIP 2 at a fixed resolution: image, text. Texts are padded to full length, as in
    training.
    """
    ends = clip(parts)
    length = parts.model.config.text_config.max_position_embeddings
    text = text_function(
        parts,
        lambda input_ids, **_: parts.model.get_text_features(input_ids=input_ids),
        padding="max_length",
        max_length=length,
    )
    return Ends(ends.inputs, ends.functions, text)


def siglip2(parts: Parts) -> Ends:
    """SigLIP 2 NaFlex (arXiv 2502.14786): image, text.

    The processor keeps every picture's aspect ratio; an encoder here has one shape, so pictures are resized to `size`
    (default: the square with the configured number of patches), which is what the processor does to square ones.
    """
    model, side = parts.model, int(parts.image["patch_size"])
    square = int(int(parts.image["max_num_patches"]) ** 0.5) * side
    pixels = Pixels.read(parts.image, parts.size or (square, square))
    rows, columns = pixels.size[0] // side, pixels.size[1] // side

    def image(x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        cut = patches(pixels.normalise(x), side)
        whole = torch.ones(cut.shape[:2], dtype=torch.int64, device=x.device)
        shape = torch.tensor([[rows, columns]] * len(x), device=x.device)
        return vector(model.get_image_features(pixel_values=cut, pixel_attention_mask=whole, spatial_shapes=shape))

    length = min(64, model.config.text_config.max_position_embeddings)
    text = text_function(
        parts,
        lambda input_ids, **_: model.get_text_features(input_ids=input_ids),
        padding="max_length",
        max_length=length,
    )
    return Ends({"image": pixels.image_spec()}, {"image": image}, text)


def xclip(parts: Parts) -> Ends:
    """X-CLIP (arXiv 2208.02816): video, text.

    The text embedding is the one before the video-specific prompt is added: a class list has no video. The model's own
    logits add it.
    """
    model, frames = parts.model, parts.model.config.vision_config.num_frames
    pixels = Pixels.read(parts.image or parts.video)
    text = text_function(
        parts, model.get_text_features, padding=True, max_length=model.config.text_config.max_position_embeddings
    )
    return Ends(
        {"video": pixels.video_spec(frames)},
        {"video": lambda x: vector(model.get_video_features(pixel_values=pixels.normalise(x)))},
        text,
    )


def clap(parts: Parts) -> Ends:
    """CLAP (arXiv 2211.06687): audio, text. Ten seconds (or as configured); the library cuts longer files at random,
    here the middle is taken.

    Models with feature fusion get the same spectrogram four times and `is_longer` False; the library's processor sets
    it for one file of each batch at random when none is longer, so that its embeddings depend on chance and on the
    batch.
    """
    model, mel = parts.model, Mel.clap(parts.audio)
    copies = 4 if parts.audio.truncation == "fusion" else 1

    def audio(x: Float[Tensor, "b 1 n"]) -> Float[Tensor, "b d"]:
        spectrogram = mel(x)[:, None].expand(-1, copies, -1, -1)
        longer = torch.zeros(len(x), 1, dtype=torch.bool, device=x.device)
        return vector(model.get_audio_features(input_features=spectrogram, is_longer=longer))

    spec = waveform_spec(
        parts.audio.sampling_rate, parts.audio.nb_max_samples, repeat=parts.audio.padding == "repeatpad"
    )
    return Ends({"audio": spec}, {"audio": audio}, text_function(parts, model.get_text_features, padding=True))
