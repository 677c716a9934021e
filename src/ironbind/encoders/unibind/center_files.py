"""Class centers in files: any number of rows per class. UniBind's pickles (50 rows each) are read through an unpickler
that knows tensors only.

A .safetensors file holds either `z`, `label` and the class names (what `convert_centers` writes) or one tensor of rows
per class, named like it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ironbind.encoders.unibind.encoder import convert_centers as convert_centers
from ironbind.encoders.unibind.encoder import read_centers
from ironbind.types import ClassCenters, InputError

OURS = {"z", "label"}


def load_centers(path: str | os.PathLike[str]) -> ClassCenters:
    """The centers of a file, as unit rows: UniBind's .pkl, or .safetensors of either kind. Raises InputError for
    anything else.
    """
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return read_centers(path)
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"centers {str(path)!r} cannot be read ({error}); expected .safetensors with one tensor of rows per class"
        ) from None
    return read_centers(path) if OURS.issubset(tensors) else of_rows(tensors, str(path))


def of_rows(rows: Mapping[str, Tensor], where: str = "centers") -> ClassCenters:
    """Centers from class name -> its rows ([rows, d], or one row [d]), normalised. Raises InputError naming the first
    class that does not fit.
    """
    if not rows:
        raise InputError(f"centers {where!r} hold no class; expected a tensor of rows for each")
    each = {name: one.float() if one.ndim > 1 else one.float()[None] for name, one in rows.items()}
    width = next(iter(each.values())).shape[-1]
    for name, one in each.items():
        if one.ndim != 2 or one.shape[1] != width or not len(one):
            raise InputError(f"centers {where!r}: class {name!r} has shape {list(one.shape)}; expected [rows, {width}]")
        if not torch.isfinite(one).all() or (one.norm(dim=1) == 0).any():
            raise InputError(
                f"centers {where!r}: class {name!r} has a row that is zero or not finite; expected directions"
            )
    label = torch.repeat_interleave(torch.arange(len(each)), torch.tensor([len(one) for one in each.values()]))
    return ClassCenters(F.normalize(torch.cat(list(each.values())), dim=-1), label, tuple(each))
