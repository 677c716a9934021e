"""Tasks with the prompts that belong to a modality when neither the caller nor the data set brings any."""

from collections.abc import Sequence
from dataclasses import replace
from functools import wraps
from typing import Any

from ironbind.evaluate.tasks import zero_shot as tasks
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.modalities import MODALITIES
from ironbind.runs.centers_by_name import spelled_as
from ironbind.types import ClassCenters, Dataset, Encoder


def templates_for(dataset: Dataset, modality: str) -> tuple[str, ...]:
    """The data set's own prompt templates, else the modality's, else the bare class name."""
    of_modality = MODALITIES[modality].templates if modality in MODALITIES else ()
    return tuple(dataset.templates or of_modality or ("{}",))


@wraps(tasks.zero_shot, assigned=())  # help() shows every option with its type; name and docstring are those below
def zero_shot(
    encoder: Encoder, dataset: Dataset, modality: str | None = None, *, templates: Sequence[str] = (), **options: Any
) -> ZeroShot:
    """The zero-shot classification task of one modality.

    `modality` may be left out when the data set holds just one. `space`: where the attacker perturbs (None: the
    encoder's default for this modality). `templates` turn class names into prompts (default: the data set's own, else
    the modality's). `centers` replace text-built ones: their rows are matched by class name, as a file of centers does.
    `limit`: only the first so many samples. Raises InputError for a modality or space that encoder or data do not have,
    for labels that are not numbers of classes, and for centers that do not fit.
    """
    if isinstance(options.get("centers"), ClassCenters):
        options["centers"] = spelled_as(options["centers"], dataset.classes)
    task = tasks.zero_shot(encoder, dataset, modality, templates=templates, **options)
    return task if templates else replace(task, templates=templates_for(dataset, task.modality))
