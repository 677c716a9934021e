"""A frozen encoder with trained heads behind it. It is an Encoder: whatever attacks or evaluates encoders takes it as it is."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ironbind.calibration import HEADS
from ironbind.results import CalibrationRecord, Row, write_atomically
from ironbind.types import Encoder, InputError, InputSpec

FORMAT = 1


class Calibrated:
    """`backbone` with one head per calibrated modality; other modalities and text pass through unchanged.

    `calibration`: the recipe's name. `heads`: modality -> module mapping unit embeddings to embeddings, which are normalised again.
    `kind`: name in HEADS. `records`: what training measured. `weights_sha256` covers backbone and heads.
    """

    def __init__(
        self, backbone: Encoder, heads: Mapping[str, nn.Module], calibration: str, kind: str, records: Sequence[CalibrationRecord] = ()
    ) -> None:
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads).requires_grad_(False).eval()
        self.calibration = calibration
        self.kind = kind
        self.records = tuple(records)
        self._hashed: tuple[list[object], dict[str, Tensor], str] | None = None  # what was hashed, the tensors that this speaks of, their hash

    @property
    def name(self) -> str:
        return f"{self.backbone.name}+{self.calibration}"

    @property
    def dim(self) -> int:
        return self.backbone.dim

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        return self.backbone.inputs

    @property
    def device(self) -> torch.device:
        return torch.device(getattr(self.backbone, "device", "cpu"))

    @property
    def weights_sha256(self) -> str:
        """Hash of the backbone's hash and every head parameter.

        Kept until the backbone's hash changes, or a head's tensor is replaced or changed in place. torch's version counters tell; the one thing
        that they do not count is a write through a tensor's `.data` (or an array that shares its memory).
        """
        state, below = self.heads.state_dict(), self.backbone.weights_sha256
        if any(one.is_inference() for one in state.values()):  # such tensors have no version counter
            return _state_hash(state, below)
        seen: list[object] = [below, *((name, one.data_ptr(), one._version) for name, one in state.items())]
        if self._hashed is None or self._hashed[0] != seen:
            self._hashed = seen, state, _state_hash(state, below)  # a tensor that is held keeps its address to itself
        return self._hashed[2]

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        """Unit rows: the backbone's embedding through the modality's head."""
        z = self.backbone.embed(modality, x, space=space)
        return apply_head(self.heads[modality], z) if modality in self.heads else z

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """The frozen text side."""
        return self.backbone.embed_text(texts)

    def trainable(self) -> int:
        """Parameters that calibration trained, over all modalities."""
        return sum(parameter.numel() for parameter in self.heads.parameters())

    def save(self, folder: Path | str, rows: Sequence[Row] = ()) -> Path:
        """Writes `heads.safetensors` and `calibration.json` (backbone, its weights' hash, recipe, records, and `rows`: what an audit found)."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "heads.safetensors", save({name: value.contiguous() for name, value in self.heads.state_dict().items()}))
        about: dict[str, Any] = {
            "format": FORMAT,
            "backbone": self.backbone.name,
            "backbone_weights_sha256": self.backbone.weights_sha256,
            "dim": self.dim,
            "calibration": self.calibration,
            "head": self.kind,
            "modalities": sorted(self.heads),
            "weights_sha256": self.weights_sha256,
            "records": [asdict(one) for one in self.records],
            "results": [asdict(one) for one in rows],
        }
        write_atomically(folder / "calibration.json", json.dumps(about, indent=1))
        return folder


def _state_hash(state: Mapping[str, Tensor], below: str) -> str:
    digest = hashlib.sha256(below.encode())
    for name, value in sorted(state.items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def apply_head(head: nn.Module, z: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """The head's output, normalised to unit rows."""
    return torch.nn.functional.normalize(head(z), dim=-1)


def load_calibrated(encoder: Encoder, folder: Path | str) -> Calibrated:
    """The heads saved in `folder` on top of `encoder`.

    Raises InputError in one line for missing, truncated or foreign files, and for heads that were trained on another backbone.
    """
    folder = Path(folder)
    try:
        about = json.loads((folder / "calibration.json").read_text(encoding="utf-8"))
        wanted = {key: about[key] for key in ("format", "backbone", "backbone_weights_sha256", "calibration", "head", "modalities", "weights_sha256")}
    except FileNotFoundError:
        raise InputError(f"{folder} holds no calibration.json; expected a folder written by `ironbind calibrate`") from None
    except (json.JSONDecodeError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise InputError(f"{folder / 'calibration.json'} is not a calibration of this version of ironbind ({error})") from None
    if wanted["format"] != FORMAT or wanted["head"] not in HEADS:
        have = f"format {wanted['format']!r}, head {wanted['head']!r}"
        raise InputError(f"{folder / 'calibration.json'} holds {have}; expected format {FORMAT} and a head out of {', '.join(HEADS)}")
    if wanted["backbone_weights_sha256"] != encoder.weights_sha256:
        raise InputError(
            f"{folder} was trained on {wanted['backbone']!r} (weights {wanted['backbone_weights_sha256'][:12]}), "
            f"not on {encoder.name!r} (weights {encoder.weights_sha256[:12]}); heads fit only the backbone they were trained on"
        )
    path = folder / "heads.safetensors"
    try:
        state = load_file(path)
    except FileNotFoundError:
        raise InputError(f"{folder} holds no heads.safetensors; expected a folder written by `ironbind calibrate`") from None
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}); expected an intact safetensors file") from None
    heads = nn.ModuleDict({modality: HEADS[wanted["head"]](encoder.dim) for modality in wanted["modalities"]})
    try:
        heads.load_state_dict(state)
    except RuntimeError as error:
        raise InputError(f"{path} does not fit its calibration.json: {' '.join(str(error).split())}") from None
    records = [CalibrationRecord(**one) for one in about.get("records", [])]
    device = torch.device(getattr(encoder, "device", "cpu"))
    calibrated = Calibrated(encoder, dict(heads.to(device).items()), wanted["calibration"], wanted["head"], records)
    if calibrated.weights_sha256 != wanted["weights_sha256"]:
        raise InputError(f"{path} has been changed since it was written (its hash is not the one in calibration.json)")
    return calibrated
