"""The default attacks of a job."""

from ironbind.attacks import PGD, Square
from ironbind.types import Attack

DEFAULT_ATTACKS: tuple[Attack, ...] = (PGD(steps=20, loss="margin"), PGD(steps=20, loss="ce"))
BLACK_BOX = Square(queries=100)  # a short search: enough for a check, not for a measurement
