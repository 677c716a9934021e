"""Tasks with the prompts that belong to a modality when neither the caller nor the data set brings any."""

from collections.abc import Sequence

from ironbind.evaluate import tasks
from ironbind.evaluate.tasks import ZeroShot
from ironbind.modalities import MODALITIES
from ironbind.types import ClassCenters, Dataset, Encoder


def zero_shot(
    encoder: Encoder,
    dataset: Dataset,
    modality: str | None = None,
    *,
    space: str | None = None,
    templates: Sequence[str] = (),
    centers: ClassCenters | None = None,
    limit: int | None = None,
) -> ZeroShot:
    """The zero-shot classification task of one modality.

    `modality` may be left out when the data set holds just one. `space`: where the attacker perturbs (None: the encoder's default for this
    modality). `templates` turn class names into prompts (default: the data set's own, else the modality's). `centers` replace text-built
    ones. `limit`: only the first so many samples. Raises InputError for a modality or space that encoder or data do not have.
    """
    if modality is None and len(dataset.modalities) == 1:
        modality = dataset.modalities[0]
    if not templates and not dataset.templates and modality is not None and modality in MODALITIES:
        templates = MODALITIES[modality].templates
    return tasks.zero_shot(encoder, dataset, modality, space=space, templates=templates, centers=centers, limit=limit)
