"""The torch modules an encoder is made of: holding them still while it is attacked, and counting their parameters."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn

from ironbind.types import CalibratedEncoder


def modules_of(encoder: Any) -> list[nn.Module]:
    """The torch modules an encoder is made of, its backbone's included; [] for an encoder that holds none (a plain
    function).
    """
    own = (
        [encoder]
        if isinstance(encoder, nn.Module)
        else [one for one in vars(encoder).values() if isinstance(one, nn.Module)]
    )
    below = modules_of(encoder.backbone) if isinstance(encoder, CalibratedEncoder) else []
    return list(dict.fromkeys(own + below))  # a backbone that is a module itself is also an attribute


def device_of(encoder: Any) -> torch.device:
    """Where an encoder computes: its own `device` where it has one, else where its first parameter or buffer lies; the
    CPU for plain functions.
    """
    said = getattr(encoder, "device", None)
    return torch.device(said) if said is not None else first_device(modules_of(encoder))


def first_device(networks: Iterable[nn.Module]) -> torch.device:
    """Where the first parameter or buffer of the first network that has one lies; the CPU where none has."""
    tensors = (one for network in networks for one in chain(network.parameters(), network.buffers()))
    return next((one.device for one in tensors), torch.device("cpu"))


@contextmanager
def frozen(encoder: Any) -> Iterator[None]:
    """Evaluation mode and `requires_grad=False` for the time of the block: a third less memory, a quarter less time
    (check C1).
    """
    modules = modules_of(encoder)
    trained = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    training = [part for module in modules for part in module.modules() if part.training]
    for parameter in trained:
        parameter.requires_grad_(False)
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for parameter in trained:
            parameter.requires_grad_(True)
        for part in training:
            part.training = True


def parameter_count(encoder: Any) -> int:
    """How many parameters the encoder holds, backbone included."""
    return sum(
        parameter.numel() for parameter in {one for module in modules_of(encoder) for one in module.parameters()}
    )
