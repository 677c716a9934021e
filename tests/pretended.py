"""A second device on a machine that has none: tensors that say "cuda:0" or "mps:0", are computed on the CPU, and refuse
to be mixed with the CPU's own. Those of "mps:0" refuse float64, too, as Apple's do.

What a mode like torch's own FakeTensorMode does without numbers, with numbers: an audit there must end as it does on
the CPU.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

CUDA = torch.device("cuda:0")
aten = torch.ops.aten
ACROSS = {aten._to_copy.default, aten.copy_.default}  # from one device to the other
# what takes indices that lie on the CPU
BY_INDEX = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}


class Elsewhere(Tensor):
    """A tensor that pretends to lie on another device; `here` holds its numbers. To the dispatcher it lies on the meta
    device, which needs no library.
    """

    here: Tensor
    where = CUDA  # which device is pretended at the moment
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, here: Tensor) -> "Elsewhere":
        made = Tensor._make_wrapper_subclass(
            cls,
            here.size(),
            strides=here.stride(),
            storage_offset=here.storage_offset(),
            dtype=here.dtype,
            device="meta",
        )
        made.here = here
        return made

    @property
    def device(self) -> torch.device:
        return Elsewhere.where

    @property
    def is_cuda(self) -> bool:
        return Elsewhere.where.type == "cuda"

    @property
    def is_mps(self) -> bool:
        return Elsewhere.where.type == "mps"

    @property
    def is_meta(self) -> bool:
        return False

    def data_ptr(self) -> int:
        return self.here.data_ptr()

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Kept in files, and read from them, as a tensor of the CPU."""
        return self.here.__reduce_ex__(protocol)

    def tolist(self) -> Any:
        return self.here.tolist()

    def __getitem__(self, where: Any) -> Tensor:
        return super().__getitem__(_with_tensors(where))

    def __setitem__(self, where: Any, what: Any) -> None:
        super().__setitem__(_with_tensors(where), what)

    def __repr__(self, **_: Any) -> str:
        return f"Elsewhere({self.here!r})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _with_tensors(where: Any) -> Any:
    """An index whose lists are tensors: of a list for the meta device torch keeps no numbers."""
    if isinstance(where, tuple):
        return tuple(_with_tensors(one) for one in where)
    return (
        torch.tensor(where, dtype=None if where else torch.long, device=Elsewhere.where)
        if isinstance(where, list)
        else where
    )


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _leaves(found: Any) -> list[Any]:
    """What lies in lists, tuples and dictionaries: torch's own pytree, which knows more kinds, is ten times as slow."""
    if isinstance(found, dict):
        found = found.values()
    elif not isinstance(found, list | tuple):
        return [found]
    flat: list[Any] = []
    for one in found:
        if isinstance(one, list | tuple | dict):
            flat += _leaves(one)
        else:
            flat.append(one)
    return flat


def _changed(kind: type, change: Callable[[Any], Any], found: Any) -> Any:
    """`found`, with every leaf of that kind changed."""
    if isinstance(found, kind):
        return change(found)
    if isinstance(found, list | tuple):
        return type(found)([_changed(kind, change, one) for one in found])
    if isinstance(found, dict):
        return {name: _changed(kind, change, one) for name, one in found.items()}
    return found


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """The operation on the numbers themselves, its answer on the device that the operands or `device=` name."""
    tensors = [one for one in _leaves((args, kwargs)) if isinstance(one, Tensor)]
    there = [one for one in tensors if isinstance(one, Elsewhere)]
    asked = kwargs.get("device")
    if there and func not in ACROSS:
        operands = _leaves(args[:1]) + _leaves(args[2:]) if func in BY_INDEX else tensors
        strangers = [one for one in operands if isinstance(one, Tensor) and not isinstance(one, Elsewhere) and one.ndim]
        if strangers:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{Elsewhere.where} and cpu! ({func})"
            )
    moved = asked is not None and asked.type in (Elsewhere.where.type, "meta")
    away = moved if asked is not None else isinstance(tensors[0], Elsewhere) if func in ACROSS else bool(there)
    if moved:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    owners = {id(one.here): one for one in there}
    args, kwargs = _changed(Elsewhere, lambda one: one.here, (args, kwargs))
    found = func(*args, **kwargs)
    if not away:
        return found
    if Elsewhere.where.type == "mps" and any(
        isinstance(one, Tensor) and one.dtype == torch.float64 for one in _leaves(found)
    ):
        raise TypeError(
            f"Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64 ({func})"
        )
    return _changed(Tensor, lambda one: owners[id(one)] if id(one) in owners else Elsewhere(one), found)


@contextmanager
def pretended_mps(monkeypatch: Any) -> Iterator[str]:
    """For the time of the block, "mps:0" is a device, without float64. Yields its name."""
    with monkeypatch.context() as patch, pretended_cuda(monkeypatch):
        patch.setattr(Elsewhere, "where", torch.device("mps:0"))
        yield "mps:0"


@contextmanager
def pretended_cuda(monkeypatch: Any) -> Iterator[str]:
    """For the time of the block, "cuda:0" is a device. Yields its name."""
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with _Mode():
            yield str(CUDA)
    finally:
        torch._C._set_only_lift_cpu_tensors(before)
