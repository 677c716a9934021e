"""Recipe of certified accuracy, beside the empirical one of the encoder without smoothing."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from ironbind.attacks import FMN
from ironbind.certification.smoothing import Smoothing
from ironbind.core.default_budgets import certified_radii, comparable
from ironbind.recipes.any_layout import data
from ironbind.recipes.request import AuditRequest
from ironbind.recipes.world_and_folder import folder, world
from ironbind.runs.job import CertificateSpec, Job
from ironbind.types import L2, Budget, InputError, budget_of

SIGMA = "0.25"
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
    attacked: bool = True,
) -> list[Job]:
    """Certified accuracy by randomised smoothing (see `certification.smoothing.Smoothing`) on the data of `recipe`.

    `sigma`: None for 0.25, a fifth of it in a waveform. `request.eps`: radii, of `request.norm` "l2" or "snr"; by
    default l2 0.125 to 1.0, of a waveform also 20 to 40 dB. `attacked`: the nearest adversarial examples of
    the encoder without smoothing are searched too, for accuracy at the same radii. Data without classes are certified
    by retrieval. Raises InputError for other norms.
    """
    if recipe not in RECIPES:
        raise InputError(f"recipe {recipe!r} cannot be certified; expected one of {', '.join(RECIPES)}")
    if request.norm not in ("l2", "snr"):
        raise InputError(f"--norm {request.norm}: noise certifies Euclidean lengths; expected l2 or snr")
    jobs = []
    for job in RECIPES[recipe](replace(request, norm="linf", eps=())):
        radii = {space: radii_in(request, space) for space in job.spaces}
        knobs = {"draws": draws, "selection": selection, "confidence": confidence}
        (space,) = job.spaces
        smoothing = Smoothing(default_sigma(space) if sigma is None else sigma, **knobs)
        of_attack = {space: one_norm(budgets) for space, budgets in radii.items()}
        jobs.append(
            replace(
                job,
                attacks=(),
                gallery_items=0,
                curve=(FMN(ATTACK_STEPS), FMN(ATTACK_STEPS, loss="dlr")) if attacked else (),
                budgets=of_attack,
                certificate=CertificateSpec(smoothing, radii),
            )
        )
    return jobs


def default_sigma(space: str) -> float:
    """A quarter of a pixel's range, in a waveform a fifth of that."""
    return comparable(L2(SIGMA), space).radius


def radii_in(request: AuditRequest, space: str) -> tuple[Budget, ...]:
    """The radii to report in a space."""
    if request.eps:
        return tuple(budget_of(request.norm, radius) for radius in request.eps)
    return certified_radii(space)


def one_norm(radii: tuple[Budget, ...]) -> tuple[Budget, ...]:
    """Those of one norm, decibels where there are any: a search for nearest examples has one."""
    norm = "snr" if any(budget.norm == "snr" for budget in radii) else "l2"
    return tuple(sorted((budget for budget in radii if budget.norm == norm), key=lambda budget: budget.radius))
