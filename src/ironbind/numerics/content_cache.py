"""Files of computed values, each named by a hash of everything that decides it: one key, one atomic write, one
forgiving read. An entry is right or absent; a folder of entries may be deleted at any time.
"""

import hashlib
import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.results import write_atomically

T = TypeVar("T")


def cache_folder() -> Path:
    """The folder that keeps costly results between runs: IRONBIND_CACHE, else ~/.cache/ironbind."""
    return Path(
        os.environ.get("IRONBIND_CACHE")
        or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ironbind"
    )


def content_key(parts: object, tensors: Iterable[Tensor] = (), length: int = 24) -> str:
    """The first `length` hexadecimal digits of the SHA-256 of `repr(parts)` and of the bytes of `tensors`. Whatever is
    in `parts` must print the same in every process.
    """
    digest = hashlib.sha256(repr(parts).encode("utf-8"))
    for tensor in tensors:
        digest.update(f"{tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:length]


@dataclass(frozen=True)
class CacheFormat(Generic[T]):
    """How a value is turned into the bytes of a file and back."""

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]

    def read(self, path: Path | None, fits: Callable[[T], bool] = lambda value: True) -> T | None:
        """The value in a file, on the CPU; None where there is no file, where it is damaged or of another kind, or
        where the value does not fit. The caller then computes it again, and `write` replaces the file.
        """
        if path is None:
            return None
        try:
            value = self.decode(path.read_bytes())
            return value if fits(value) else None
        except Exception:  # noqa: BLE001 - a damaged or foreign file raises anything, inside `fits` too
            return None

    def write(self, path: Path | None, value: T) -> None:
        """Writes a value to a file in one step (None: nowhere), with the folders above it. Raises OSError where the
        disk refuses.
        """
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, self.encode(value))


def _array_bytes(value: Tensor) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value.cpu().numpy())
    return buffer.getvalue()


def _array(content: bytes) -> Float[Tensor, "..."]:
    return torch.from_numpy(np.load(io.BytesIO(content), allow_pickle=False))


def _state_bytes(value: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def _state(content: bytes) -> dict[str, Any]:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _tensor_bytes(value: dict[str, Tensor]) -> bytes:
    return safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in value.items()})


# named tensors, as .safetensors; one array, as .npy; the state of a training run, as .pt (read without running code)
TENSORS: CacheFormat[dict[str, Tensor]] = CacheFormat(_tensor_bytes, safetensors.torch.load)
ARRAY: CacheFormat[Tensor] = CacheFormat(_array_bytes, _array)
STATE: CacheFormat[dict[str, Any]] = CacheFormat(_state_bytes, _state)
