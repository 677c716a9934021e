"""Any dual encoder of the `transformers` library: `--encoder transformers:NAME_OR_PATH`.

Families with a front end of ours (`encoders/hf`) are loaded through it. Of others, `get_image_features` and
`get_text_features` give the embeddings, and the library's own processor is the front end where it keeps the gradient;
finite differences try that when the model is loaded.
"""

from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.core.errors import first_line
from ironbind.encoders.from_callable import CallableEncoder
from ironbind.encoders.generic.gradient_trial import NoGradient, check_gradient
from ironbind.encoders.generic.picture_front import PictureFront, accepted, picture_front
from ironbind.encoders.hf.encoder import (
    FAMILIES,
    refuse_parts_of_a_model,
    refuse_placeholders,
    state_sha256,
    without_warnings,
)
from ironbind.encoders.hf.encoder import (
    load as load_family,
)
from ironbind.encoders.hf.parts import vector
from ironbind.numerics.networks import device_of
from ironbind.types import InputError, InputSpec

PREFIX = "transformers:"
LONGEST = 512  # tokens, where neither tokenizer nor model says


def load(
    weights: str,
    modalities: str | Iterable[str] | None = None,
    device: str | torch.device = "cpu",
    *,
    revision: str | None = None,
    size: tuple[int, int] | None = None,
) -> CallableEncoder:
    """The model in a folder or under a name on the Hub (remote code is never run).

    `modalities`: which to offer (None: all that it can). `size`: of pictures, for processors that take any size.
    Raises InputError when `transformers` is missing, the model cannot be loaded or gives no embeddings, and, with the
    reason, when its processor detaches.
    """
    try:
        from transformers import AutoConfig, AutoModel, AutoTokenizer
    except ImportError:
        raise InputError(
            f"encoder '{PREFIX}{weights}' needs the transformers library; expected `pip install ironbind[hf]`"
        ) from None
    refuse_absent(PREFIX, weights)
    refuse_placeholders(Path(weights))
    wanted = (modalities,) if isinstance(modalities, str) else tuple(modalities) if modalities is not None else None
    try:
        kind = AutoConfig.from_pretrained(weights, revision=revision).model_type
        if kind in FAMILIES:
            options: dict[str, Any] = {"size": size} if size else {}
            return load_family(weights, wanted, device, revision=revision, **options)
        with without_warnings():
            model, report = AutoModel.from_pretrained(
                weights, revision=revision, dtype=torch.float32, output_loading_info=True
            )
        refuse_parts_of_a_model(weights, model, report)
        spoken = hasattr(model, "get_text_features") and (wanted is None or "text" in wanted)
        tokenizer = AutoTokenizer.from_pretrained(weights, revision=revision) if spoken else None
        processors = _processors(weights, revision, model)
    except InputError:
        raise
    except Exception as error:  # the library's parsers throw anything at a damaged or foreign file
        raise InputError(
            f"encoder '{PREFIX}{weights}' cannot be loaded ({type(error).__name__}: {first_line(error)}); expected a"
            " folder with a whole transformers model, or its name on the Hugging Face hub"
        ) from None
    name = f"{PREFIX}{Path(weights).name if Path(weights).exists() else weights}"
    return from_parts(name, model.to(device), tokenizer, processors, wanted, size)


def refuse_absent(prefix: str, weights: str) -> None:
    """Raises InputError for what is written as a path and leads nowhere."""
    if weights.startswith(("/", ".", "~")) and not Path(weights).is_dir():
        raise InputError(f"encoder '{prefix}{weights}': no such folder; expected a model's, or its name on the Hub")


def from_parts(
    name: str,
    model: nn.Module,
    tokenizer: Any,
    processors: dict[str, Any],
    wanted: tuple[str, ...] | None = None,
    size: tuple[int, int] | None = None,
) -> CallableEncoder:
    """A model with its tokenizer (None: no texts) and its processors by modality ("image", "audio") as an Encoder.
    Raises InputError where no modality can be attacked, with the reason of each.
    """
    model.requires_grad_(False).eval()
    inputs: dict[str, InputSpec] = {}
    functions: dict[tuple[str, str], Any] = {}
    absent: dict[str, str] = {}
    for modality, build in (("image", partial(_pictures, size=size)), ("audio", _sounds)):
        if modality not in processors or (wanted is not None and modality not in wanted):
            continue
        try:
            inputs[modality], function = build(model, processors[modality])
            functions[modality, inputs[modality].space.name] = function
        except NoGradient as error:
            absent[modality] = str(error)
    if not inputs:
        told = "; ".join(f"{modality}: {reason}" for modality, reason in absent.items())
        kind = getattr(model.config, "model_type", type(model).__name__)
        raise InputError(
            f"encoder {name!r} ({kind}) cannot be attacked: "
            + (told or "it has no get_image_features or get_audio_features with a processor; expected a dual encoder")
        )
    (first, spec), *_ = inputs.items()
    with torch.no_grad():
        width = functions[first, spec.space.name](torch.full((1, *spec.shape), 0.5, device=device_of(model))).shape[1]
        text = partial(_texts, model, tokenizer) if tokenizer is not None else None
        written = text(["a"]).shape[1] if text is not None else width
    if written != width:
        raise InputError(f"encoder {name!r} embeds in {width} numbers, texts in {written}; expected one space for both")
    return CallableEncoder(name, width, inputs, state_sha256(model), functions, text, model, absent)


def _processors(weights: str, revision: str | None, model: Any) -> dict[str, Any]:
    """Of the modalities that the model gives embeddings of."""
    from transformers import AutoFeatureExtractor, AutoImageProcessor

    found: dict[str, Any] = {}
    if hasattr(model, "get_image_features"):
        found["image"] = AutoImageProcessor.from_pretrained(weights, revision=revision)
    if hasattr(model, "get_audio_features"):
        found["audio"] = AutoFeatureExtractor.from_pretrained(weights, revision=revision)
    return found


def _pictures(model: Any, processor: Any, size: tuple[int, int] | None) -> tuple[InputSpec, Any]:
    front = picture_front(processor, size)
    function = partial(_embed_pictures, model, front)
    _tried(function, front.shape, 0.0, 1.0, model, f"its {type(processor).__name__} or its picture tower")
    return front.spec(), function


def _embed_pictures(model: Any, front: PictureFront, x: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
    features = front.features(x)
    return _rows(model.get_image_features(**accepted(features, model.get_image_features)), len(x))


def _sounds(model: Any, extractor: Any) -> tuple[InputSpec, Any]:
    """Raises NoGradient, with what the extractor says, for those that leave torch: all of today's do."""
    x = torch.zeros(1, int(extractor.sampling_rate)).requires_grad_(True)
    called = type(extractor).__name__
    try:
        told = extractor(list(x), sampling_rate=extractor.sampling_rate, return_tensors="pt")
    except Exception as error:
        said = " ".join(str(error).split())[:100]
        raise NoGradient(
            f"its {called} leaves torch ({type(error).__name__}: {said}); expected a family with a front end of ours "
            "(`--encoder hf`)"
        ) from error
    raise NoGradient(
        f"its {called} hands samples on without their gradient ({', '.join(told)}); expected a family with a front end "
        "of ours (`--encoder hf`)"
    )


def _tried(function: Any, shape: tuple[int, ...], low: float, high: float, model: nn.Module, called: str) -> None:
    try:
        check_gradient(function, shape, low, high, device_of(model))
    except NoGradient as error:
        raise NoGradient(f"{called} {error}") from None


def _rows(output: Any, count: int) -> Float[Tensor, "b d"]:
    z = vector(output)
    if not isinstance(z, Tensor) or z.ndim != 2 or len(z) != count:
        shape = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise NoGradient(f"its features are {shape} for {count} pictures, no row each; expected a dual encoder")
    return z


def _texts(model: Any, tokenizer: Any, texts: list[str]) -> Float[Tensor, "n d"]:
    config = getattr(model.config, "text_config", model.config)
    length = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", LONGEST) or LONGEST)
    tokens = tokenizer(texts, return_tensors="pt", padding=True, truncation=True, max_length=int(length))
    told = {name: value.to(model.device) for name, value in tokens.items()}
    return vector(model.get_text_features(**accepted(told, model.get_text_features)))
