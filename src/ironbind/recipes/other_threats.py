"""Recipes for threats other than an attack on each input: corruptions, one perturbation for all inputs, examples from
another encoder.
"""

from dataclasses import replace
from functools import partial

from ironbind.attacks.universal import FIXED
from ironbind.evaluate.audit import to_the_end
from ironbind.recipes.any_layout import classified
from ironbind.recipes.world_and_folder import Choices, attacks_of, budgets_of, refuse
from ironbind.runs.encoder_spec import encoder_for, encoder_options
from ironbind.runs.run_job import Job
from ironbind.runs.task_attacks import FittedUniversal, FromSurrogate
from ironbind.types import Attack, InputError, StagedAttack

WEAKER = "not run: they ask whether an attack finds all there is to find, and {} finds less by construction; such a number is no robustness"


def corruptions(choices: Choices) -> list[Job]:
    """Accuracy under every corruption that suits the input, severity 1 to 5, and under random noise within the budgets
    (check C23), on the built-in world or, with `--data`, on class folders or any `--layout`; in every space that an
    input can be entered in, unless `--space` names one."""
    refuse(
        choices,
        "corruptions",
        "attack",
        "steps",
        "restarts",
        "eot",
        "bf16",
        "retrieval",
        "surrogate",
        "surrogate_weights",
    )
    jobs = []
    for job in classified(choices):
        spaces = (
            job.spaces
            if choices.space
            else tuple(encoder_for(job.encoder, job.encoder_options).inputs[job.modality].spaces)
        )
        budgets = budgets_of(choices, job.modality, spaces)
        jobs.append(replace(job, spaces=spaces, budgets=budgets, attacks=(), corrupted=True, gallery_items=0))
    return jobs


def universal(choices: Choices) -> list[Job]:
    """One perturbation per modality and budget, fitted on other samples and added to every one that is reported.

    The built-in world fits on its training split, other data on `--train-data` or else on a seeded half of `--data`,
    which is then not reported. `--steps`: passes over the fitting samples (10). The perturbations are saved in the run
    folder.
    """
    refuse(choices, "universal", "attack", "restarts", "eot", "bf16", "retrieval", "surrogate", "surrogate_weights")
    if choices.norm not in FIXED:
        raise InputError(
            f"--norm {choices.norm}: gives every sample a radius of its own, so that none fits all; expected {', '.join(FIXED)}"
        )
    jobs = []
    for job in classified(choices):
        if choices.data and not choices.train_data:
            job = replace(job, half="second", train=replace(job.origin, half="first"))
        fitted = FittedUniversal(
            job.train, epochs=choices.steps or 10, seed=choices.seed, batch_size=choices.batch_size
        )
        jobs.append(replace(job, attacks=(fitted,), unchecked=WEAKER.format("one perturbation for all inputs")))
    return jobs


def transfer(choices: Choices) -> list[Job]:
    """Examples crafted on another encoder, `--surrogate`, and tried on this one: an attacker who cannot look into it.
    Every attack climbs to its end, as a barely successful example says little about another encoder."""
    if choices.surrogate is None:
        raise InputError(
            "--surrogate is missing: say on which encoder the examples are crafted (see `ironbind ls encoders`)"
        )
    refuse(
        choices, "transfer", "eot", "bf16", "retrieval", "centers"
    )  # centers in a file are one encoder's, the surrogate has its own
    jobs = classified(replace(choices, surrogate=None, surrogate_weights=None))
    towers = [job.modality for job in jobs]
    load = partial(encoder_options, choices.surrogate, weights=choices.surrogate_weights, modalities=towers)
    beside = [
        load(device=dict(job.encoder_options).get("device")) for job in jobs
    ]  # where the encoder under attack computes
    strong: list[Attack] = []
    for one in attacks_of(choices):
        strong += (
            [to_the_end(stage) for stage in one.stages]
            if isinstance(one, StagedAttack)
            else [to_the_end(one)]
            if isinstance(one, Attack)
            else []
        )
    why = WEAKER.format("an attacker who cannot look into the encoder")
    crafted = [FromSurrogate(tuple(strong), choices.surrogate, options) for options in beside]
    return [
        replace(job, attacks=(one,), threat_model="transfer", unchecked=why, gallery_items=0)
        for job, one in zip(jobs, crafted, strict=True)
    ]
