"""The whole curve of accuracy against epsilon, from one search for the nearest example of every sample."""

import math
from dataclasses import replace

from ironbind.attacks import EOT, FMN
from ironbind.core.default_budgets import comparable, spanning
from ironbind.evaluate.accuracy_curve import seeks_nearest
from ironbind.recipes.any_layout import classified
from ironbind.recipes.world_and_folder import Choices, attacks_of, budgets_of, refuse
from ironbind.runs.encoder_spec import encoder_for
from ironbind.runs.run_job import Job
from ironbind.types import NORMS, Attack, Budget, InputError, Linf, Space, budget_of

LARGEST = "16/255"  # linf, or what is comparable
STEPS = 50  # on each of two losses


def curve(choices: Choices) -> list[Job]:
    """Accuracy at every radius and the median norm of the nearest examples, on the built-in world or, with `--data`, on
    class folders or any `--layout`.

    `--eps`: the largest radius, below which thirteen are read off, or all of them. Without it linf goes from 0.25 to
    16/255 (a fifth of it in a waveform), and other norms up to where everything has fallen. `--attack`: fmn or
    carlini_wagner; by default FMN on two losses. `--steps`: of each.
    """
    refuse(choices, "curve", "restarts", "retrieval", "surrogate", "surrogate_weights")
    if choices.bf16:
        raise InputError(
            "--bf16: a nearest example lies on the boundary, where a rounded encoder says nothing; leave it out"
        )
    attacks = _attacks(choices)
    plain = replace(choices, norm="linf", eps=(), attack=None, steps=None, eot=None)
    made = []
    for job in classified(plain):
        spec = encoder_for(job.encoder, job.encoder_options).inputs[job.modality]
        spaces = job.spaces or (spec.space_named(None).name,)
        budgets = {
            one: radii(choices, job.modality, spec.space_named(one), tuple(spec.shape_in(one))) for one in spaces
        }
        made.append(replace(job, attacks=(), curve=attacks, budgets=budgets, gallery_items=0))
    return made


def _attacks(choices: Choices) -> tuple[Attack, ...]:
    """Raises InputError for one that seeks something else than the nearest example, or not in this norm."""
    if choices.attack is None:
        steps = choices.steps or STEPS
        two = (FMN(steps), FMN(steps, loss="dlr"))
        return two if choices.eot is None else tuple(EOT(one, choices.eot) for one in two)
    found = []
    for one in attacks_of(choices):
        if not isinstance(one, Attack) or not seeks_nearest(one):
            raise InputError(
                f"--attack {choices.attack}: {one.name!r} does not seek the nearest example; expected fmn or carlini_wagner"
            )
        norms = getattr(getattr(one, "attack", one), "norms", NORMS)
        if choices.norm not in norms:
            raise InputError(
                f"--attack {choices.attack}: {one.name!r} knows {', '.join(norms)}, not --norm {choices.norm}"
            )
        found.append(one)
    return tuple(found)


def radii(choices: Choices, modality: str, space: Space, shape: tuple[int, ...]) -> tuple[Budget, ...]:
    """The radii to read off; a single one says how far to search and leaves the radii to what is found."""
    if choices.eps:
        made = budgets_of(choices, modality, (space.name,))[space.name]
        return spanning(made[0]) if len(made) == 1 else made
    if choices.norm == "linf":
        return spanning(comparable(Linf(LARGEST), space.name))
    return (widest(choices.norm, space, shape),)


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
