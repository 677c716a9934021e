"""What a layout's loader takes, read from `key=value` as a command line gives it."""

import inspect
from collections.abc import Sequence
from typing import Any

from ironbind.data import DATASETS
from ironbind.types import InputError

ALWAYS = ("path", "modality", "limit", "seed")  # said by other options of the command line


def loader_options(layout: str, given: Sequence[str]) -> dict[str, Any]:
    """What a loader takes, out of `key=value`. Whole numbers are numbers, `a+b` is a list, `key.name=value` fills a
    mapping. Raises InputError.
    """
    takes = [name for name in inspect.signature(DATASETS[layout]).parameters if name not in ALWAYS]
    options: dict[str, Any] = {}
    for option in given:
        key, equals, value = option.partition("=")
        name, _, inside = key.strip().partition(".")
        if not equals or name not in takes:
            raise InputError(
                f"--data-option {option}: the layout {layout!r} takes {', '.join(f'{name}=...' for name in takes)}"
            )
        if inside:
            options.setdefault(name, {})[inside] = _value(value)
        else:
            options[name] = _value(value)
    return options


def _value(text: str) -> Any:
    parts = [part.strip() for part in text.split("+")]
    values = [
        int(part) if part.lstrip("-").isdigit() else {"true": True, "false": False}.get(part.lower(), part)
        for part in parts
    ]
    return values[0] if len(values) == 1 else tuple(values)
