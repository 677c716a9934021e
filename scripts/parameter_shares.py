"""How few parameters adapters train, on the official towers' shapes: `python scripts/parameter_shares.py` prints the
table of docs/hardening.md.

Only shapes are built (torch's meta device), no weights are needed and no memory is taken.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ironbind.calibration.adapters import share
from ironbind.encoders import load_encoder
from ironbind.encoders.from_callable import CallableEncoder
from ironbind.encoders.imagebind.encoder import BindEncoder
from ironbind.encoders.imagebind.inputs import ImageBindInputs
from ironbind.encoders.imagebind.model import ImageBindModel
from ironbind.encoders.languagebind.encoder import VARIANTS
from ironbind.encoders.languagebind.inputs import LanguageBindInputs
from ironbind.encoders.languagebind.model import LanguageBind, VisionTower
from ironbind.encoders.unibind.inputs import UniBindInputs
from ironbind.encoders.unibind.model import UniBindModel
from ironbind.recipes.calibrations import FOLDABLE, SHAPE
from ironbind.types import AdapterShape, Encoder

RANKS = (4, 8, 16)
OWN = RANKS.index(SHAPE.rank)  # of the recipes
PURIFIER = 16


class Row(NamedTuple):
    """One tower: what it is called in the table, an encoder of its shape, and the modality that goes through it."""

    title: str
    make: Callable[[], Encoder]
    modality: str


def imagebind() -> Encoder:
    """ImageBind's six towers without weights."""
    with torch.device("meta"):
        model = ImageBindModel()
    inputs = ImageBindInputs()
    return BindEncoder("imagebind-huge", model, inputs.specs(), inputs.converters(), "", None)


def unibind() -> Encoder:
    """UniBind's towers without weights, ImageBind's unused ones too."""
    with torch.device("meta"):
        model = UniBindModel(all_towers=True)
    inputs = UniBindInputs()
    return BindEncoder("unibind", model, inputs.specs(), inputs.converters(), "", None)


def languagebind(variant: str) -> Encoder:
    """One of LanguageBind's vision towers without weights; the text tower is not counted."""
    of = VARIANTS[variant]
    with torch.device("meta"):
        model = LanguageBind({of.modality: VisionTower(of.arch)})
    inputs = LanguageBindInputs()

    def function(convert: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        return lambda x: model(of.modality, convert(x))

    functions = {key: function(convert) for key, convert in inputs.converters().items() if key[0] == of.modality}
    return CallableEncoder(variant, of.arch.dim, {of.modality: inputs.specs()[of.modality]}, "", functions, None, model)


ROWS = (
    *(Row(f"ImageBind {one}", imagebind, one) for one in ("image", "audio", "thermal", "depth")),
    Row("UniBind point", unibind, "point"),
    Row("UniBind event", unibind, "event"),
    *(
        Row(f"LanguageBind {one}", partial(languagebind, f"languagebind-{name}"), one)
        for one, name in (("image", "image"), ("video", "video-ft"))
    ),
    Row("LanguageBind audio", partial(languagebind, "languagebind-audio-ft"), "audio"),
    *(
        Row(f"tiny {one}", partial(load_encoder, "tiny"), one)
        for one in ("image", "video", "audio", "point", "thermal", "event")
    ),
)


def table() -> str:
    """The Markdown table: per tower and rank the parameters that train and their share of the tower, norms and purifier
    included; before them what `hardened_foldable` trains, cores and norms.
    """
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    ranks = " | ".join(f"rank {rank}" for rank in RANKS)
    yield f"| tower | parameters | cores | {ranks} | of the whole encoder, rank {RANKS[OWN]} |"
    yield "|---|" + "---:|" * (len(RANKS) + 3)
    for row in ROWS:
        encoder = row.make()
        cores = share(encoder, row.modality, FOLDABLE)
        found = [share(encoder, row.modality, AdapterShape(rank, True, PURIFIER)) for rank in RANKS]
        cells = [f"{one.trained:,} ({100 * one.trained / one.tower:.2f} %)" for one in (cores, *found)]
        whole = (
            f"{100 * found[OWN].trained / found[OWN].encoder:.2f} %" if found[OWN].encoder > found[OWN].tower else "-"
        )
        yield f"| {row.title} | {found[0].tower:,} | {' | '.join(cells)} | {whole} |"


if __name__ == "__main__":
    print(table(), end="")
