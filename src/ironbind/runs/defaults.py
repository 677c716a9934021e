"""What a job attacks with when nobody says."""

from ironbind.attacks import PGD, Square
from ironbind.types import Attack

DEFAULT_ATTACKS: tuple[Attack, ...] = (PGD(steps=20, loss="margin"), PGD(steps=20, loss="ce"))
BLACK_BOX = Square(queries=100)  # a short search: it sounds an alarm, it does not measure
