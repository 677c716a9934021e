"""Every table of ironbind by its plural name, for listings and for the conformance tests that loop over them."""

from collections.abc import Mapping
from typing import Any

from ironbind.attacks import ATTACKS
from ironbind.calibration import HEADS, OBJECTIVES
from ironbind.data import DATASETS
from ironbind.defences import DEFENCES
from ironbind.encoders import ENCODERS
from ironbind.modalities import MODALITIES
from ironbind.modalities.corruptions import CORRUPTIONS
from ironbind.recipes import AUDITS, CALIBRATIONS

TABLES: dict[str, Mapping[str, Any]] = {
    "encoders": ENCODERS,
    "datasets": DATASETS,
    "modalities": MODALITIES,
    "attacks": ATTACKS,
    "corruptions": CORRUPTIONS,
    "objectives": OBJECTIVES,
    "defences": DEFENCES,
    "heads": HEADS,
    "calibrations": CALIBRATIONS,
    "recipes": AUDITS,
}
