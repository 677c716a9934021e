"""What a layout takes, read from `key=value` as a command line gives it."""

from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from ironbind.data import DATASETS
from ironbind.data.option_types import alternatives, expected, parsed
from ironbind.types import InputError

ALWAYS = ("modality", "limit", "seed")  # said by other options of the command line


def loader_options(layout: str, given: Sequence[str]) -> dict[str, Any]:
    """What a layout takes, out of `key=value`, each value read as the option's type says: `a+b` is several values,
    `key.name=value` fills a mapping. Raises InputError for an option that does not exist and a value of another type.
    """
    takes = {name: hint for name, hint in DATASETS[layout].options.items() if name not in ALWAYS}
    options: dict[str, Any] = {}
    for option in given:
        key, equals, value = option.partition("=")
        name, _, inside = key.strip().partition(".")
        if not equals or name not in takes:
            known = ", ".join(f"{name}=..." for name in takes)
            raise InputError(f"--data-option {option}: the layout {layout!r} takes {known}")
        mapping = next((hint for hint in alternatives(takes[name]) if get_origin(hint) is Mapping), None)
        if bool(inside) != (mapping is not None):
            form = f"{name}.NAME=VALUE" if mapping is not None else f"{name}=VALUE"
            raise InputError(f"--data-option {option}: {name!r} takes {form}")
        hint = get_args(mapping)[1] if mapping is not None else takes[name]
        try:
            fitting = parsed(value, hint)
        except ValueError:
            raise InputError(f"--data-option {option}: {value!r} does not fit; expected {expected(hint)}") from None
        if inside:
            options.setdefault(name, {})[inside] = fitting
        else:
            options[name] = fitting
    return options
