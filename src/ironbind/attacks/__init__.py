"""ATTACKS: name -> attack with its default knobs. Adding an attack is one file and one line here."""

from ironbind.attacks.apgd import APGD
from ironbind.attacks.bpda import behind, straight_through
from ironbind.attacks.crossmaxim import CrossMaxim
from ironbind.attacks.ensemble import Ensemble, bindattack
from ironbind.attacks.eot import EOT
from ironbind.attacks.mixed_precision import MixedPrecision
from ironbind.attacks.nearest.carlini_wagner import CarliniWagner
from ironbind.attacks.nearest.fmn import FMN
from ironbind.attacks.nearest.near_miss import NearMiss
from ironbind.attacks.noise import Noise
from ironbind.attacks.pgd import FGSM, PGD
from ironbind.attacks.square import Square
from ironbind.attacks.targeted import TargetedAPGD, TargetRace
from ironbind.attacks.transfer import Transfer
from ironbind.attacks.universal import PerBudget, Universal, fit_universal
from ironbind.core.registry import Table

ATTACKS = Table(
    "attack",
    {
        "pgd": "ironbind.attacks.pgd:PGD",
        "apgd": "ironbind.attacks.apgd:APGD",
        "apgd_t": "ironbind.attacks.targeted:TargetedAPGD",
        "race": "ironbind.attacks.targeted:TargetRace",
        "crossmaxim": "ironbind.attacks.crossmaxim:CrossMaxim",
        "square": "ironbind.attacks.square:Square",
        "fgsm": "ironbind.attacks.pgd:FGSM",
        "fmn": "ironbind.attacks.nearest.fmn:FMN",
        "near_miss": "ironbind.attacks.nearest.near_miss:NearMiss",
        "carlini_wagner": "ironbind.attacks.nearest.carlini_wagner:CarliniWagner",
        "noise": "ironbind.attacks.noise:Noise",
        "bindattack": "ironbind.attacks.ensemble:bindattack",
    },
)

BASELINES = frozenset({"noise"})
"""Names in ATTACKS that learn nothing from the encoder: what an attack has to beat. They are not expected to succeed.
"""

__all__ = [
    "APGD", "ATTACKS", "BASELINES", "EOT", "FGSM", "FMN", "PGD", "CarliniWagner", "CrossMaxim", "MixedPrecision",
    "NearMiss", "Noise", "PerBudget", "Ensemble", "Square", "TargetRace", "TargetedAPGD", "Transfer", "Universal",
    "behind", "bindattack", "fit_universal", "straight_through",
]  # fmt: skip
