"""Any function as an Encoder: `from_callable`. The ports and the transformers adapter are made of the same
`CallableEncoder`.
"""

import copy
import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.encoders.shared.official_form import OfficialForm
from ironbind.numerics.networks import copied, first_device, in_evaluation_mode, networks_in
from ironbind.types import InputError, InputSpec

Function = Callable[[Float[Tensor, "b ..."]], Float[Tensor, "b d"]]
TextFunction = Callable[[list[str]], Float[Tensor, "n d"]]

TEXTS_AT_ONCE = 64  # a class list times eighty templates is thousands of prompts


@dataclass(frozen=True, repr=False)
class CallableEncoder:
    """An Encoder made of functions, one per (modality, space), each from native tensors to embeddings of any length.

    `absent`: why a modality is not there, said when somebody asks for it. `model`: the network behind the functions,
    where there is one. `licence`: of the weights, where it is known. `official`: how the network is written as its
    official file, of encoders that have one. `rows_at_once`: with more, a CPU gains nothing and needs more memory.
    """

    name: str
    dim: int
    inputs: Mapping[str, InputSpec]
    weights_sha256: str
    functions: Mapping[tuple[str, str], Function] = field(repr=False)
    text: TextFunction | None = field(default=None, repr=False)
    model: nn.Module | None = field(default=None, repr=False)
    absent: Mapping[str, str] = field(default_factory=dict, repr=False)
    licence: str = field(default="", repr=False)
    official: OfficialForm | None = field(default=None, repr=False)
    rows_at_once: int | None = field(default=None, repr=False)

    def __deepcopy__(self, memo: dict[int, Any]) -> "CallableEncoder":
        """A copy whose functions run on the copied network, wherever in them it is kept; a global variable excepted."""
        copy_of_self = object.__new__(type(self))
        memo[id(self)] = copy_of_self
        entered = {
            "functions": {key: copied(function, memo) for key, function in self.functions.items()},
            "text": copied(self.text, memo),
        }
        others = {name: copy.deepcopy(value, memo) for name, value in vars(self).items() if name not in entered}
        vars(copy_of_self).update({**others, **entered})
        return copy_of_self

    def __repr__(self) -> str:
        return f"CallableEncoder({self.name!r}, {', '.join(self.inputs)} -> {self.dim}, {self.weights_sha256[:12]})"

    @property
    def device(self) -> torch.device:
        """Where the network lies, be it named in `model` or kept in the functions; the CPU where there is none."""
        return first_device(_networks(self.model, *self.functions.values()))

    def to(self, device: Any) -> "CallableEncoder":
        """This encoder, its networks moved to `device`."""
        for network in _networks(self.model, *self.functions.values(), self.text):
            network.to(device)
        return self

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        """Unit rows, differentiable in `x`, which lives in the native space or in the one named. Raises InputError for
        one that is not there.
        """
        if modality not in self.inputs:
            reason = self.absent.get(modality, f"expected one of {', '.join(self.inputs)}")
            raise InputError(f"modality {modality!r} is not available for encoder {self.name}: {reason}")
        space = space or self.inputs[modality].space.name
        if (modality, space) not in self.functions:
            raise InputError(
                f"space {space!r} does not exist for {modality}; expected one of"
                f" {', '.join(self.inputs[modality].spaces)}"
            )
        return F.normalize(_at_least_float32(self.functions[modality, space](x)), dim=-1)

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Unit rows, without gradients. Raises InputError for an encoder that was loaded without its text tower."""
        if self.text is None:
            raise InputError(
                f"encoder {self.name} has no text tower; load it with one, or compare with class centers made elsewhere"
            )
        with torch.no_grad():
            parts = [self.text(list(texts[i : i + TEXTS_AT_ONCE])) for i in range(0, len(texts), TEXTS_AT_ONCE)]
        return F.normalize(_at_least_float32(torch.cat(parts)), dim=-1)


def from_callable(
    name: str,
    functions: Mapping[str | tuple[str, str], Function],
    *,
    inputs: Mapping[str, InputSpec],
    text: TextFunction | None = None,
    model: nn.Module | None = None,
    weights_sha256: str | None = None,
    differentiable: bool = True,
) -> CallableEncoder:
    """An Encoder out of one function per modality (or per (modality, space), for a space that `inputs[modality].fronts`
    offers).

    A function takes float32 `b ...` tensors in the native units of `inputs[modality]` and returns `b d` embeddings of
    any precision; normalising the input is its affair, unit rows in float32 or better are made here. Each is tried
    once on two random inputs, its networks in evaluation mode and afterwards exactly as they were: raises InputError
    when it fails, returns another shape, numbers that are not finite, rows of another length than its neighbours, or
    (unless `differentiable` is False: gradient-free attacks only) passes no gradient back. `weights_sha256` keys stored
    verdicts; when not given it is a hash of what the functions answered to those inputs (to four decimals), so that
    another model is taken for another model. A classifier whose last layer is linear: `linear_classifier` makes
    function and class centers of it. Call `.eval()` on your network where you call `embed` yourself: only audits and
    this trial put it in evaluation mode.
    """
    keyed: dict[tuple[str, str], Function] = {}
    for key, function in functions.items():
        modality, space = (key, None) if isinstance(key, str) else key
        if modality not in inputs:
            raise InputError(
                f"function for {modality!r} has no input specification; expected one in inputs, which holds"
                f" {', '.join(inputs)}"
            )
        spec = inputs[modality]
        keyed[modality, spec.space_named(space or spec.space.name).name] = function
    for modality, spec in inputs.items():
        missing = [space for space in spec.spaces if (modality, space) not in keyed]
        if missing:
            raise InputError(f"inputs name the {modality} space {missing[0]!r}, but there is no function for it")
    device = first_device(_networks(model, *keyed.values()))
    with _unchanged((model, *keyed.values(), text), device):
        answers = {
            key: _try(function, inputs[key[0]], key[1], differentiable, device) for key, function in keyed.items()
        }
        if text is not None:
            answers["text", "text"] = _try_text(text)
    widths = {" in ".join(key): tuple(z.shape) for key, z in answers.items()}
    if len(set(widths.values())) > 1:
        raise InputError(
            f"the functions of encoder {name} return embeddings of unlike shapes for two inputs: {widths}; expected"
            " (2, d) with one d"
        )
    digest = hashlib.sha256(b"".join(_rounded(answers[key]) for key in sorted(answers))).hexdigest()
    dim = next(iter(answers.values())).shape[1]
    return CallableEncoder(name, dim, dict(inputs), weights_sha256 or digest, keyed, text, model)


def _at_least_float32(z: Tensor) -> Tensor:
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


def _networks(*parts: Any) -> Iterator[nn.Module]:
    """Those that are among these parts or that their functions can reach."""
    return chain.from_iterable(map(networks_in, parts))


@contextmanager
def _unchanged(functions: Iterable[Any], device: torch.device) -> Iterator[None]:
    """Whatever these functions run is in evaluation mode for the time of the block, and afterwards as it was: modes,
    buffers (running statistics), and the states of random number generators.
    """
    networks = [network for function in functions for network in networks_in(function, global_variables=True)]
    buffers = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - a user's function may draw from it
    try:
        with (
            torch.random.fork_rng([device] if device.type == "cuda" and torch.cuda.is_available() else []),
            in_evaluation_mode(networks),
        ):
            yield
    finally:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002


def _try(
    function: Function, spec: InputSpec, space: str, differentiable: bool, device: torch.device
) -> Float[Tensor, "2 d"]:
    shape, where = spec.shape_in(space), spec.space_named(space)
    x = torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))
    low, high = -1.0 if where.low is None else where.low, 1.0 if where.high is None else where.high
    x = (low + (high - low) * x).to(device).requires_grad_(differentiable)
    given = f"function for {spec.modality!r} in {space!r}, given {tuple(x.shape)}"
    z = _answer(lambda: function(x), f"{given} in float32")
    _check_answer(z, f"{given}, returned")
    if differentiable and not _depends(z, x):
        raise InputError(
            f"{given}, returned no gradient with respect to its input; expected one (or differentiable=False, for"
            " gradient-free attacks only)"
        )
    return z.detach()


def _try_text(text: TextFunction) -> Float[Tensor, "2 d"]:
    with torch.no_grad():
        z = _answer(lambda: text(["a probe", "another probe"]), "text function, given two texts")
    _check_answer(z, "text function, given two texts, returned")
    return z


def _answer(call: Callable[[], Any], given: str) -> Any:
    try:
        return call()
    except InputError:
        raise
    except Exception as error:  # whatever a user's function raises; Python shows it as the cause of the line
        said = str(error).strip().splitlines() or [""]
        raise InputError(
            f"{given}, raised {type(error).__name__}: {said[0]}; expected embeddings of shape (2, d)"
        ) from error


def _check_answer(z: Any, said: str) -> None:
    if not isinstance(z, Tensor) or z.ndim != 2 or len(z) != 2:
        shape = tuple(z.shape) if isinstance(z, Tensor) else type(z).__name__
        raise InputError(f"{said} {shape}; expected a tensor of shape (2, d)")
    if not z.is_floating_point():
        raise InputError(f"{said} {z.dtype}; expected a tensor of floating-point numbers")
    if not torch.isfinite(z).all():
        raise InputError(f"{said} numbers that are not finite")


def _depends(z: Tensor, x: Tensor) -> bool:
    return z.requires_grad and torch.autograd.grad(z.sum(), x, allow_unused=True)[0] is not None


def _rounded(z: Float[Tensor, "n d"]) -> bytes:
    unit = F.normalize(z.detach().float().cpu(), dim=-1)
    return (unit * 1e4).round().to(torch.int32).numpy().tobytes()
