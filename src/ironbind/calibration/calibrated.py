"""A frozen encoder with adapters inside it and heads behind it. It is an Encoder: whatever attacks or evaluates
encoders takes it as it is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard, ModelHubMixin
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ironbind.calibration import HEADS
from ironbind.calibration.adapters import Adapters
from ironbind.calibration.model_card import TAGS, model_card
from ironbind.core.placeholders import placeholder
from ironbind.core.results import CalibrationRecord, Row, write_atomically
from ironbind.numerics.float16 import narrowed
from ironbind.numerics.networks import device_of
from ironbind.types import AdapterShape, Encoder, InputError, InputSpec

FORMAT = 2
READABLE = (1, 2)  # 1: heads only


class Calibrated(ModelHubMixin, library_name="ironbind", tags=list(TAGS)):
    """`backbone` with a head, adapters, or both per calibrated modality; other modalities and text pass through
    unchanged.

    `calibration`: the recipe's name. `heads`: modality -> module mapping unit embeddings to embeddings, which are
    normalised again; `kind`: their name in HEADS (None: no heads). `adapters`: modality -> Adapters of this very
    backbone, whose tensors stay untouched: `backbone` is the way back. `records`: what training measured, `results`:
    what audits found, `made_by`: the command that trained it; all three go into the model card. `weights_sha256` covers
    backbone, adapters and heads. `save_pretrained`, `from_pretrained` (with `encoder=`) and `push_to_hub` are the Hub's
    own.
    """

    def __init__(
        self,
        backbone: Encoder,
        heads: Mapping[str, nn.Module],
        calibration: str,
        kind: str | None,
        records: Sequence[CalibrationRecord] = (),
        adapters: Mapping[str, Adapters] | None = None,
        results: Sequence[Row] = (),
        made_by: str = "",
    ) -> None:
        self.backbone = backbone
        self.heads = nn.ModuleDict(heads).requires_grad_(False).eval()
        self.adapters = dict(adapters or {})
        parts = nn.ModuleDict({modality: adapter.parts for modality, adapter in self.adapters.items()})
        self.parts = parts.requires_grad_(False).eval()
        # named here so that whoever holds an encoder's modules still, or counts them, finds these too
        self.networks = nn.ModuleList(network for adapter in self.adapters.values() for network in adapter.networks)
        self.calibration = calibration
        self.kind = kind
        self.records = tuple(records)
        self.results = tuple(results)
        self.made_by = made_by
        self._hashed: tuple[list[object], dict[str, Tensor], str] | None = (
            None  # what was hashed, the tensors that this speaks of, their hash
        )

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
        return device_of(self.backbone)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that have a head or adapters."""
        return tuple(dict.fromkeys([*self.heads, *self.adapters]))

    @property
    def weights_sha256(self) -> str:
        """Hash of the backbone's hash and every trained parameter.

        Kept until the backbone's hash changes, or a trained tensor is replaced or changed in place. torch's version
        counters tell; the one thing that they do not count is a write through a tensor's `.data` (or an array that
        shares its memory).
        """
        state, below = self.trained(), self.backbone.weights_sha256
        if any(tensor.is_inference() for tensor in state.values()):  # such tensors have no version counter
            return _state_hash(state, below)
        seen: list[object] = [below, *((name, tensor.data_ptr(), tensor._version) for name, tensor in state.items())]
        if self._hashed is None or self._hashed[0] != seen:
            self._hashed = seen, state, _state_hash(state, below)  # a tensor that is held keeps its address to itself
        return self._hashed[2]

    def trained(self) -> dict[str, Tensor]:
        """The tensors that calibration trained, by name."""
        adapters = {f"adapters.{name}": value for name, value in self.parts.state_dict().items()}
        return {**self.heads.state_dict(), **adapters}

    def parameters_of(self, modality: str, kinds: Sequence[str]) -> dict[str, nn.Parameter]:
        """The parameters of some of PARTS ("head", "low_rank", "norms", "purifier") of one modality, by name."""
        parameters = {}
        for kind in kinds:
            module = self.heads[modality] if kind == "head" else self.parts[modality].get_submodule(kind)
            parameters.update({f"{kind}.{name}": parameter for name, parameter in module.named_parameters()})
        return parameters

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        """Unit rows: through the modality's purifier, the adapted encoder and its head, where it has them."""
        adapted = self.adapters.get(modality)
        z = adapted.embed(x, space) if adapted else self.backbone.embed(modality, x, space=space)
        return apply_head(self.heads[modality], z) if modality in self.heads else z

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """The frozen text side."""
        return self.backbone.embed_text(texts)

    def to(self, device: Any) -> "Calibrated":
        """This encoder, its backbone included, moved to `device`."""
        if hasattr(self.backbone, "to"):
            self.backbone.to(device)
        for modules in (self.heads, self.networks, self.parts):
            modules.to(device)
        return self

    def rounded(self) -> "Calibrated":
        """This encoder, its trained parameters rounded in place to what float16 can hold, which halves the files it is
        saved to.
        """
        with torch.no_grad():
            for parameter in (*self.heads.parameters(), *self.parts.parameters()):
                parameter.copy_(parameter.half())
        return self

    def trainable(self) -> int:
        """Parameters that calibration trained, over all modalities."""
        return sum(parameter.numel() for parameter in (*self.heads.parameters(), *self.parts.parameters()))

    def save(self, folder: Path | str) -> Path:
        """Writes `calibration.json` (backbone, its weights' hash, recipe, shapes, records, results) and the trained
        tensors: `heads.safetensors`, `adapters.safetensors`, each where there are any; a tensor in float16 where that
        loses nothing (see `rounded`)."""
        folder = Path(folder)
        for name, module in (("heads", self.heads), ("adapters", self.parts)):
            if len(module):
                write_atomically(
                    folder / f"{name}.safetensors",
                    save({key: narrowed(value) for key, value in module.state_dict().items()}),
                )
        about: dict[str, Any] = {
            "format": FORMAT,
            "backbone": self.backbone.name,
            "backbone_weights_sha256": self.backbone.weights_sha256,
            "dim": self.dim,
            "calibration": self.calibration,
            "head": self.kind,
            "modalities": sorted(self.heads),
            "adapters": {modality: asdict(adapter.shape) for modality, adapter in self.adapters.items()},
            "weights_sha256": self.weights_sha256,
            "records": [asdict(record) for record in self.records],
            "results": [asdict(row) for row in self.results],
            "made_by": self.made_by,
        }
        write_atomically(folder / "calibration.json", json.dumps(about, indent=1))
        return folder

    # ------------------------------------------------------------------------------------ what the Hub's mixin asks for

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)
        about = {
            "library": "ironbind",
            "base_model": self.backbone.name,
            "recipe": self.calibration,
            "modalities": self.modalities,
        }
        write_atomically(
            save_directory / "config.json", json.dumps(about, indent=1)
        )  # by which the Hub counts downloads
        write_atomically(save_directory / "README.md", self.card())  # the mixin would leave an old one

    @classmethod
    def _from_pretrained(  # type: ignore[override]
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        encoder: Encoder | None = None,
    ) -> "Calibrated":
        if encoder is None:
            raise InputError(
                f"{model_id}: expected encoder=, the frozen encoder whose parts these are; "
                "`ironbind.from_pretrained` loads it itself"
            )
        if Path(model_id).is_dir():
            return load_calibrated(encoder, model_id)
        from huggingface_hub import snapshot_download

        fetched = snapshot_download(
            model_id, revision=revision, cache_dir=cache_dir, force_download=force_download,
            local_files_only=local_files_only, token=token,
            allow_patterns=["calibration.json", "*.safetensors"],
        )  # fmt: skip
        return load_calibrated(encoder, fetched)

    def generate_model_card(self, *args: Any, **kwargs: Any) -> ModelCard:
        """What survives and what only seems to, compatibility, parts, licence of the backbone, how it was made
        (`calibration/model_card.py`).
        """
        return ModelCard(self.card())

    def card(self, name: str | None = None) -> str:
        """The model card as Markdown; `name`: what to call it (default: backbone and recipe)."""
        return model_card(
            name=name or self.name, backbone=self.backbone.name, sha256=self.backbone.weights_sha256,
            licence=getattr(self.backbone, "licence", ""), calibration=self.calibration, modalities=self.modalities,
            records=self.records, rows=self.results, made_by=self.made_by,
        )  # fmt: skip


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
    """The heads and adapters saved in `folder` on top of `encoder`; adapters of modalities that this encoder was loaded
    without are left out.

    Raises InputError in one line for missing, truncated or foreign files, and for parts that were trained on another
    backbone.
    """
    folder = Path(folder)
    about = _about(folder)
    if about["backbone_weights_sha256"] != encoder.weights_sha256:
        raise InputError(
            f"{folder} was trained on {about['backbone']!r} (weights {about['backbone_weights_sha256'][:12]}), "
            f"not on {encoder.name!r} (weights {encoder.weights_sha256[:12]}); heads and adapters fit only the "
            "backbone they were trained on"
        )
    kind, files = about["head"], {"heads": bool(about["modalities"]), "adapters": bool(about["adapters"])}
    state = {name: _tensors(folder / f"{name}.safetensors") if there else {} for name, there in files.items()}
    paths = ", ".join(str(folder / f"{name}.safetensors") for name, there in files.items() if there)
    heads = nn.ModuleDict({modality: HEADS[kind](encoder.dim) for modality in about["modalities"]})
    adapters = {
        modality: Adapters(encoder, modality, shape, seed=None)
        for modality, shape in about["adapters"].items()
        if modality in encoder.inputs
    }
    parts = nn.ModuleDict({modality: adapter.parts for modality, adapter in adapters.items()})
    left_out = set(about["adapters"]) - set(adapters)
    mine = {key: value for key, value in state["adapters"].items() if key.partition(".")[0] not in left_out}
    try:
        heads.load_state_dict(state["heads"])
        parts.load_state_dict(mine)
    except RuntimeError as error:
        raise InputError(f"{paths} does not fit its calibration.json: {' '.join(str(error).split())}") from None
    everything = {**state["heads"], **{f"adapters.{key}": value for key, value in state["adapters"].items()}}
    if _state_hash(everything, encoder.weights_sha256) != about["weights_sha256"]:
        raise InputError(f"{paths} has been changed since it was written (its hash is not the one in calibration.json)")
    heads.to(device_of(encoder))
    return Calibrated(
        encoder,
        dict(heads.items()),
        about["calibration"],
        kind,
        about["records"],
        adapters,
        about["results"],
        about["made_by"],
    )


def backbone_named(folder: Path | str) -> str:
    """The name of the encoder whose parts are saved in `folder`. Raises InputError as `load_calibrated` does."""
    return str(_about(Path(folder))["backbone"])


def _about(folder: Path) -> dict[str, Any]:
    """What calibration.json says, each value of its own type."""
    path = folder / "calibration.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        wanted = {
            key: about[key]
            for key in (
                "format",
                "backbone",
                "backbone_weights_sha256",
                "calibration",
                "head",
                "modalities",
                "weights_sha256",
            )
        }
        wanted["adapters"] = {modality: AdapterShape(**shape) for modality, shape in about.get("adapters", {}).items()}
        wanted["records"] = [CalibrationRecord(**record) for record in about.get("records", [])]
        wanted["results"] = [Row(**row) for row in about.get("results", [])]
        wanted["made_by"] = str(about.get("made_by", ""))
        for key in ("backbone", "backbone_weights_sha256", "calibration", "weights_sha256"):
            if not isinstance(wanted[key], str):
                raise TypeError(f"{key}: {wanted[key]!r} is no text")
        if not isinstance(wanted["modalities"], list) or not all(isinstance(one, str) for one in wanted["modalities"]):
            raise TypeError(f"modalities: {wanted['modalities']!r} is no list of names")
        if not isinstance(wanted["head"], str | None):
            raise TypeError(f"head: {wanted['head']!r} is no name")
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no calibration.json; expected a folder written by `ironbind calibrate`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        told = placeholder(path) if path.is_file() else ""
        told = f"it is {told}" if told else f"no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"{path} is not a calibration of this version of ironbind ({told})") from None
    if wanted["format"] not in READABLE or (wanted["modalities"] and wanted["head"] not in HEADS):
        have = f"format {wanted['format']!r}, head {wanted['head']!r}"
        raise InputError(
            f"{path} holds {have}; expected format {' or '.join(map(str, READABLE))} and a head out of "
            f"{', '.join(HEADS)}"
        )
    return wanted


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except FileNotFoundError:
        raise InputError(
            f"{path.parent} holds no {path.name}; expected a folder written by `ironbind calibrate`"
        ) from None
    except (SafetensorError, OSError) as error:
        told = placeholder(path) if path.is_file() else ""
        told = f"it is {told}" if told else str(error)
        raise InputError(f"{path} cannot be read ({told}); expected an intact safetensors file") from None
