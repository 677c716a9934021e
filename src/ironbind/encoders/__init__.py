"""ENCODERS: name -> function(**options) returning an Encoder. Adding an encoder is one file and one line here."""

from typing import Any

from ironbind.registry import Table
from ironbind.types import Encoder

ENCODERS = Table(
    "encoder",
    {
        "tiny": "ironbind.encoders.tiny:load",
        "imagebind-huge": "ironbind.encoders.imagebind:load",
        "unibind": "ironbind.encoders.unibind:load",
        "languagebind": "ironbind.encoders.languagebind:load_several",
        "languagebind-image": "ironbind.encoders.languagebind:image",
        "languagebind-video": "ironbind.encoders.languagebind:video",
        "languagebind-video-ft": "ironbind.encoders.languagebind:video_ft",
        "languagebind-video-v1.5-ft": "ironbind.encoders.languagebind:video_v1_5_ft",
        "languagebind-video-huge-v1.5-ft": "ironbind.encoders.languagebind:video_huge_v1_5_ft",
        "languagebind-audio": "ironbind.encoders.languagebind:audio",
        "languagebind-audio-ft": "ironbind.encoders.languagebind:audio_ft",
        "languagebind-depth": "ironbind.encoders.languagebind:depth",
        "languagebind-thermal": "ironbind.encoders.languagebind:thermal",
        "hf": "ironbind.encoders.hf:load",
    },
)


def load_encoder(name: str, **options: Any) -> Encoder:
    """The encoder called `name`, frozen and in evaluation mode. Raises UnknownName with near misses, InputError for unusable weights."""
    return ENCODERS[name](**options)
