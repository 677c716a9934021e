"""The templates of the pages, and what they may call."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape


@cache
def environment(**functions: Any) -> Environment:
    """Templates that escape what they are given and refuse names that they do not know; `functions` can be called in
    them. One environment for the same functions: templates are compiled once in a process.
    """
    templates = Environment(
        loader=PackageLoader("ironbind.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    templates.globals |= functions
    templates.filters["breakable"] = breakable
    return templates


def breakable(name: str) -> Markup:
    """A name that may be broken behind its underscores and pluses, rather than anywhere in a word."""
    return Markup("").join(Markup("{}<wbr>").format(sign) if sign in ("_", "+") else escape(sign) for sign in name)
