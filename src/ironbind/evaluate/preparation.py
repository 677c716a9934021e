"""How samples become embeddings, as far as it can be observed: decides whether stored verdicts may be reused.

Weights have a hash; the code between a file and an embedding (a reader, `InputSpec.prepare`, a front end, a user's own
function) has none that can be trusted. So it is probed: the prepared inputs and clean embeddings of a few samples are
kept with the verdicts. A later run whose probe differs, because a preprocessing fault was fixed for instance, starts
anew under another key. Processors differ in the last bits, which TOLERANCE leaves room for.
"""

import hashlib

import numpy as np
import torch
from torch import Tensor

from ironbind.core.results import Check
from ironbind.evaluate.run_context import RunContext
from ironbind.numerics.networks import frozen
from ironbind.types import Task

PROBED = 8  # samples, evenly spaced over the data
POSITIONS = 64  # of a prepared sample, evenly spaced
TOLERANCE = 2e-3  # largest difference between processors, in units of the space and of a unit embedding


def preparation_of(task: Task, context: RunContext) -> str:
    """Identifies how the samples of a task are prepared and embedded: the id of the stored probe that this one equals,
    of a new one where there is none.
    """
    place, known = _place(task), context.store.known_preparations
    if place not in known:
        known[place] = _preparation_id(task, context, place)
    return known[place]


def changed_preparation(task: Task, context: RunContext) -> list[Check]:
    """A warning where the run folder holds verdicts of another preparation of the same samples, else []."""
    count = len(context.store.preparations(_place(task)))
    if count < 2:
        return []
    detail = (
        f"the run folder also holds verdicts of {count - 1} other way(s) to prepare or embed these samples, "
        "with the same "
        "weights: they were not reused"
    )
    return [
        Check("data", "stored verdicts of another preparation", "warn", detail, f"{task.modality} {task.space.name}")
    ]


def _place(task: Task) -> str:
    """What a probe belongs to."""
    data = f"{task.dataset.name} {task.dataset.fingerprint} {len(task)}"
    return f"{task.encoder.name} {task.encoder.weights_sha256} {data} {task.modality} {task.space.name}"


def _preparation_id(task: Task, context: RunContext, place: str) -> str:
    count = min(PROBED, len(task))
    indices = [number * (len(task) - 1) // max(1, count - 1) for number in range(count)]
    # an encoder that draws from torch's own generator draws for its verdicts what it would draw without a probe
    with torch.random.fork_rng(devices=[]), frozen(task.encoder), torch.no_grad():
        x = task.load(indices)
        prepared, embedded = _positions(x), _flat(task.embed(x))
        probe = np.concatenate([prepared, embedded])
        for name, stored in context.store.preparations(place).items():
            if _close(probe, stored):
                return name
            # an encoder that answers every pass differently says nothing by its embeddings
            if _close(prepared, stored[: len(prepared)]) and not _close(embedded, _flat(task.embed(x))):
                return name
    name = hashlib.sha256(probe.tobytes()).hexdigest()[:12]
    context.store.add_preparation(place, name, probe)
    return name


def _positions(x: Tensor) -> np.ndarray:
    """Some numbers of every sample, then its mean."""
    flat = x.flatten(1)
    chosen = torch.linspace(0, flat.shape[1] - 1, min(POSITIONS, flat.shape[1])).long().to(flat.device)
    return np.concatenate([_flat(flat[:, chosen]), _flat(flat.mean(dim=1))])


def _flat(x: Tensor) -> np.ndarray:
    return x.detach().float().cpu().numpy().reshape(-1)


def _close(probe: np.ndarray, stored: np.ndarray) -> bool:
    return probe.shape == stored.shape and bool(np.allclose(probe, stored, rtol=TOLERANCE, atol=TOLERANCE))
