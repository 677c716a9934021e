"""Class centers out of texts."""

import hashlib
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.evaluate.tasks.class_centers import distinguishable, usable
from ironbind.numerics.networks import frozen
from ironbind.types import ClassCenters, Encoder, InputError


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
