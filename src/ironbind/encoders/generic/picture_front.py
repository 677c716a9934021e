"""A picture processor of `transformers` as a differentiable front end, where it takes tensors and keeps their gradient:
those of its torchvision backend do.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.encoders.generic.gradient_trial import NoGradient
from ironbind.modalities.spaces import PIXELS
from ironbind.types import Image, InputSpec

SIDE = 224  # of pictures for processors that take any size, in pixels
ALIKE = 1e-3  # by which numbers from a tensor may differ from those of the same picture
WITHOUT_GEOMETRY = {"do_resize": False, "do_center_crop": False, "do_pad": False}
BACKEND = "expected one that works on tensors (pip install torchvision of your torch's release)"


@dataclass(frozen=True)
class PictureFront:
    """`features(x)`: what the model is fed with, from pictures `b 3 h w` in [0, 1]. Where `separable`, resizing and
    cropping happen once in `prepare`, by the processor itself; else `prepare` resizes to `shape`, and the processor
    sees pictures of that size.
    """

    processor: Any = field(repr=False)
    shape: tuple[int, int, int]
    separable: bool

    def prepare(self, sample: Image) -> Float[Tensor, "3 h w"]:
        """A picture at the size that is attacked, in [0, 1]."""
        if self.separable:
            pixels = torch.from_numpy(np.ascontiguousarray(sample.pixels)).permute(2, 0, 1)
            resized = self.processor(images=[pixels], do_normalize=False, return_tensors="pt")["pixel_values"][0]
            return resized.float().clamp(0, 1)
        height, width = self.shape[1:]
        picture = PIL.Image.fromarray(sample.pixels).resize((width, height), PIL.Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255

    def features(self, x: Float[Tensor, "b 3 h w"]) -> Mapping[str, Tensor]:
        """The processor's tensors, differentiable in `x`."""
        geometry = WITHOUT_GEOMETRY if self.separable else {}
        told: Mapping[str, Tensor] = self.processor(
            images=list(x), do_rescale=False, input_data_format="channels_first", return_tensors="pt", **geometry
        )
        return told

    def spec(self) -> InputSpec:
        """How an encoder takes pictures through it."""
        return InputSpec("image", self.shape, PIXELS, self.prepare)


def picture_front(processor: Any, size: tuple[int, int] | None = None) -> PictureFront:
    """The front end of a processor. `size`: rows and columns for processors that take any size (None: SIDE each).
    Raises NoGradient, saying why, for one that detaches, fails on tensors, or gives other numbers for them.
    """
    called = type(processor).__name__
    rng = np.random.default_rng(0)
    try:
        front = _separable(processor, rng) if size is None else None
        front = front or PictureFront(processor, (3, *(size or _kept_size(processor))), False)
        grid = rng.integers(0, 256, (*front.shape[1:], 3), dtype=np.uint8)
        x = (torch.from_numpy(grid).permute(2, 0, 1).float() / 255)[None].requires_grad_(True)
        with torch.enable_grad():
            told = front.features(x)
    except NoGradient:
        raise
    except Exception as error:  # whatever a processor of anybody's throws
        said = " ".join(str(error).split())[:100]
        raise NoGradient(f"its {called} fails on tensors ({type(error).__name__}: {said}); {BACKEND}") from error
    moving = [name for name, value in told.items() if isinstance(value, Tensor) and value.is_floating_point()]
    if not any(told[name].requires_grad for name in moving):
        raise NoGradient(f"its {called} hands pixels on without their gradient; {BACKEND}")
    geometry = WITHOUT_GEOMETRY if front.separable else {}
    plain = processor(images=[PIL.Image.fromarray(grid)], return_tensors="pt", **geometry)
    for name in moving:
        if plain[name].shape != told[name].shape or not torch.allclose(plain[name], told[name].detach(), atol=ALIKE):
            raise NoGradient(f"its {called} makes other numbers of tensors than of pictures ({name}); {BACKEND}")
    return front


def _separable(processor: Any, rng: np.random.Generator) -> PictureFront | None:
    """The front end whose processor resizes and crops to one size, whatever the picture; None for another kind."""
    shapes = set()
    for size in ((40, 56), (300, 260)):
        pixels = torch.from_numpy(rng.integers(0, 256, (3, *size), dtype=np.uint8))
        resized = processor(images=[pixels], do_normalize=False, return_tensors="pt").get("pixel_values")
        if not isinstance(resized, Tensor) or resized.ndim != 4 or len(resized) != 1 or resized.shape[1] != 3:
            return None
        if float(resized.min()) < 0 or float(resized.max()) > 1:
            return None
        whole = processor(images=[pixels], return_tensors="pt")["pixel_values"]
        front = PictureFront(processor, tuple(resized.shape[1:]), True)  # type: ignore[arg-type]
        if not torch.allclose(front.features(resized)["pixel_values"], whole, atol=ALIKE):
            return None
        shapes.add(front.shape)
    return front if len(shapes) == 1 else None


def _kept_size(processor: Any) -> tuple[int, int]:
    """Rows and columns to which a processor of any size resizes a square of SIDE: pictures of that size it leaves as
    they are. SIDE for one that does not tell.
    """
    told = processor(images=[PIL.Image.new("RGB", (SIDE, SIDE))], return_tensors="pt")
    cut = next((told[name] for name in ("image_grid_thw", "spatial_shapes") if name in told), None)
    side = getattr(processor, "patch_size", None)
    if cut is None or not isinstance(side, int):
        return SIDE, SIDE
    rows, columns = (int(count) * side for count in cut[0][-2:])
    return rows, columns


def accepted(features: Mapping[str, Any], function: Callable[..., Any]) -> dict[str, Any]:
    """Those of the features that a function takes by name."""
    takes = inspect.signature(function).parameters
    return {name: value for name, value in features.items() if name in takes}
