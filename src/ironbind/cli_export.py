"""The command `ironbind export`."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer


class Format(str, Enum):
    """What `ironbind export` can write."""

    official = "official"
    peft = "peft"
    onnx = "onnx"
    torch = "torch"


def export(
    out: Annotated[Path, typer.Option("--out", help="File or folder to write, as the format is.")],
    modality: Annotated[str, typer.Option("--modality", help="Whose tower: one modality, one export.")],
    heads: Annotated[
        str,
        typer.Option("--heads", help="Trained parts: a folder, org/name on the Hub, shipped or shipped-foldable."),
    ] = "shipped-foldable",
    form: Annotated[
        Format,
        typer.Option(
            "--format",
            help="official: what the encoder's own loader reads; peft: an adapter folder; onnx, torch: a graph.",
        ),
    ] = Format.official,
    encoder: Annotated[
        str, typer.Option("--encoder", help="The encoder that the parts were trained on (see `ironbind ls encoders`).")
    ] = "tiny",
    weights: Annotated[str | None, typer.Option("--weights", help="Its official weights file.")] = None,
) -> None:
    """Write a tower with its trained parts folded into ordinary weights, and compare it with the live ones at once."""
    from ironbind.deployment.export_encoder import export_encoder
    from ironbind.runs.encoder_spec import EncoderSpec

    hard = EncoderSpec(encoder, weights, modalities=(modality,), heads=heads).load_heads()
    assert hard is not None
    for line in export_encoder(hard, modality, form.value, out).lines():
        typer.echo(line)
