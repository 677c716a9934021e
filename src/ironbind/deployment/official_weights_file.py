"""The official form of a family: what its authors' code and our loader read, with the trained parts in its weights."""

from pathlib import Path

from torch import nn

from ironbind.calibration.heads import IdentityLinear
from ironbind.deployment.folding import Folded
from ironbind.deployment.verification import FOLDED
from ironbind.deployment.written_form import WrittenForm
from ironbind.encoders.shared.official_form import NO_HEAD, OfficialForm
from ironbind.types import InputError


def write(folded: Folded, out: Path) -> WrittenForm:
    """Written, and loaded strictly by the encoder's own loader. A head goes in where the form has a place for it.

    Raises InputError for a purifier and for an encoder without an official form.
    """
    folded.refuse_purifier("official")
    form: OfficialForm | None = getattr(folded.encoder, "official", None)
    if form is None:
        raise InputError(
            f"--format official: encoder {folded.encoder.name!r} has no file format of its own that ironbind writes; "
            "expected --format torch or onnx"
        )
    refuse_other_kind(out, form.folder, form.name)
    head = form.head_entries(folded.modality, folded.head.linear) if _fits(form, folded.head) else NO_HEAD  # type: ignore[misc, union-attr, arg-type]
    form.write(folded.encoder.model, folded.modality, out, head)  # type: ignore[attr-defined]
    encoder = form.load(out, folded.modality)
    files = sorted(out.iterdir(), key=lambda path: (path.suffix != ".safetensors", path.name)) if form.folder else [out]
    return WrittenForm(
        tuple(files),
        lambda x, space: encoder.embed(folded.modality, x, space=space),
        tuple(folded.spec.spaces),
        FOLDED,
        encoder.weights_sha256,
        head=folded.head is None or bool(head),
    )


def _fits(form: OfficialForm, head: nn.Module | None) -> bool:
    return form.head_entries is not None and isinstance(head, IdentityLinear)


def refuse_other_kind(out: Path, folder: bool, name: str) -> None:
    """Raises InputError for a folder where a file is to be written, and the other way round."""
    if folder and out.is_file():
        raise InputError(f"--out {out} is a file; this format writes a folder, expected the name of one")
    if not folder and out.is_dir():
        raise InputError(f"--out {out} is a folder; this format writes a file, expected its name, e.g. {out / name}")
