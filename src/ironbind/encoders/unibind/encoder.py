"""UniBind as an Encoder, and its semantic centers.

Code: ours, from a specification. Weights: MIT, but they contain all of ImageBind (CC BY-NC-SA 4.0: non-commercial).
Paper: arXiv:2403.12532.
"""

import json
import os
import pickle
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ironbind.core.results import write_atomically
from ironbind.encoders.imagebind.encoder import BindEncoder, fill, read_official, settle, wanted
from ironbind.encoders.imagebind.model import HUGE, WIDTH, TowerSize
from ironbind.encoders.shared.clip_tokens import tokenize
from ironbind.encoders.unibind.inputs import UniBindInputs
from ironbind.encoders.unibind.model import TOWER_OF, UniBindModel, official_name
from ironbind.encoders.unibind.point_tower import LEVELS, LevelSize
from ironbind.types import ClassCenters, InputError

HEAD = "mlp_for_"


def load(
    weights: str | os.PathLike[str] | None = None,
    modalities: str | Iterable[str] | None = None,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    *,
    checkpointing: bool = False,
    vocabulary: str | Path | None = None,
    keep_end: bool = False,
    sizes: Mapping[str, TowerSize] = HUGE,
    levels: tuple[LevelSize, ...] = LEVELS,
    **choices: Any,
) -> BindEncoder:
    """UniBind for `modalities` (image, video, event, audio, thermal, point, text; None: all), frozen, in evaluation
    mode.

    `weights`: the official pretrained_weights.pt, or a fine-tuned `<modality>_model_*.pt`, whose head then follows that
    modality's embedding; "random" for the rule. `keep_end`: keep the end token of over-long texts; officially it is cut
    off, and all such texts coincide. `choices`: fields of UniBindInputs. The rest, and what is raised, as
    `imagebind.load`.
    """
    names = wanted(modalities, tuple(TOWER_OF))
    inputs = UniBindInputs(**choices)
    source = read_official("unibind", weights)
    heads: tuple[str, ...] = ()
    if source is not None:
        path, tensors = source
        tensors = {name.removeprefix("backbone."): value for name, value in tensors.items()}
        heads = tuple(
            name.removeprefix(HEAD).removesuffix(".weight")
            for name in tensors
            if name.startswith(HEAD) and name.endswith(".weight")
        )
        source = path, tensors
    with torch.device("meta"):
        model = UniBindModel(names, [one for one in heads if one in names], sizes, levels)
    sha256 = fill(
        model,
        official_name,
        lambda: UniBindModel(heads=heads, sizes=sizes, levels=levels, all_towers=True),
        "unibind",
        source,
    )
    settle(model, dtype, device, checkpointing)
    specs = {name: spec for name, spec in inputs.specs().items() if name in names}
    tokens = partial(tokenize, vocabulary=vocabulary, keep_end=keep_end) if "text" in names else None
    return BindEncoder("unibind", model, specs, inputs.converters(), sha256, tokens)


# ----------------------------------------------------------------------------------------------- semantic centers


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
            found = _TensorsOnly(file).load()
    except Exception as error:  # noqa: BLE001 - a damaged pickle raises anything
        raise InputError(
            f"centers {str(path)!r} cannot be read ({error}); expected UniBind's pickled dict of label -> tensor"
        ) from None
    if not isinstance(found, dict) or not all(
        isinstance(one, Tensor) and one.ndim == 2 and one.shape[1] == WIDTH for one in found.values()
    ):
        raise InputError(f"centers {str(path)!r} hold no dict of label -> tensor [rows, {WIDTH}]")
    return {str(label): rows.float() for label, rows in found.items()}


def read_centers(path: str | os.PathLike[str]) -> ClassCenters:
    """UniBind's semantic centers (50 rows per class officially, any number here) as unit rows: its .pkl, or the
    .safetensors made of it.

    A pickle is read through an unpickler that knows tensors only. Raises InputError for anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(
            f"centers {str(path)!r} is not a file; expected UniBind's centre_embs/*.pkl or a .safetensors made by convert_centers"
        )
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                names = tuple(json.loads((file.metadata() or {})["classes"]))
                return ClassCenters(file.get_tensor("z"), file.get_tensor("label"), names)
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise InputError(f"centers {str(path)!r} were not made by convert_centers ({error})") from None
    classes = _pickled(path)
    label = torch.repeat_interleave(torch.arange(len(classes)), torch.tensor([len(rows) for rows in classes.values()]))
    return ClassCenters(F.normalize(torch.cat(list(classes.values())), dim=-1), label, tuple(classes))


def convert_centers(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> ClassCenters:
    """Reads UniBind's pickle once and writes it as .safetensors, which need not be trusted."""
    centers = read_centers(source)
    tensors = {"z": centers.z.contiguous(), "label": centers.label}
    write_atomically(Path(target), save(tensors, metadata={"classes": json.dumps(centers.names)}))
    return centers
