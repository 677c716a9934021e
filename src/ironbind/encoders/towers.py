"""Which encoder sees which modality, and through which tower: said by the code, without loading weights.

An encoder's module says it in TOWER_OF: modality -> tower, or name -> that where one module holds several encoders. An
encoder without one needs no file and is asked itself. `python -m ironbind.encoders.towers` prints the table of
docs/encoders.md.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ironbind.encoders import ENCODERS, load_encoder

COLUMNS = ("image", "video", "audio", "point", "thermal", "event", "depth", "imu", "text")


def towers(name: str) -> dict[str, dict[str, str]]:
    """Row title -> modality -> tower, of one entry of ENCODERS. One row, titled like the encoder, except for "hf": one
    per family of models.
    """
    module = import_module(ENCODERS.where(name).partition(":")[0])
    declared: Mapping[str, Any] | None = getattr(module, "TOWER_OF", None)
    if declared is None:
        return {name: {modality: modality for modality in (*load_encoder(name).inputs, "text")}}
    if name in declared:
        return {name: dict(declared[name])}
    if all(isinstance(tower, str) for tower in declared.values()):
        return {name: dict(declared)}
    return {title: dict(seen) for title, seen in declared.items()}


def table() -> str:
    """The whole of ENCODERS as a Markdown table; a cell names the tower, "-" says not available."""
    rows = {title: seen for name in ENCODERS for title, seen in towers(name).items()}
    lines = [f"| encoder | {' | '.join(COLUMNS)} |", "|---" * (len(COLUMNS) + 1) + "|"]
    lines += [
        f"| {title} | {' | '.join(seen.get(modality, '-') for modality in COLUMNS)} |" for title, seen in rows.items()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
