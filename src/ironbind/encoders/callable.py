"""The name of `encoders/from_callable.py` until version 0.1, which documentation named: imports of it keep working."""

from ironbind.encoders.from_callable import from_callable

__all__ = ["from_callable"]
