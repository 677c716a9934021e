"""Encoders for recipes: which options a command line may pass on, and one load per process."""

import inspect
from collections.abc import Sequence
from functools import cache
from typing import Any

from ironbind.encoders import ENCODERS, load_encoder
from ironbind.types import Encoder, InputError

Options = tuple[tuple[str, Any], ...]  # hashable, picklable


def encoder_options(
    name: str, *, weights: str | None = None, modalities: Sequence[str] = (), device: str | None = None, dtype: str | None = None
) -> Options:
    """What to load `name` with. Only the towers for `modalities` (and text) are asked for where the loader can leave
    others out.

    Raises InputError for an option that the encoder does not take and for a device that is not there, UnknownName for
    an encoder that does not exist.
    """
    import torch

    takes = inspect.signature(ENCODERS[name]).parameters
    open_ended = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values())
    options: dict[str, Any] = {}
    for option, value in (("weights", weights), ("device", device), ("dtype", dtype)):
        if value is None:
            continue
        if option not in takes and not (open_ended and option == "weights"):
            raise InputError(f"--{option} {value}: encoder {name!r} does not take this option")
        options[option] = value
    if device is not None:
        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch without CUDA
            reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
            raise InputError(
                f"--device {device}: {reason}; expected cpu, or a GPU that this PyTorch can use, as cuda:0 or mps"
            ) from None
    if dtype is not None:
        options["dtype"] = getattr(torch, dtype, None)
        if not isinstance(options["dtype"], torch.dtype):
            raise InputError(f"--dtype {dtype} is not a precision; expected float32 or bfloat16")
    if "modalities" in takes and modalities:
        options["modalities"] = tuple(dict.fromkeys([*modalities, "text"]))
    return tuple(sorted(options.items()))


@cache
def encoder_for(name: str, options: Options) -> Encoder:
    """The encoder, loaded once per process however many jobs ask for it."""
    return load_encoder(name, **dict(options))
