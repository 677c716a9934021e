"""Calibrated encoders by name: a folder, a repository of the Hub, or one of those that come with ironbind for its
built-in encoder: "shipped"; "shipped-foldable", whose parts can be folded into ordinary weights, and "shipped-small",
with a small purifier, both of less than one percent of the encoder each.
"""

from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

from ironbind.calibration.calibrated import Calibrated, backbone_named, load_calibrated
from ironbind.encoders import load_encoder
from ironbind.types import Encoder, InputError

SHIPPED = "shipped"
SHIPPED_FOLDABLE = "shipped-foldable"
SHIPPED_SMALL = "shipped-small"
_WEIGHTS = Path(__file__).parents[1] / "encoders" / "tiny" / "weights"
SHIPPED_FOLDERS = {
    SHIPPED: _WEIGHTS / "tiny-hardened",
    SHIPPED_FOLDABLE: _WEIGHTS / "tiny-hardened-foldable",
    SHIPPED_SMALL: _WEIGHTS / "tiny-hardened-small",
}
SHIPPED_FOLDER = SHIPPED_FOLDERS[SHIPPED]
_NAMES = " or ".join(map(repr, SHIPPED_FOLDERS))


def from_pretrained(name: str | Path = SHIPPED, encoder: Encoder | None = None, **options: Any) -> Calibrated:
    """The calibrated encoder saved in a folder, in a repository of the Hub ("org/name"), or shipped with ironbind.

    `encoder`: the frozen encoder whose parts these are; None loads the one that they name, with its built-in weights.
    `options` are those of the Hub's `from_pretrained` (revision, token, cache_dir, local_files_only, force_download).
    Raises InputError for what cannot be had or does not fit.
    """
    where = str(SHIPPED_FOLDERS.get(str(name), name))
    if Path(where).is_dir():
        return load_calibrated(encoder or load_encoder(backbone_named(where)), where)
    if "/" not in where:  # the Hub is not asked for what cannot be there
        raise InputError(f"{where} is no folder; expected a folder, org/name on the Hub, or {_NAMES}")
    try:
        about = hf_hub_download(where, "calibration.json", **options)
        return Calibrated.from_pretrained(
            where, encoder=encoder or load_encoder(backbone_named(Path(about).parent)), **options
        )
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{where} is no folder and cannot be had from the Hub ({reason}); expected a folder, org/name, or {_NAMES}"
        ) from None
