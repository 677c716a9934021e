"""Recipe of certified accuracy, beside the empirical one of the encoder without smoothing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ironbind.attacks import FMN
from ironbind.certification.smoothing import Smoothing
from ironbind.core.default_budgets import certified_radii, comparable_sigma
from ironbind.recipes.any_layout import data
from ironbind.recipes.request import AuditRequest
from ironbind.recipes.world_and_folder import folder, world
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.job import CertificateSpec, Job
from ironbind.types import Budget, InputError, Space, budget_of

ATTACK_STEPS = 50  # on each of two losses, as in the recipe "curve"

RECIPES: Mapping[str, Callable[[AuditRequest], list[Job]]] = {"world": world, "folder": folder, "data": data}
"""Whose data can be certified."""


def certificates(
    request: AuditRequest,
    recipe: str = "world",
    *,
    sigma: float | None = None,
    draws: int = Smoothing.draws,
    selection: int = Smoothing.selection,
    confidence: float = Smoothing.confidence,
    retrieval: bool = False,
    attacked: bool = True,
) -> list[Job]:
    """Certified accuracy by randomised smoothing (see `certification.smoothing.Smoothing`) on the data of `recipe`.

    `sigma`: None for 0.25, in a waveform 0.1. `request.eps`: radii, of `request.norm` "l2" or "snr"; by default l2
    0.125 to 1.0, of a waveform also 20 to 40 dB. `retrieval`: with captions too, in both directions; data without
    classes are certified by it alone. `attacked`: the nearest adversarial examples of the encoder without smoothing are
    searched as well, for accuracy at the same radii. Raises InputError for radii that noise does not certify in the
    space.
    """
    if recipe not in RECIPES:
        raise InputError(f"recipe {recipe!r} cannot be certified; expected one of {', '.join(RECIPES)}")
    if request.norm not in ("l2", "snr"):
        raise InputError(f"--norm {request.norm}: noise certifies Euclidean lengths; expected l2 or snr")
    jobs = []
    for job in RECIPES[recipe](replace(request, norm="linf", eps=())):
        (name,) = job.spaces
        radii = radii_in(request, job.encoder.load().inputs[job.modality].space_named(name))
        knobs: dict[str, Any] = {"draws": draws, "selection": selection, "confidence": confidence}
        smoothing = Smoothing(comparable_sigma(name) if sigma is None else sigma, **knobs)
        classes = not job.extra_tasks  # data without classes ask for retrieval
        asked = (ExtraTask("retrieval", ("text",), job.data.attacked),) if retrieval or not classes else ()
        jobs.append(
            replace(
                job,
                attacks=(),
                gallery_items=0,
                curve=(FMN(ATTACK_STEPS), FMN(ATTACK_STEPS, loss="dlr")) if attacked and classes else (),
                budgets={name: one_norm(radii)},
                extra_tasks=(),
                certificate=CertificateSpec(smoothing, {name: radii}, classes, asked),
            )
        )
    return jobs


def radii_in(request: AuditRequest, space: Space) -> tuple[Budget, ...]:
    """The radii to report in a space. Raises InputError for those that have no meaning there."""
    if request.eps:
        radii = tuple(budget_of(request.norm, radius) for radius in request.eps)
    else:
        radii = tuple(radius for radius in certified_radii(space.name) if request.norm in ("l2", radius.norm))
    for radius in radii or (budget_of(request.norm, 30),):
        radius.check(space)
    return radii


def one_norm(radii: tuple[Budget, ...]) -> tuple[Budget, ...]:
    """Those of one norm, decibels where there are any: a search for nearest examples has one."""
    norm = "snr" if any(budget.norm == "snr" for budget in radii) else "l2"
    return tuple(sorted((budget for budget in radii if budget.norm == norm), key=lambda budget: budget.radius))
