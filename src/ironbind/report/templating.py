"""The templates of the pages, and what they may call."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def environment(**functions: Any) -> Environment:
    """Templates that escape what they are given and refuse names that they do not know; `functions` can be called in them."""
    made = Environment(loader=PackageLoader("ironbind.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    made.globals |= functions
    return made
