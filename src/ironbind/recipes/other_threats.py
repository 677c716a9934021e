"""Recipes for threats other than an attack on each input: corruptions, one perturbation for all inputs, examples from
another encoder.
"""

from dataclasses import replace

from ironbind.attacks.universal import FIXED
from ironbind.evaluate.attack_variants import to_the_end
from ironbind.recipes.any_layout import classified
from ironbind.recipes.request import AuditRequest, attacks_of, budgets_of, refuse
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.job import CheckSpec, Job
from ironbind.runs.task_attacks import FittedUniversal, FromSurrogate
from ironbind.types import Attack, InputError, StagedAttack

WEAKER = (
    "not run: they ask whether an attack finds all there is to find, and {} finds less by construction; such a number "
    "is no robustness"
)


def corruptions(request: AuditRequest) -> list[Job]:
    """Accuracy under every corruption that suits the input, severity 1 to 5, and under random noise within the budgets
    (check C23), on the built-in world or, with `--data`, on class folders or any `--layout`; in every space that an
    input can be entered in, unless `--space` names one.
    """
    refuse(request, "corruptions", "attack", "steps")
    jobs = []
    for job in classified(request):
        spaces = job.spaces if request.space else tuple(job.encoder.load().inputs[job.modality].spaces)
        budgets = budgets_of(request, job.modality, spaces)
        jobs.append(replace(job, spaces=spaces, budgets=budgets, attacks=(), corrupted=True, gallery_items=0))
    return jobs


def universal(request: AuditRequest, *, train: DataSpec | None = None) -> list[Job]:
    """One perturbation per modality and budget, fitted on other samples and added to every one that is reported.

    The built-in world fits on its training split, other data on a seeded half of `--data`, which is then not reported,
    or (in Python) on `train`. `--steps`: passes over the fitting samples (10). The perturbations are saved in the run
    folder.
    """
    refuse(request, "universal", "attack")
    if request.norm not in FIXED:
        raise InputError(
            f"--norm {request.norm}: gives every sample a radius of its own, so that none fits all; expected "
            f"{', '.join(FIXED)}"
        )
    jobs = []
    for job in classified(replace(request, steps=None)):
        fitted_on = train
        if request.data and train is None:
            fitted_on = job.data.first_half()
            job = replace(job, data=replace(job.data, half="second"))
        fitted = FittedUniversal(
            fitted_on, epochs=request.steps or 10, seed=request.seed, batch_size=request.batch_size
        )
        why = CheckSpec(WEAKER.format("one perturbation for all inputs"), job.checks.black_box)
        jobs.append(replace(job, attacks=(fitted,), checks=why))
    return jobs


def transfer(request: AuditRequest, *, surrogate: EncoderSpec | None = None) -> list[Job]:
    """Examples crafted on another encoder and evaluated on this one: an attacker without white-box access to
    it. Every attack runs without early stop, as a barely successful example says little about another encoder.

    `surrogate` is given in Python: a function of your own returns
    `ironbind.recipes.transfer(request, surrogate=EncoderSpec(...))` (docs/attacks.md).
    """
    if surrogate is None:
        raise InputError(
            "recipe 'transfer' has to know on which encoder the examples are crafted; expected a function of your own, "
            "FILE.py:FUNCTION, that returns ironbind.recipes.transfer(request, surrogate=ironbind.EncoderSpec(NAME))"
        )
    strong: list[Attack] = []
    asked = request if request.attack or request.steps else replace(request, steps=20)  # a quick look, to its end
    for attack in attacks_of(asked):
        if isinstance(attack, StagedAttack):
            strong += [to_the_end(stage) for stage in attack.stages]
        elif isinstance(attack, Attack):
            strong.append(to_the_end(attack))
    jobs = classified(request)
    towers = tuple(job.modality for job in jobs)
    checks = CheckSpec(WEAKER.format("an attacker who cannot look into the encoder"))
    crafted = []
    for job in jobs:
        beside = replace(surrogate, device=surrogate.device or job.encoder.device, modalities=towers)
        beside.options  # noqa: B018 - raises for faulty options before anything runs
        attacks = (FromSurrogate(tuple(strong), beside),)
        crafted.append(replace(job, attacks=attacks, threat_model="transfer", checks=checks, gallery_items=0))
    return crafted
