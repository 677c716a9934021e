"""What every family of `transformers` models is built from, and what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ironbind.encoders.from_callable import Function, TextFunction
from ironbind.types import InputSpec


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
    folder: Path | None = None  # that all of it was loaded from


@dataclass(frozen=True)
class Ends:
    """One family's answer: what goes in, and the functions from there to embeddings."""

    inputs: Mapping[str, InputSpec]
    functions: Mapping[str, Function]
    text: TextFunction | None


def vector(output: Any) -> Float[Tensor, "b d"]:
    """`get_*_features` returns a tensor in some releases and models, an object holding `pooler_output` in others."""
    return output if isinstance(output, Tensor) else output.pooler_output


def text_function(parts: Parts, encode: Callable[..., Any], **tokenize: Any) -> TextFunction:
    """Tokenize (cut to what the model takes), encode. `encode` takes the tokenizer's tensors by name."""

    def text(texts: list[str]) -> Float[Tensor, "n d"]:
        tokens = parts.tokenizer(
            [parts.prompt.format(sentence) for sentence in texts], return_tensors="pt", truncation=True, **tokenize
        )
        return vector(encode(**tokens.to(parts.model.device)))

    return text
