"""ENCODERS: name -> function(**options) returning an Encoder. Adding an encoder is one file and one line here."""

from typing import Any

from ironbind.registry import Table
from ironbind.types import Encoder

ENCODERS = Table("encoder", {"tiny": "ironbind.encoders.tiny:load"})


def load_encoder(name: str, **options: Any) -> Encoder:
    """The encoder called `name`, frozen and in evaluation mode. Raises UnknownName with near misses, InputError for unusable weights."""
    return ENCODERS[name](**options)
