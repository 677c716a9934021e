"""The options of layouts by their type: whether a value fits, how one is read from text, what is expected in words."""

import types
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from ironbind.data.layout import Layout
from ironbind.types import InputError

TRUTH = {"true": True, "yes": True, "false": False, "no": False}
CALLED = {bool: "true or false", int: "a whole number", float: "a number", str: "text", Path: "a path"}


def check_options(name: str, layout: Layout, options: Mapping[str, Any]) -> None:
    """Raises InputError for an option that the layout called `name` does not have, and for a value of another type."""
    for option, value in options.items():
        if option not in layout.options:
            known = ", ".join(layout.options)
            raise InputError(f"option {option!r} does not exist in the layout {name!r}; expected some of {known}")
        hint = layout.options[option]
        if not _fits(value, hint):
            shown = f"{value!r:.60}"
            raise InputError(f"option {option}={shown} of the layout {name!r} does not fit; expected {expected(hint)}")
        if option.endswith("seed") and value < 0:
            raise InputError(f"option {option}={value} of the layout {name!r} is too small; expected at least 0")


def expected(hint: Any) -> str:
    """What an option of this type takes, in words: "a whole number, or several"."""
    words = []
    for alternative in alternatives(hint):
        if get_origin(alternative) is Sequence:
            (member,) = get_args(alternative)
            words.append("several" if member in alternatives(hint) else f"several of {CALLED[member]}")
        elif get_origin(alternative) is Mapping:
            words.append("a mapping of names")
        else:
            words.append(CALLED[alternative])
    return ", or ".join(words)


def alternatives(hint: Any) -> list[Any]:
    """The types of a union, None left out."""
    members = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [member for member in members if member is not type(None)]


def parsed(text: str, hint: Any) -> Any:
    """`text` as the first of the hint's types that it can be read as. Raises ValueError."""
    kinds = alternatives(hint)
    several = next((kind for kind in kinds if get_origin(kind) is Sequence), None)
    single = [kind for kind in kinds if get_origin(kind) is None]
    if several is not None and ("+" in text or not single):
        return tuple(parsed(part.strip(), get_args(several)[0]) for part in text.split("+"))
    kind = single[0]
    if kind is bool:
        if text.strip().lower() not in TRUTH:
            raise ValueError(text)
        return TRUTH[text.strip().lower()]
    return text if kind in (str, Path) else kind(text.strip())


def _fits(value: Any, hint: Any) -> bool:
    if value is None:
        return type(None) in get_args(hint)
    return any(_is(value, alternative) for alternative in alternatives(hint))


def _is(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Sequence:
        members = get_args(kind)[0]
        listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        return listed and all(_fits(member, members) for member in value)
    if get_origin(kind) is Mapping:
        key, member = get_args(kind)
        return isinstance(value, Mapping) and all(_is(k, key) and _fits(v, member) for k, v in value.items())
    if kind in (int, float):
        return isinstance(value, Integral if kind is int else Real) and not isinstance(value, bool)
    return isinstance(value, kind)
