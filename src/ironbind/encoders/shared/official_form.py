"""The form in which an encoder's own loader, and its authors' code, read its weights: how it is written, and loaded
again from what was written.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor, nn

from ironbind.core.errors import writing
from ironbind.types import Encoder

NO_HEAD: Mapping[str, Tensor] = {}


@dataclass(frozen=True)
class OfficialForm:
    """What an encoder's loader leaves with it, so that its network can be written as it was read.

    `name`: what the file or the `folder` is usually called. `write(model, modality, path, head)` writes the network
    `model` (of the encoder's own architecture, in float32), with everything that was not loaded as it is in the
    original: of a family with a file per modality the one of `modality`. `head`: tensors of `head_entries`.
    `load(path, modality)`: the encoder from there, by the options of the original. `head_entries(modality, linear)`:
    the official names and tensors of a final projection behind the unit row of a modality; None where the form has no
    place for one.
    """

    name: str
    folder: bool
    write: Callable[[Any, str, Path, Mapping[str, Tensor]], None]
    load: Callable[[Path, str], Encoder]
    head_entries: Callable[[str, nn.Linear], dict[str, Tensor]] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> "OfficialForm":
        """Itself: it may hold the tensors of a file, which a copy of the encoder shares."""
        return self


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """A .safetensors file, through a temporary one beside it. Raises WriteError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    seen: set[int] = set()
    for name, tensor in stored.items():  # the format holds every entry by itself
        place = tensor.untyped_storage().data_ptr()
        stored[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(stored, temporary, metadata={"format": "pt"})
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
