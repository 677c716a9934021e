"""Which encoder a job is about, as a value that travels to worker processes and into records; loaded once per
process.
"""

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ironbind.calibration.calibrated import Calibrated
from ironbind.encoders import ENCODERS, load_encoder, loader_of
from ironbind.encoders.towers import towers
from ironbind.runs.pretrained import from_pretrained
from ironbind.types import Encoder, InputError

Options = tuple[tuple[str, Any], ...]  # hashable, picklable


@dataclass(frozen=True)
class EncoderSpec:
    """`name`: of ENCODERS, or a function of the user's own, "FILE.py:load" or "package.module:load". `weights`: its
    file or folder. `dtype`: of the frozen weights ("float32", "bfloat16"). `modalities`: the towers to load (and text)
    where the loader can leave others out; () loads all. `heads`: trained heads and adapters on top, as
    `from_pretrained` names them.
    """

    name: str = "tiny"
    weights: str | None = None
    device: str | None = None
    dtype: str | None = None
    modalities: tuple[str, ...] = ()
    heads: str | None = None

    def load(self) -> Encoder:
        """The frozen encoder, without heads. Raises InputError for an option that the encoder does not take and for a
        device that is not there, UnknownName for an encoder that does not exist.
        """
        return _loaded(self.name, self.options)

    def load_heads(self) -> Calibrated | None:
        """The encoder with its `heads`; None where there are none."""
        return from_pretrained(self.heads, self.load()) if self.heads else None

    def with_towers(self, modalities: Sequence[str]) -> "EncoderSpec":
        """The same encoder with these towers loaded as well, those of them that it has; all of its towers where the
        table of encoders cannot say which it has.
        """
        if not self.modalities or "modalities" not in inspect.signature(loader_of(self.name)).parameters:
            return self
        known = towers(self.name) if self.name in ENCODERS else {}
        if self.name not in known:
            return replace(self, modalities=())
        further = [modality for modality in modalities if modality in known[self.name]]
        return replace(self, modalities=tuple(dict.fromkeys([*self.modalities, *further])))

    @property
    def options(self) -> Options:
        """What the loader is called with."""
        takes = inspect.signature(loader_of(self.name)).parameters
        open_ended = any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in takes.values())
        options: dict[str, Any] = {}
        for option, value in (("weights", self.weights), ("device", self.device), ("dtype", self.dtype)):
            if value is None:
                continue
            if option not in takes and not (open_ended and option == "weights"):
                raise InputError(f"--{option} {value}: encoder {self.name!r} does not take this option")
            options[option] = value
        if self.device is not None:
            _refuse_absent(self.device)
        if self.dtype is not None:
            options["dtype"] = _dtype(self.dtype)
        if "modalities" in takes and self.modalities:
            options["modalities"] = tuple(dict.fromkeys([*self.modalities, "text"]))
        return tuple(sorted(options.items()))


@cache
def _loaded(name: str, options: Options) -> Encoder:
    return load_encoder(name, **dict(options))


def _refuse_absent(device: str) -> None:
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter from a PyTorch without CUDA
        reason = str(error).splitlines()[0].partition(". ")[0].rstrip(".")
        raise InputError(
            f"--device {device}: {reason}; expected cpu, or a GPU that this PyTorch can use, as cuda:0 or mps"
        ) from None


def _dtype(name: str) -> Any:
    import torch

    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype):
        raise InputError(f"dtype {name!r} is not a precision; expected float32 or bfloat16")
    return dtype
