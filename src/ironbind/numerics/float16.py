"""Tensors in half the bytes, where that loses nothing."""

from torch import Tensor


def narrowed(value: Tensor) -> Tensor:
    """The tensor in float16 where float16 holds it exactly, else as it is; contiguous."""
    half = value.half()
    return (half if half.to(value.dtype).equal(value) else value).contiguous()
