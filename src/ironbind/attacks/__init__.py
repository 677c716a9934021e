"""ATTACKS: name -> attack with its default knobs. Adding an attack is one file and one line here."""

from ironbind.attacks.apgd import APGD
from ironbind.attacks.crossmaxim import CrossMaxim
from ironbind.attacks.pgd import FGSM, PGD
from ironbind.attacks.schedule import Schedule, bindattack
from ironbind.attacks.square import Square
from ironbind.attacks.targeted import TargetedAPGD, TargetRace
from ironbind.registry import Table

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
        "bindattack": "ironbind.attacks.schedule:bindattack",
    },
)

__all__ = ["APGD", "ATTACKS", "FGSM", "PGD", "CrossMaxim", "Schedule", "Square", "TargetRace", "TargetedAPGD", "bindattack"]
