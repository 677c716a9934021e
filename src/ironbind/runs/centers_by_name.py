"""Class centers matched with the classes of a data set by name."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from ironbind.data.names.class_names import TEXTS, plain
from ironbind.types import ClassCenters, InputError


def aligned(centers: ClassCenters, classes: Sequence[str], where: str) -> ClassCenters:
    """The rows of these classes, numbered in this order. Names are compared without case, blanks and punctuation, and
    LanguageBind's and CLIP's words for a class count as its name. Raises InputError for a class without rows."""
    number_of = _numbers(centers, where)
    rows, label = [], []
    for number, name in enumerate(classes):
        match = next((number_of[key] for key in _keys(name) if key in number_of), None)
        if match is None:
            shown = ", ".join(centers.names[:5]) + (", ..." if len(centers) > 5 else "")
            raise InputError(
                f"centers {where!r} have no row for the class {name!r}; expected all {len(classes)} classes of the data"
                f" (it has {shown})"
            )
        own = (centers.label == match).nonzero().squeeze(1)
        rows.append(own)
        label += [number] * len(own)
    return ClassCenters(centers.z[torch.cat(rows)], torch.tensor(label, device=centers.z.device), tuple(classes))


def spelled_as(centers: ClassCenters, classes: Sequence[str]) -> ClassCenters:
    """The same rows, their classes called as in `classes` where `aligned` takes the one for the other."""
    if set(classes) <= set(centers.names) or len(set(map(plain, centers.names))) < len(centers):
        return centers
    number_of, names = _numbers(centers, "given"), list(centers.names)
    for name in classes:
        match = next((number_of[key] for key in _keys(name) if key in number_of), None)
        if match is not None and name not in names:
            names[match] = name
    return replace(centers, names=tuple(names))


def _numbers(centers: ClassCenters, where: str) -> dict[str, int]:
    numbers = {plain(name): number for number, name in enumerate(centers.names)}
    if len(numbers) < len(centers):
        raise InputError(f"centers {where!r} have two classes of one name; expected {len(centers)} different ones")
    return numbers


def _keys(name: str) -> list[str]:
    """What a class may be called, as names are compared: its own name first."""
    own = plain(name)
    called = [names for sets in TEXTS.values() for names in sets.values()]
    return [own, *(plain(text) for names in called for known, text in names.items() if plain(known) == own)]
