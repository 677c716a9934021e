"""The default attacks of a job."""

from ironbind.attacks import APGD, EOT, PGD, Square, bindattack
from ironbind.evaluate.attack_variants import AnyAttack
from ironbind.types import Attack

DEFAULT_ATTACKS: tuple[AnyAttack, ...] = (bindattack("standard"),)
"""What an audit attacks with unless it is told otherwise: the ensemble, whose numbers may be reported."""
QUICK_LOOK: tuple[Attack, ...] = (PGD(steps=20, loss="margin"), PGD(steps=20, loss="ce"))
"""A quick look: it overstates what an encoder withstands by several points, and tables say so."""
STRONGEST: tuple[AnyAttack, ...] = (*DEFAULT_ATTACKS, APGD(100, restarts=2), APGD(100, restarts=2, loss="ce"))
"""The ensemble, then as much again: what the numbers of the adapters that ship were measured with."""
BLACK_BOX = Square(queries=100)  # a short search: enough for a check, not for a measurement
CERTIFICATE_ATTACK = EOT(PGD(steps=10, stop_when_reached=False), draws=8)
"""Of check C19: on a few certified samples, within their own radius."""
