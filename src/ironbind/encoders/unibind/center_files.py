"""Class centers in files: any number of rows per class.

UniBind's pickles (50 rows each, officially) are read through an unpickler that knows tensors only. A .safetensors file
holds either `z`, `label` and the class names (what `convert_centers` writes) or one tensor of rows per class, named
like it. Which kind a file is, its content says, not its suffix.
"""

import json
import os
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ironbind.core.placeholders import placeholder
from ironbind.encoders.imagebind.model import WIDTH
from ironbind.encoders.shared.checkpoint import holds_safetensors
from ironbind.types import ClassCenters, InputError

OURS = {"z", "label"}


def load_centers(path: str | os.PathLike[str]) -> ClassCenters:
    """The centers of a file, as unit rows: UniBind's .pkl, or .safetensors of either kind. Raises InputError for
    anything else, naming the file.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"centers {str(path)!r} is not a file; expected UniBind's centre_embs/*.pkl, or .safetensors with one"
            " tensor"
            " of rows per class"
        )
    content = placeholder(path)
    if content:
        raise InputError(f"centers {str(path)!r} is {content}")
    if path.suffix != ".safetensors" and not holds_safetensors(path):
        return of_rows(_pickled(path), str(path))
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - safe_open is no mapping
            about = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"centers {str(path)!r} cannot be read ({error}); expected .safetensors with one tensor of rows per class"
        ) from None
    return _ours(tensors, about, str(path)) if OURS.issubset(tensors) else of_rows(tensors, str(path))


def _ours(tensors: Mapping[str, Tensor], about: Mapping[str, str], where: str) -> ClassCenters:
    """What `convert_centers` wrote; rows that it wrote come back bit for bit."""
    z, label = tensors["z"], tensors["label"]
    try:
        names = json.loads(about["classes"])
    except (KeyError, json.JSONDecodeError) as error:
        raise InputError(f"centers {where!r} were not made by convert_centers (classes: {error})") from None
    fits = isinstance(names, list) and all(isinstance(name, str) for name in names) and z.ndim == 2
    fits = fits and label.shape == z.shape[:1] and not label.is_floating_point()
    if not fits or not len(z) or int(label.min()) < 0 or int(label.max()) >= len(names):
        raise InputError(
            f"centers {where!r} were not made by convert_centers (z {list(z.shape)}, label {list(label.shape)},"
            f" {len(names)} classes); expected a row of numbers and the number of a class for each"
        )
    _check_directions(z, [names[number] for number in label.tolist()], where)
    return ClassCenters(z, label, tuple(names))


def of_rows(rows: Mapping[str, Tensor], where: str = "centers") -> ClassCenters:
    """Centers from class name -> its rows ([rows, d], or one row [d]), normalised. Raises InputError naming the first
    class that does not fit.
    """
    if not rows:
        raise InputError(f"centers {where!r} hold no class; expected a tensor of rows for each")
    each = {name: value.float() if value.ndim > 1 else value.float()[None] for name, value in rows.items()}
    width = next(iter(each.values())).shape[-1]
    for name, value in each.items():
        if value.ndim != 2 or value.shape[1] != width or not len(value):
            raise InputError(
                f"centers {where!r}: class {name!r} has shape {list(value.shape)}; expected [rows, {width}]"
            )
        _check_directions(value, [name] * len(value), where)
    label = torch.repeat_interleave(torch.arange(len(each)), torch.tensor([len(value) for value in each.values()]))
    return ClassCenters(F.normalize(torch.cat(list(each.values())), dim=-1), label, tuple(each))


def _check_directions(z: Tensor, names: list[str], where: str) -> None:
    lengths = z.float().norm(dim=1)
    for row in (~torch.isfinite(lengths) | (lengths == 0)).nonzero().flatten().tolist():
        raise InputError(
            f"centers {where!r}: class {names[row]!r} has a row that is zero or not finite; expected directions"
        )


# ---------------------------------------------------------------------------------------------------- UniBind's pickles


def _storage(raw: bytes) -> Any:
    return torch.load(BytesIO(raw), map_location="cpu", weights_only=True)


class _TensorsOnly(pickle.Unpickler):
    """Rebuilds a dict of tensors and nothing else; a pickle that asks for any other object is refused. Storages from a
    GPU land on the CPU.
    """

    ALLOWED = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch.storage", "_load_from_bytes"): _storage,
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return self.ALLOWED[module, name]


def _pickled(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            content = _TensorsOnly(file).load()
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises anything
        raise InputError(
            f"centers {str(path)!r} cannot be read ({' '.join(str(error).split())}); expected UniBind's pickled dict of"
            " label -> tensor"
        ) from None
    if not isinstance(content, dict) or not all(
        isinstance(rows, Tensor) and rows.ndim == 2 and rows.shape[1] == WIDTH for rows in content.values()
    ):
        raise InputError(f"centers {str(path)!r} hold no dict of label -> tensor [rows, {WIDTH}]")
    return {str(label): rows for label, rows in content.items()}


def convert_centers(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> ClassCenters:
    """Reads UniBind's pickle once and writes it as .safetensors, which need not be trusted. Raises InputError for a
    source that is none, and for a target that cannot be written.
    """
    centers = load_centers(source)
    try:
        save_file(
            {"z": centers.z.contiguous(), "label": centers.label},
            str(target),
            metadata={"classes": json.dumps(centers.names)},
        )
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"centers cannot be written to {str(target)!r} ({error}); expected a file in a folder"
        ) from None
    return centers
