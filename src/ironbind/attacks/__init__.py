"""ATTACKS: name -> frozen dataclass of knobs. Adding an attack is one file and one line here."""

from ironbind.attacks.apgd import APGD
from ironbind.attacks.pgd import FGSM, PGD
from ironbind.registry import Table

ATTACKS = Table(
    "attack",
    {
        "pgd": "ironbind.attacks.pgd:PGD",
        "apgd": "ironbind.attacks.apgd:APGD",
        "fgsm": "ironbind.attacks.pgd:FGSM",
    },
)

__all__ = ["APGD", "ATTACKS", "FGSM", "PGD"]
