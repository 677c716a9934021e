"""ENCODERS: name -> function(**options) returning an Encoder. Adding an encoder is one file and one line here."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

from ironbind.core.registry import Table
from ironbind.core.user_code import is_user_code, raised, user_function
from ironbind.types import Encoder, InputError

ENCODERS = Table(
    "encoder",
    {
        "tiny": "ironbind.encoders.tiny.encoder:load",
        "imagebind-huge": "ironbind.encoders.imagebind.encoder:load",
        "unibind": "ironbind.encoders.unibind.encoder:load",
        "languagebind": "ironbind.encoders.languagebind.encoder:load_several",
        "languagebind-image": "ironbind.encoders.languagebind.encoder:image",
        "languagebind-video": "ironbind.encoders.languagebind.encoder:video",
        "languagebind-video-ft": "ironbind.encoders.languagebind.encoder:video_ft",
        "languagebind-video-v1.5-ft": "ironbind.encoders.languagebind.encoder:video_v1_5_ft",
        "languagebind-video-huge-v1.5-ft": "ironbind.encoders.languagebind.encoder:video_huge_v1_5_ft",
        "languagebind-audio": "ironbind.encoders.languagebind.encoder:audio",
        "languagebind-audio-ft": "ironbind.encoders.languagebind.encoder:audio_ft",
        "languagebind-depth": "ironbind.encoders.languagebind.encoder:depth",
        "languagebind-thermal": "ironbind.encoders.languagebind.encoder:thermal",
        "open_clip": "ironbind.encoders.open_clip.encoder:load",
        "hf": "ironbind.encoders.hf.encoder:load",
        "lite": "ironbind.encoders.lite.encoder:load",
    },
)


OF_LIBRARIES = {
    "transformers": "ironbind.encoders.generic.transformers_model:load",
    "sentence-transformers": "ironbind.encoders.generic.sentence_model:load",
}
"""Any model of a library, "transformers:NAME_OR_PATH": the function that loads it."""


def is_of_a_library(name: str) -> bool:
    """Whether a name has the form "transformers:NAME_OR_PATH"."""
    library, colon, model = name.partition(":")
    return bool(colon and model) and library in OF_LIBRARIES


def loader_of(name: str) -> Callable[..., Any]:
    """The function that loads the encoder called `name`: of ENCODERS, of a library, or of the user's own. Raises
    UnknownName, and InputError for a function that cannot be imported.
    """
    library, colon, model = name.partition(":")
    if colon and not model and library in OF_LIBRARIES:
        raise InputError(f"encoder {name!r} names no model; expected {library}:NAME_OR_PATH")
    if is_of_a_library(name):
        return partial(Table("library", OF_LIBRARIES)[library], model)
    loader: Callable[..., Any] = user_function(name, "--encoder") if is_user_code(name) else ENCODERS[name]
    return loader


def load_encoder(name: str, **options: Any) -> Encoder:
    """The encoder called `name`, frozen and in evaluation mode; or what a function of the user's own returns,
    "FILE.py:load" or "package.module:load"; or a library's model, "transformers:NAME_OR_PATH". Raises UnknownName with
    near misses, InputError for unusable weights and for a function that returns something else than an encoder.
    """
    if is_of_a_library(name) or not is_user_code(name):
        known: Encoder = loader_of(name)(**options)
        return known
    function = user_function(name, "--encoder")
    try:
        inspect.signature(function).bind(**options)
    except TypeError as error:
        raise InputError(f"--encoder {name}: {error}; expected a function whose arguments may be left out") from None
    try:
        encoder = function(**options)
    except InputError:
        raise
    except Exception as error:  # whatever the user's function raises
        raise InputError(f"--encoder {name}: raised {raised(error)}") from error
    if not isinstance(encoder, Encoder):
        raise InputError(
            f"--encoder {name}: it returns {type(encoder).__name__}; expected an encoder (docs/encoders.md)"
        )
    return encoder
