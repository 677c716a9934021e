"""An earlier name of `encoders/from_callable.py` that documentation gave: imports of it keep working."""

from ironbind.encoders.from_callable import from_callable

__all__ = ["from_callable"]
