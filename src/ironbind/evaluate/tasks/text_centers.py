"""Class centers out of texts, and the rows of those classes that a data set has."""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from ironbind.types import ClassCenters, Dataset, Encoder, InputError


def reordered(centers: ClassCenters, dataset: Dataset) -> ClassCenters:
    """The rows of the data set's classes, in its order. Raises InputError for a class that has none."""
    there = {name: number for number, name in enumerate(centers.names)}
    absent = next((name for name in dataset.classes if name not in there), None)
    if absent is not None:
        raise InputError(
            f"the centers given have no row for the class {absent!r} of data set {dataset.name!r}; expected all of its classes"
        )
    rows = [(centers.label == there[name]).nonzero().squeeze(1) for name in dataset.classes]
    label = torch.repeat_interleave(
        torch.arange(len(rows), device=centers.z.device),
        torch.tensor([len(one) for one in rows], device=centers.z.device),
    )
    return ClassCenters(centers.z[torch.cat(rows)], label, tuple(dataset.classes))


def text_centers(encoder: Encoder, classes: Sequence[str], templates: Sequence[str]) -> ClassCenters:
    """One unit center per class: the mean over its prompts' embeddings, normalised again (CLIP's prompt ensembling,
    Radford et al. 2021).
    """
    if not classes:
        raise InputError("zero-shot classification needs at least one class name, and the data set has none")
    z = encoder.embed_text([template.format(name) for name in classes for template in templates])
    z = torch.nn.functional.normalize(z.reshape(len(classes), len(templates), -1).mean(dim=1), dim=-1)
    return ClassCenters(z, torch.arange(len(classes), device=z.device), tuple(classes))


def fingerprint(z: Tensor) -> str:
    """Twelve hex digits that change with any bit of `z`."""
    return hashlib.sha256(z.detach().cpu().contiguous().numpy().tobytes()).hexdigest()[:12]
