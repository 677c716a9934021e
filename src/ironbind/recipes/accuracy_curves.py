"""Recipe of the curve of accuracy against epsilon, from one search for the nearest example of every sample."""

import math
from dataclasses import replace

from ironbind.attacks import FMN
from ironbind.core.default_budgets import comparable, spanning
from ironbind.evaluate.attack_variants import seeks_nearest
from ironbind.recipes.any_layout import classified
from ironbind.recipes.request import AuditRequest, attacks_of, budgets_of
from ironbind.runs.job import Job
from ironbind.types import NORMS, Attack, Budget, InputError, Linf, Space, budget_of

LARGEST = "16/255"  # linf, or what is comparable
STEPS = 50  # on each of two losses


def curve(request: AuditRequest) -> list[Job]:
    """Accuracy at every radius and the median norm of the nearest examples, on the built-in world or, with `--data`, on
    class folders or any `--layout`.

    `--eps`: the largest radius, below which thirteen are read off, or all of them. Without it linf goes from 0.25 to
    16/255 (a fifth of it in a waveform), and other norms up to where everything is broken. `--attack`: fmn or
    carlini_wagner; by default FMN on two losses. `--steps`: of each.
    """
    attacks = _attacks(request)
    plain = replace(request, norm="linf", eps=(), attack=None, steps=None)
    jobs = []
    for job in classified(plain):
        spec = job.encoder.load().inputs[job.modality]
        spaces = job.spaces or (spec.space_named(None).name,)
        budgets = {
            space: radii(request, job.modality, spec.space_named(space), tuple(spec.shape_in(space)))
            for space in spaces
        }
        jobs.append(replace(job, attacks=(), curve=attacks, budgets=budgets, gallery_items=0))
    return jobs


def _attacks(request: AuditRequest) -> tuple[Attack, ...]:
    """Raises InputError for an attack that does not seek the nearest example, or not in this norm."""
    if request.attack is None:
        steps = request.steps or STEPS
        return FMN(steps), FMN(steps, loss="dlr")
    seekers = []
    for attack in attacks_of(request):
        if not isinstance(attack, Attack) or not seeks_nearest(attack):
            raise InputError(
                f"--attack {request.attack}: {attack.name!r} does not seek the nearest example; expected fmn "
                "or carlini_wagner"
            )
        norms = getattr(getattr(attack, "attack", attack), "norms", NORMS)
        if request.norm not in norms:
            raise InputError(
                f"--attack {request.attack}: {attack.name!r} knows {', '.join(norms)}, not --norm {request.norm}"
            )
        seekers.append(attack)
    return tuple(seekers)


def radii(request: AuditRequest, modality: str, space: Space, shape: tuple[int, ...]) -> tuple[Budget, ...]:
    """The radii to evaluate; a single one is the largest, and the others then follow from the distances."""
    if request.eps:
        budgets = budgets_of(request, modality, (space.name,))[space.name]
        return spanning(budgets[0]) if len(budgets) == 1 else budgets
    if request.norm == "linf":
        return spanning(comparable(Linf(LARGEST), space.name))
    return (widest(request.norm, space, shape),)


def widest(norm: str, space: Space, shape: tuple[int, ...]) -> Budget:
    """A budget that allows everything the bounds do; of events all of them, of an SNR as much noise as sound. Raises
    InputError without bounds.
    """
    if norm in ("snr", "event_share"):
        return budget_of(norm, "0dB" if norm == "snr" else "100%")
    if space.low is None or space.high is None:
        raise InputError(f"--norm {norm} in {space.name!r}, which has no bounds, needs a largest radius; say --eps")
    width, coordinates = space.high - space.low, math.prod(shape)
    element = math.prod(shape[axis] for axis in space.element_axes)
    length = {"linf": 1.0, "l2": math.sqrt(coordinates), "l1": float(coordinates), "pointwise_l2": math.sqrt(element)}
    return budget_of(norm, f"{math.ceil(width * length[norm])}")
