"""What makes class centers usable: one direction per class, in the order of the data's classes, and no two classes with
the same center.
"""

import operator
import unicodedata
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.core.results import Check
from ironbind.types import ClassCenters, Dataset, Encoder, InputError, Task

UNIT = 1e-4  # float32 rows whose length is nearer to 1 stay as they are, bit for bit
COINCIDE = 1e-4  # centers nearer to each other than this are the same text to the encoder
NAMED = 5  # classes that a line names
BLOCK = 1024  # classes compared at once


def undirected(z: Float[Tensor, "n d"]) -> list[int]:
    """The rows that are zero or not finite: nothing has a cosine with them."""
    lengths = z.norm(dim=1)
    return (~torch.isfinite(lengths) | (lengths == 0)).nonzero().flatten().tolist()


def check_labels(dataset: Dataset) -> None:
    """Raises InputError unless every sample has one label, the number of a class of the data set. Data without classes
    are refused by what needs them.
    """
    samples, classes = len(dataset), len(dataset.classes)
    if len(dataset.labels) != samples:
        raise InputError(
            f"data set {dataset.name!r} has {samples} samples and {len(dataset.labels)} labels; expected one for each"
        )
    for sample, label in zip(dataset.ids, dataset.labels, strict=False) if classes else ():
        try:
            number = operator.index(label)
        except TypeError:
            raise InputError(
                f"data set {dataset.name!r}: sample {sample!r} has the label {label!r}; expected the number of its"
                " class,"
                f" 0 to {classes - 1}"
            ) from None
        if not 0 <= number < classes:
            raise InputError(
                f"data set {dataset.name!r}: sample {sample!r} has the label {number}; expected 0 to {classes - 1}, the"
                f" numbers of its {classes} classes"
            )


def usable(centers: ClassCenters, encoder: Encoder) -> ClassCenters:
    """The same centers with unit rows in float32. Raises InputError for what is no ClassCenters, for another width than
    the encoder's, labels that are not numbers of `names`, names that occur twice, classes without a row, and for rows
    that are zero or not finite.
    """
    if not isinstance(centers, ClassCenters):
        shape = f" of shape {list(centers.shape)}" if isinstance(centers, Tensor) else ""
        raise InputError(
            f"centers: {type(centers).__name__}{shape} does not say whose rows these are; expected ClassCenters(z,"
            " label,"
            " names), label[i] the class of row i"
        )
    z, label, names = torch.as_tensor(centers.z), torch.as_tensor(centers.label), tuple(centers.names)
    if z.ndim != 2 or z.shape[1] != encoder.dim or not (z.is_floating_point() and len(z)):
        raise InputError(
            f"centers have shape {list(z.shape)} in {z.dtype}; expected rows of {encoder.dim} numbers, as encoder"
            f" {encoder.name!r} gives"
        )
    if label.shape != z.shape[:1] or label.is_floating_point():
        raise InputError(
            f"centers have {len(z)} rows and labels of shape {list(label.shape)} in {label.dtype}; expected the number"
            " of a class for each row"
        )
    if int(label.min()) < 0 or int(label.max()) >= len(names):
        raise InputError(
            f"centers have labels from {int(label.min())} to {int(label.max())}; expected 0 to {len(names) - 1}, the"
            f" numbers of their {len(names)} names"
        )
    if len(set(names)) < len(names):
        twice = next(name for number, name in enumerate(names) if name in names[:number])
        raise InputError(f"centers name the class {twice!r} twice; expected {len(names)} different names")
    empty = sorted(set(range(len(names))) - set(label.tolist()))
    if empty:
        raise InputError(
            f"centers have no row for {_classes([names[number] for number in empty])}; expected one at least"
        )
    bad = undirected(z.float())
    if bad:
        classes = list(dict.fromkeys(names[int(label[row])] for row in bad))
        raise InputError(
            f"encoder {encoder.name!r}: the centers of {_classes(classes)} are zero or not finite; expected a"
            " direction for each class"
        )
    if z.dtype != torch.float32 or bool(((z.norm(dim=1) - 1).abs() > UNIT).any()):
        z = torch.nn.functional.normalize(z.float(), dim=-1)
    return ClassCenters(z, label.long(), names)


def reordered(centers: ClassCenters, dataset: Dataset) -> ClassCenters:
    """The rows of the data set's classes, in its order; the centers themselves where they are those. Raises InputError
    for a class that has none.
    """
    if tuple(centers.names) == tuple(dataset.classes):
        return centers
    number_of = {name: number for number, name in enumerate(centers.names)}
    absent = [name for name in dataset.classes if name not in number_of]
    if absent:
        raise InputError(
            f"centers of {len(centers)} classes ({_named(centers.names)}) have no row for {_classes(absent)} of data"
            " set"
            f" {dataset.name!r}; expected all of its {len(dataset.classes)} classes by name"
        )
    rows = [(centers.label == number_of[name]).nonzero().squeeze(1) for name in dataset.classes]
    label = torch.repeat_interleave(
        torch.arange(len(rows), device=centers.z.device),
        torch.tensor([len(numbers) for numbers in rows], device=centers.z.device),
    )
    return ClassCenters(centers.z[torch.cat(rows)], label, tuple(dataset.classes))


def coinciding(centers: ClassCenters) -> list[tuple[str, ...]]:
    """Groups of classes whose centers coincide, each in the order of the classes; [] where all differ. Classes of
    several rows are compared by the mean of their rows.
    """
    label, z = centers.label.cpu(), centers.z.detach().cpu().double()
    count = torch.bincount(label, minlength=len(centers))[:, None]
    means = torch.zeros(len(centers), z.shape[1], dtype=z.dtype).index_add_(0, label, z) / count
    squares = means.square().sum(dim=1)
    groups: dict[int, list[str]] = {}
    for start in range(0, len(means), BLOCK):
        rows = slice(start, start + BLOCK)
        distance = squares[rows, None] + squares - 2 * means[rows] @ means.T
        first = (distance < COINCIDE**2).int().argmax(dim=1)  # a class coincides with itself
        for name, number in zip(centers.names[rows], first.tolist(), strict=True):
            groups.setdefault(number, []).append(name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def distinguishable(centers: ClassCenters, encoder: Encoder) -> ClassCenters:
    """The same centers. Raises InputError where more than half of the classes share their center with another one: the
    task would be another one.
    """
    groups = coinciding(centers)
    if 2 * sum(map(len, groups)) > len(centers):
        raise InputError(
            f"{coincidence(groups, centers, encoder)}; expected class names, prompts or centers that differ"
        )
    return centers


def center_checks(task: Task) -> list[Check]:
    """A warning that names the classes of a task whose centers coincide, or its only class; [] where all differ, and
    for a retrieval gallery.
    """
    if tuple(task.centers.names) != tuple(task.dataset.classes):
        return []
    if len(task.centers) == 1:
        detail = f"every answer is {task.centers.names[0]!r} and right: neither accuracy nor robustness says anything"
        return [Check("data", "one class only", "warn", detail, task.modality)]
    groups = coinciding(task.centers)
    if not groups:
        return []
    detail = coincidence(groups, task.centers, task.encoder)
    return [Check("data", "classes that cannot be told apart", "warn", detail, task.modality)]


def coincidence(groups: Sequence[Sequence[str]], centers: ClassCenters, encoder: Encoder) -> str:
    """How many classes coincide, which, and why that may be."""
    shown = "; ".join(_named(group) for group in groups[:NAMED]) + ("; ..." if len(groups) > NAMED else "")
    alike = all(len({_plain(name) for name in group}) == 1 for group in groups)
    reason = (
        "their names differ only in case or Unicode form"
        if alike
        else "words that it does not know, a tokenizer that is missing, or prompts cut before the class name"
    )
    return (
        f"encoder {encoder.name!r} has the same center for {sum(map(len, groups))} of {len(centers)} classes: {shown}"
        f" ({reason})"
    )


def _plain(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()


def _named(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:NAMED])) + (", ..." if len(names) > NAMED else "")


def _classes(names: Sequence[str]) -> str:
    return f"the class {names[0]!r}" if len(names) == 1 else f"{len(names)} classes ({_named(names)})"
