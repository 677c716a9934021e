"""Official checkpoint files onto our modules: memory-mapped, never trusted (tensors only), strict about every name and
shape.
"""

import hashlib
import json
import os
import pickle
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from ironbind.core.placeholders import placeholder
from ironbind.encoders.shared.official_weights import WEIGHTS, OfficialWeights
from ironbind.types import InputError

BIG = 500_000_000  # bytes from which reading a whole file deserves a word to the user


def require_file(weights: str | os.PathLike[str] | None, official: OfficialWeights) -> Path:
    """The path of a checkpoint that exists. Raises InputError saying where the official file comes from."""
    get = f"get {official.file} from {official.source} ({official.licence}: {official.terms})"
    if weights is None:
        raise InputError(
            f"weights=None: {official.encoder} needs its official file; {get}, or weights='random' for a network"
            " without knowledge"
        )
    path = Path(weights).expanduser()
    if not path.is_file():
        raise InputError(f"weights {str(path)!r} is not a file; {get}")
    return path


NESTED = ("state_dict", "model", "model_state_dict", "module")  # where training scripts put the state dict


def holds_safetensors(path: Path) -> bool:
    """Whether a file begins as .safetensors files do: the length of a JSON header, then the header."""
    with path.open("rb") as file:
        head = file.read(9)
    return len(head) == 9 and head[8:] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Every tensor of a .safetensors or torch (.pth, .pt, .bin) file by name, memory-mapped: a tensor costs memory once
    it is used. Which of the two a file is, its content says, not its suffix.

    Torch files are read with `weights_only=True`; what training scripts put around a state dict is taken off: an entry
    of NESTED, and a `module.` prefix. The file must not change while its tensors are in use. Raises InputError for a
    file that is neither, or truncated, or holds other objects.
    """
    expected = "expected a whole .safetensors file or a torch state dict (.pth, .pt, .bin) of tensors only"
    try:
        content = placeholder(path)
    except OSError as error:
        raise InputError(f"weights {str(path)!r} cannot be read ({error.strerror}); {expected}") from None
    if content:
        raise InputError(f"weights {str(path)!r} cannot be read (it is {content}); {expected}")
    try:
        if holds_safetensors(path) or (path.suffix == ".safetensors" and not zipfile.is_zipfile(path)):
            with safe_open(path, framework="pt") as file:
                return _prefix_taken_off({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        if path.suffix == ".safetensors":  # torch would go by the suffix
            with path.open("rb") as file:
                state = torch.load(file, map_location="cpu", weights_only=True)
        else:  # files of before torch 1.6 are no zip archives and cannot be mapped
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        reason = (
            "it holds other objects than tensors"
            if "Unsupported global" in str(error) or "GLOBAL" in str(error)
            else "truncated or corrupt"
        )
        raise InputError(f"weights {str(path)!r} cannot be read ({reason}); {expected}") from None
    except Exception as error:  # damaged bytes make parsers throw anything: IndexError, struct.error, MemoryError, ...
        raise InputError(
            f"weights {str(path)!r} cannot be read (truncated or corrupt: {type(error).__name__}); {expected}"
        ) from None
    inner = next((key for key in NESTED if isinstance(state, dict) and isinstance(state.get(key), dict)), None)
    state = state if inner is None else state[inner]
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f"weights {str(path)!r} holds no state dict{_content(state)}; {expected}")
    return _prefix_taken_off(state)


def _prefix_taken_off(state: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(name.startswith("module.") for name in state):
        return {name.removeprefix("module."): value for name, value in state.items()}
    return state


def _content(state: Any) -> str:
    """What a torch file holds in place of a state dict, in a few words."""
    if not isinstance(state, dict):
        return f" but a {type(state).__name__}"
    other = [f"{name}: {type(value).__name__}" for name, value in state.items() if not isinstance(value, Tensor)]
    return f" but {', '.join(other[:4])}{', ...' if len(other) > 4 else ''}" if other else ""


def read_json(path: Path) -> dict[str, Any]:
    """A configuration in a JSON file. Raises InputError naming the file for anything else."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        content = placeholder(path) if path.is_file() else ""
        reason = f"it is {content}" if content else " ".join(str(error).split())
        raise InputError(f"{path} cannot be read ({reason}); expected a JSON file") from None
    if not isinstance(config, dict):
        raise InputError(f"{path} holds a {type(config).__name__}; expected a JSON object of names and values")
    return config


def shapes(model: nn.Module, official_name: Callable[[str], str]) -> dict[str, tuple[int, ...]]:
    """The official state dict that `model` stands for: official name -> shape. Works on the meta device."""
    return {official_name(name): tuple(value.shape) for name, value in model.state_dict().items()}


def check_names(
    path: Path, found: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], official: OfficialWeights
) -> None:
    """Raises InputError unless `found` has exactly the names and shapes of `expected`; it names the first missing and
    unexpected ones.
    """
    missing = [name for name in expected if name not in found]
    unexpected = [name for name in found if name not in expected]
    source = f"expected {official.file} from {official.source}"
    if missing or unexpected:
        said = [
            f"{len(names)} {kind}, first {names[0]!r}"
            for kind, names in (("missing", missing), ("unexpected", unexpected))
            if names
        ]
        raise InputError(f"weights {str(path)!r} are not those of {official.encoder}: {'; '.join(said)}; {source}")
    for name, shape in expected.items():
        if tuple(found[name].shape) != shape:
            raise InputError(
                f"weights {str(path)!r}: {name} has shape {list(found[name].shape)}, not {list(shape)}; {source}"
            )


def assign(model: nn.Module, tensors: Mapping[str, Tensor], official_name: Callable[[str], str]) -> None:
    """Puts `tensors` (by official name) into `model` as they are, without a copy, and freezes it in evaluation mode.

    `model` may live on the meta device; a name of it that `tensors` lacks is a KeyError (`check_names` comes first).
    """
    own = model.state_dict()
    loaded = {}
    for name, value in own.items():
        tensor = tensors[official_name(name)]
        loaded[name] = tensor if tensor.dtype == value.dtype else tensor.to(value.dtype)
    model.load_state_dict(loaded, strict=True, assign=True)
    model.requires_grad_(False).eval()


def rule_tensor(official: str, shape: tuple[int, ...]) -> Tensor:
    """r = 0.02 * randn(shape, seed crc32(official name)); 1 + r for 1-D `weight` and `running_var` entries."""
    noise = torch.randn(
        shape, generator=torch.Generator().manual_seed(zlib.crc32(official.encode())), dtype=torch.float32
    ).mul_(0.02)
    return noise + 1 if len(shape) == 1 and official.endswith(("weight", "running_var")) else noise


def rule_weights(model: nn.Module, official_name: Callable[[str], str], keep: Iterable[str] = ()) -> dict[str, Tensor]:
    """Weights that anybody can rebuild from names alone, by official name: what `weights="random"` and the parity tests
    load.

    Each entry is `rule_tensor`; 0-d entries, integer entries and those named in `keep` stay as the constructor made
    them.
    """
    kept = set(keep)
    state = {}
    for name, value in model.state_dict().items():
        official = official_name(name)
        if value.ndim == 0 or not value.is_floating_point() or official in kept:
            # counters of batch norms are the only entries without data on the meta device here, and they start at 0
            state[official] = torch.zeros(value.shape, dtype=value.dtype) if value.is_meta else value
            continue
        state[official] = rule_tensor(official, tuple(value.shape))
    return state


def file_sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal; says so on stderr when the file is big enough to take seconds."""
    if path.stat().st_size > BIG:
        print(f"hashing {path.name} ({path.stat().st_size / 1e9:.1f} GB) ...", file=sys.stderr, flush=True)
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


@cache
def announce(encoder: str) -> None:
    """Prints licence and citation of an encoder's official weights on stderr, once per process."""
    official = WEIGHTS[encoder]
    print(
        f"{encoder}: weights under {official.licence} ({official.terms}). Please cite {official.citation}.",
        file=sys.stderr,
        flush=True,
    )
