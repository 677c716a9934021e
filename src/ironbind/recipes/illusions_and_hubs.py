"""The recipes of targeted attacks on an index: illusions and hubs."""

from ironbind.recipes.any_layout import classified
from ironbind.recipes.request import SIX, AuditRequest
from ironbind.runs.extra_tasks import FEWEST_ROWS, ExtraTask, HubSpec
from ironbind.runs.job import Job
from ironbind.types import InputError


def illusion(request: AuditRequest) -> list[Job]:
    """Targeted illusions on the built-in world, or on any data with classes (`--data`): inputs of each modality driven
    towards a chosen text and towards a chosen instance of every other modality that the data pairs them with; at all
    radii, for every calibration.
    """
    task = ExtraTask("illusion", ("text", *SIX), everywhere=True)
    return [job.asking(task) for job in classified(request, "illusion")]


def hub(request: AuditRequest) -> list[Job]:
    """Hubness on the built-in world, or on any data with classes (`--data`): one perturbed item that is to answer
    queries of every other modality.
    """
    return hub_attack(request, HubSpec())


def undetected_hub(request: AuditRequest) -> list[Job]:
    """The same with items that the guard of the index neither flags nor lists for review (`ironbind index scan`): what
    is left of hubness where somebody looks.
    """
    return hub_attack(request, HubSpec(undetected=True))


def hub_attack(request: AuditRequest, spec: HubSpec) -> list[Job]:
    """Hubness as `spec` says: so many known queries, those of one concept, a gallery that lies in an index. Raises
    InputError for a limit that leaves too few items to tell what is usual in their gallery.
    """
    if spec.undetected and spec.gallery is None and request.limit is not None and request.limit < FEWEST_ROWS:
        raise InputError(
            f"--limit {request.limit}: the items are the gallery that is scanned, and what is usual there can be told "
            f"from {FEWEST_ROWS} on; expected as many"
        )
    task = ExtraTask("hub", ("text", *SIX), everywhere=True, hub=spec)
    return [job.asking(task) for job in classified(request, "hub")]
