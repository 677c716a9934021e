"""Class centers out of texts."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.evaluate.inputs.prepared import cache_of
from ironbind.evaluate.tasks.class_centers import distinguishable, usable
from ironbind.numerics.networks import frozen
from ironbind.types import ClassCenters, Encoder, InputError, backbone_of, undefended_of


class _Kept(NamedTuple):
    """Centers, and what the text side made of their first prompt."""

    centers: ClassCenters
    probe: Float[Tensor, "1 d"]


_kept: dict[int, dict[Any, Any]] = {}


def kept_text_centers(encoder: Encoder, classes: Sequence[str], templates: Sequence[str]) -> ClassCenters:
    """`text_centers`, built once for all tasks of a backbone in this process: a calibration, or an audit of what it
    made, asks the same prompts several times. One prompt is embedded again at each call, so that a text side that was
    changed in place is asked anew.
    """
    known: dict[Any, _Kept] = cache_of(_kept, backbone_of(undefended_of(encoder)))  # whose text side both ask
    key = tuple(classes), tuple(templates)
    probe = prompt_means(encoder, classes[:1], templates[:1])
    if key not in known or not _same(known[key].probe, probe):
        known[key] = _Kept(text_centers(encoder, classes, templates), probe)
    return known[key].centers


def _same(probe: Tensor, other: Tensor) -> bool:
    return probe.device == other.device and torch.equal(probe, other)  # an encoder may be moved in place, too


def text_centers(encoder: Encoder, classes: Sequence[str], templates: Sequence[str]) -> ClassCenters:
    """One unit center per class: the mean over its prompts' embeddings, normalised again (CLIP's prompt ensembling,
    Radford et al. 2021). Raises InputError for no class, for a template that is none, for centers that are zero or not
    finite, and where more than half of the classes cannot be told apart.
    """
    z = prompt_means(encoder, classes, templates)
    centers = ClassCenters(z, torch.arange(len(classes), device=z.device), tuple(classes))
    return distinguishable(usable(centers, encoder), encoder)


def prompt_means(encoder: Encoder, classes: Sequence[str], templates: Sequence[str]) -> Float[Tensor, "n d"]:
    """As `text_centers`, of any classes of a data set: one row for each, which may be zero, not finite or another's."""
    if not classes:
        raise InputError("zero-shot classification needs at least one class name, and the data set has none")
    with frozen(encoder):
        z = encoder.embed_text([_prompt(template, name) for name in classes for template in templates]).float()
    return torch.nn.functional.normalize(z.reshape(len(classes), len(templates), -1).mean(dim=1), dim=-1)


def _prompt(template: str, name: str) -> str:
    try:
        prompt = template.format(name)
    except (LookupError, ValueError):
        raise InputError(f"prompt template {template!r} cannot be filled in; expected one {{}} for the class") from None
    if template.format("") == template:
        raise InputError(f"prompt template {template!r} has no place for the class {name!r}; expected one {{}}")
    return prompt


def fingerprint(z: Tensor) -> str:
    """Twelve hex digits that change with any bit of `z`."""
    return hashlib.sha256(z.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:12]
