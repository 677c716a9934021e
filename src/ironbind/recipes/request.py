"""The request of an audit, and jobs from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ironbind.attacks import ATTACKS, bindattack
from ironbind.core.default_budgets import default_budgets
from ironbind.evaluate.attack_variants import AnyAttack
from ironbind.modalities import MODALITIES
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.defaults import DEFAULT_ATTACKS, QUICK_LOOK
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.job import Job
from ironbind.types import Budget, InputError, budget_of

SIX = ("image", "video", "audio", "point", "thermal", "event")
SETTINGS = ("standard", "thorough")


@dataclass(frozen=True)
class AuditRequest:
    """The options of an audit, from the command line or Python; the recipe chooses what is left out.

    `encoder.device` may name several, separated by commas: modalities take them in turn. `data`: a path. `attack`:
    "standard", "thorough", or names of ATTACKS, separated by commas; `steps` goes to each of them. `eps`: radii as
    written, in units of the space. Rarer options are set in Python, on the jobs that a recipe returns.
    """

    encoder: EncoderSpec = EncoderSpec()
    modalities: tuple[str, ...] = ()
    data: str | None = None
    layout: str | None = None
    data_options: tuple[str, ...] = ()
    space: str | None = None
    norm: str = "linf"
    eps: tuple[str, ...] = ()
    attack: str | None = None
    steps: int | None = None
    limit: int | None = None
    seed: int = 0
    batch_size: int = 64


def attacks_of(request: AuditRequest) -> tuple[AnyAttack, ...]:
    """The attacks of the request. By default the ensemble; with `steps` alone a quick look, PGD of so many steps on
    the margin, then on the cross-entropy where the sample is still robust. Raises InputError for steps that an attack
    does not count, UnknownName for an attack that does not exist.
    """
    if request.attack is None and request.steps is None:
        return DEFAULT_ATTACKS
    if request.attack is None:
        return tuple(replace(attack, steps=request.steps) for attack in QUICK_LOOK)  # type: ignore[type-var]
    attacks: list[AnyAttack] = []
    for name in dict.fromkeys(part.strip() for part in request.attack.split(",")):  # twice would decide nothing
        attack = bindattack(name) if name in SETTINGS else ATTACKS[name]()
        if request.steps is not None:
            if not hasattr(attack, "steps"):
                raise InputError(f"--steps {request.steps}: attack {name!r} has no such knob; leave it out")
            attack = replace(attack, steps=request.steps)
        attacks.append(attack)
    return tuple(attacks)


def budgets_of(request: AuditRequest, modality: str, spaces: Sequence[str]) -> dict[str, tuple[Budget, ...]]:
    """The budgets per space. Raises InputError for an epsilon whose space could be one of several, and for one that is
    not a number.
    """
    if not request.eps:
        return {space: default_budgets(space, request.norm) for space in spaces}
    if request.space is None and len(MODALITIES[modality].spaces) > 1:
        able = ", ".join(MODALITIES[modality].spaces)
        raise InputError(
            f"--eps {','.join(request.eps)} has no meaning for {modality} without a space; say --space (one of {able})"
        )
    budgets = tuple(budget_of(request.norm, radius) for radius in request.eps)
    for budget in budgets:
        if not budget.radius:
            raise InputError(
                f"--eps {budget.written} leaves nothing to perturb; expected radii above 0 (clean numbers are in every "
                "table)"
            )
    return {space: budgets for space in spaces}


def jobs_for(
    request: AuditRequest, data: DataSpec, modalities: Sequence[str], of_modality: Mapping[str, DataSpec] | None = None
) -> list[Job]:
    """One job per modality, on the chosen devices in turn. `of_modality`: where its samples come from, for those that
    have data of their own. Raises InputError or UnknownName for anything that could not run, before anything runs.
    """
    for name in modalities:
        MODALITIES[name]  # raises with near misses
    devices = [part.strip() for part in request.encoder.device.split(",")] if request.encoder.device else [None]
    specs = [replace(request.encoder, device=device, modalities=tuple(modalities)) for device in devices]
    encoder = specs[0].load()
    jobs = []
    for number, modality in enumerate(modalities):
        if modality not in encoder.inputs:
            raise InputError(f"--modality {modality}: encoder {encoder.name!r} takes {', '.join(encoder.inputs)}")
        space = encoder.inputs[modality].space_named(request.space).name
        jobs.append(
            Job(
                modality,
                specs[number % len(specs)],
                (of_modality or {}).get(modality, data),
                spaces=(space,),
                budgets=budgets_of(request, modality, (space,)),
                attacks=attacks_of(request),
                seed=request.seed,
                batch_size=request.batch_size,
            )
        )
    return jobs


def refuse(request: AuditRequest, recipe: str, *options: str) -> None:
    """Raises InputError for the first of these options that the user chose although it would change nothing."""
    for option in options:
        value = getattr(request, option)
        if value not in (None, (), False):
            written = " ".join(value) if isinstance(value, tuple) else value
            raise InputError(f"--{_flag(option)} {written}: recipe {recipe!r} has no use for it; leave it out")


def _flag(option: str) -> str:
    return "data-option" if option == "data_options" else option
