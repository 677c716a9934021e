"""Copies of encoders: whole ones, and ones with module objects of their own but the very same tensors."""

import copy
from functools import partial
from types import CellType, FunctionType
from typing import Any, TypeVar

from ironbind.numerics.networks import modules_of
from ironbind.types import Encoder, InputError

E = TypeVar("E", bound=Encoder)


def sharing_copy(encoder: E) -> E:
    """An encoder with new module objects around the same parameters and buffers: a module of the copy can be exchanged
    without touching the original.

    It takes no memory for weights, follows every change of them, and is in evaluation mode whatever the original does
    later. Raises InputError for an encoder that holds something that cannot be copied.
    """
    tensors = [one for module in modules_of(encoder) for one in (*module.parameters(), *module.buffers())]
    try:
        made = copy.deepcopy(encoder, {id(one): one for one in tensors})
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"encoder {encoder.name!r} holds something that cannot be copied ({' '.join(str(error).split())[:120]})"
        ) from None
    for module in modules_of(made):
        module.eval()
    return made


def copied(one: Any, memo: dict[int, Any]) -> Any:
    """`deepcopy` that also enters closures and partial functions, which the copy module takes for constants."""
    if isinstance(one, FunctionType) and one.__closure__:
        if id(one) not in memo:
            cells = tuple(CellType() for _ in one.__closure__)
            made = FunctionType(one.__code__, one.__globals__, one.__name__, one.__defaults__, cells)
            made.__kwdefaults__ = one.__kwdefaults__
            memo[id(one)] = made  # before its cells are filled: a function may hold itself
            for cell, empty in zip(one.__closure__, cells, strict=True):
                empty.cell_contents = copied(cell.cell_contents, memo)
        return memo[id(one)]
    if isinstance(one, partial):
        words = {name: copied(value, memo) for name, value in one.keywords.items()}
        return partial(copied(one.func, memo), *(copied(value, memo) for value in one.args), **words)
    return copy.deepcopy(one, memo)
