"""The export of one modality's tower: folded, written in a format, read back, compared with the live adapters."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

import ironbind
from ironbind.calibration.calibrated import Calibrated
from ironbind.core.results import write_atomically
from ironbind.deployment import FORMATS
from ironbind.deployment.folding import Folded, fold
from ironbind.deployment.verification import FOLDED, Verified, verify
from ironbind.deployment.written_form import WrittenForm
from ironbind.encoders.shared.checkpoint import file_sha256
from ironbind.types import InputError

MADE_BY = "ironbind export"


@dataclass(frozen=True)
class Exported:
    """What was written where, and how it compares. `weights_sha256`: what an audit of it calls its weights. `head`: the
    folder of the head, where the format has no place for one.
    """

    encoder: str
    modality: str
    format: str
    files: tuple[Path, ...]
    verified: Verified
    weights_sha256: str
    record: Path
    head: Path | None
    note: str

    def lines(self) -> list[str]:
        """For the terminal."""
        size = sum(path.stat().st_size for path in self.files if path.is_file())
        told = [
            f"exported the {self.modality} tower of {self.encoder} as {self.format}: {self.files[0]} "
            f"({size / 1e6:.2f} MB)",
            str(self.verified),
        ]
        told += [f"weights_sha256 {self.weights_sha256}"] if self.weights_sha256 else []
        told += [f"head, which the format has no place for: {self.head} (--heads)"] if self.head else []
        return told + ([self.note] if self.note else [])


def export_encoder(hard: Calibrated, modality: str, form: str, out: Path | str) -> Exported:
    """The tower of one modality of a calibrated encoder, with its trained parts, in one of FORMATS.

    "official": a file or folder that the encoder's own loader and its authors' code read. "peft": an adapter folder for
    a `transformers` model. "onnx", "torch": the tower as a graph of any batch size, with preprocess.json. What is
    written is read back and compared with `hard` at once; where it differs by more than rounding it is removed again.
    A record with hashes is written beside it. Raises InputError for parts that the format has no place for, for what is
    not there, for an `out` that holds something else.
    """
    out = Path(out)
    write = FORMATS[form]
    folded = fold(hard, modality)
    record = out / "export.json" if _is_folder(out, form) else out.with_name(f"{out.stem}.json")
    _refuse_foreign(out, record)
    written: WrittenForm = write(folded, out)
    record = out / "export.json" if out.is_dir() else record
    live = hard if written.head else _without_head(hard, modality)
    try:
        verified = verify(live, written.embed, folded.spec, written.spaces, written.allowed)
    except InputError:
        _remove(out, written.files)
        raise
    note = "; ".join(filter(None, [written.note, _of_texts(hard, folded) if form in ("official", "peft") else ""]))
    head = None if written.head else _save_head(hard, modality, written, out)
    about = {
        "made_by": MADE_BY,
        "ironbind": ironbind.__version__,
        "format": form,
        "encoder": hard.backbone.name,
        "modality": modality,
        "sha256": file_sha256(written.files[0]),
        "weights_sha256": written.weights_sha256,
        "backbone_weights_sha256": hard.backbone.weights_sha256,
        "calibration": hard.calibration,
        "calibrated_weights_sha256": hard.weights_sha256,
        "files": {path.name: file_sha256(path) for path in written.files},
        "largest_difference": verified.difference,
        "allowed": verified.allowed,
        "inputs": verified.probes,
        "spaces": list(verified.spaces),
        "note": note,
    }
    write_atomically(record, json.dumps(about, indent=1))
    return Exported(
        hard.backbone.name, modality, form, written.files, verified, written.weights_sha256, record, head, note
    )


@torch.no_grad()
def _of_texts(hard: Calibrated, folded: Folded) -> str:
    """A warning where texts run through layers that were folded into; "" where they do not, or there are none."""
    try:
        before, after = (encoder.embed_text(["one text"]) for encoder in (hard.backbone, folded.encoder))
    except InputError:
        return ""
    difference = float((after - before).abs().max())
    if difference <= FOLDED:
        return ""
    return (
        f"texts run through layers that {folded.modality} shares with them, and embed otherwise in this export (by "
        f"{difference:.1e}); embed texts with the base model, as the live adapters do"
    )


def _is_folder(out: Path, form: str) -> bool:
    return out.is_dir() or (form == "peft") or (form in ("onnx", "torch") and out.suffix not in (".onnx", ".pt2"))


def _refuse_foreign(out: Path, record: Path) -> None:
    """Raises InputError where `out` holds something that no export of ours wrote."""
    there = any(out.iterdir()) if out.is_dir() else out.exists() or record.exists()
    ours = False
    if record.is_file():
        try:
            ours = json.loads(record.read_text(encoding="utf-8")).get("made_by") == MADE_BY
        except (ValueError, AttributeError):
            ours = False
    if there and not ours:
        held = out if out.exists() else record
        raise InputError(f"--out {out}: {held} is there already, and not an earlier export; expected a new name")


def _without_head(hard: Calibrated, modality: str) -> Calibrated:
    adapters = {modality: hard.adapters[modality]} if modality in hard.adapters else {}
    return Calibrated(hard.backbone, {}, hard.calibration, None, adapters=adapters)


def _save_head(hard: Calibrated, modality: str, written: WrittenForm, out: Path) -> Path:
    """The head as trained parts of the exported encoder: what `--heads` and `load_calibrated` take."""
    folder = out.with_name(f"{out.stem}-head")
    head: nn.Module = hard.heads[modality]
    base = _Backbone(hard, written.weights_sha256)
    Calibrated(base, {modality: head}, hard.calibration, hard.kind).save(folder)  # type: ignore[arg-type]
    return folder


class _Backbone:
    """What a head's file says of the encoder that it stands behind: the base encoder, with the exported weights."""

    def __init__(self, hard: Calibrated, weights_sha256: str) -> None:
        self.name, self.dim, self.inputs = hard.backbone.name, hard.dim, hard.inputs
        self.weights_sha256 = weights_sha256


def _remove(out: Path, files: tuple[Path, ...]) -> None:
    for path in files:
        path.unlink(missing_ok=True)
    if out.is_dir() and not any(out.iterdir()):
        shutil.rmtree(out)
