"""What `ironbind audit` and `ironbind demo` can run: functions from a few choices to jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ironbind.attacks import APGD, ATTACKS, EOT, PGD, Ensemble, bindattack
from ironbind.core.default_budgets import comparable, default_budgets
from ironbind.data import load_dataset
from ironbind.modalities import MODALITIES
from ironbind.recipes import CALIBRATIONS
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import encoder_for, encoder_options
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.pretrained import SHIPPED
from ironbind.runs.run_job import Job
from ironbind.runs.task_attacks import InBfloat16
from ironbind.types import Attack, AttackFactory, Budget, InputError, Linf, StagedAttack, budget_of

SIX = ("image", "video", "audio", "point", "thermal", "event")


@dataclass(frozen=True)
class Choices:
    """What a user may choose for an audit; None means the recipe's default."""

    encoder: str = "tiny"
    weights: str | None = None
    device: str | None = None
    dtype: str | None = None
    modalities: tuple[str, ...] = ()
    data: str | None = None
    layout: str | None = None
    data_options: tuple[str, ...] = ()
    prompts: str | None = None
    centers: str | None = None
    train_data: str | None = None
    train_samples: int | None = None
    split: str = "test"
    space: str | None = None
    norm: str = "linf"
    eps: tuple[str, ...] = ()
    attack: str | None = None
    steps: int | None = None
    restarts: int | None = None
    eot: int | None = None
    bf16: bool = False
    surrogate: str | None = None
    surrogate_weights: str | None = None
    limit: int | None = None
    calibrations: tuple[str, ...] = ()
    heads: str | None = None
    retrieval: bool = False
    skip_unreadable: bool = False
    seed: int = 0
    batch_size: int = 64


SETTINGS = ("standard", "thorough")


def attacks_of(choices: Choices) -> tuple[Attack | StagedAttack | AttackFactory, ...]:
    """The attacks that a user asked for, as values, wrapped in EOT with `eot` and in their bfloat16 twins with `bf16`.

    Raises InputError for knobs that nothing takes and for both wrappers at once, UnknownName for an attack that does
    not exist.
    """
    named = _named(choices)
    if choices.eot is not None and choices.bf16:
        raise InputError(
            f"--eot {choices.eot} and --bf16 exclude each other: one exact pass cannot judge a majority over draws; leave one out"
        )
    if choices.eot is not None:
        return tuple(_over_draws(one, choices.eot) for one in named)
    return tuple(InBfloat16(one) for one in named) if choices.bf16 else named


def _over_draws(attack: Attack | StagedAttack, draws: int) -> Attack | StagedAttack:
    if isinstance(attack, StagedAttack):
        return Ensemble(f"eot{draws}-{attack.name}", tuple(EOT(one, draws) for one in attack.stages))
    return EOT(attack, draws)


def _named(choices: Choices) -> tuple[Attack | StagedAttack, ...]:
    """By default PGD on the margin, then on the cross-entropy where the sample still stands: neither loss is the
    stronger one everywhere.

    "standard" and "thorough" are the ensemble's settings; other names come from the table of attacks, several separated
    by commas. `steps` and `restarts` go to attacks that have such knobs.
    """
    knobs = {
        name: value for name, value in (("steps", choices.steps), ("restarts", choices.restarts)) if value is not None
    }
    if choices.attack is None:
        return tuple(
            PGD(steps=choices.steps or 20, restarts=choices.restarts or 1, loss=loss) for loss in ("margin", "ce")
        )
    made: list[Attack | StagedAttack] = []
    for name in (one.strip() for one in choices.attack.split(",")):
        attack = bindattack(name) if name in SETTINGS else ATTACKS[name]()
        fitting = {knob: value for knob, value in knobs.items() if hasattr(attack, knob)}
        if len(fitting) < len(knobs):
            knob = next(one for one in knobs if one not in fitting)
            raise InputError(f"--{knob} {knobs[knob]}: attack {name!r} has no such knob; leave it out")
        made.append(replace(attack, **fitting))
    return tuple(made)


def budgets_of(choices: Choices, modality: str, spaces: Sequence[str]) -> dict[str, tuple[Budget, ...]]:
    """The ladder per space. Raises InputError for an epsilon whose space could be one of several, and for one that is
    not a number.
    """
    if not choices.eps:
        return {space: default_budgets(space, choices.norm) for space in spaces}
    if choices.space is None and len(MODALITIES[modality].spaces) > 1:
        able = ", ".join(MODALITIES[modality].spaces)
        raise InputError(
            f"--eps {','.join(choices.eps)} has no meaning for {modality} without a space; say --space (one of {able})"
        )
    made = tuple(budget_of(choices.norm, one) for one in choices.eps)
    return {space: made for space in spaces}


def devices_of(named: str | None) -> tuple[str | None, ...]:
    """The devices that a user named, separated by commas; (None,) for none."""
    return tuple(one.strip() for one in named.split(",")) if named else (None,)


def jobs_for(
    choices: Choices, data: str, path: str | None, data_options: dict[str, Any], modalities: Sequence[str]
) -> list[Job]:
    """One job per modality, on the chosen devices in turn. Raises InputError or UnknownName for anything that could not
    run, before anything runs.
    """
    for table, names in ((MODALITIES, modalities), (CALIBRATIONS, choices.calibrations)):
        for name in names:
            table[name]  # raises with near misses
    if choices.surrogate is not None or choices.surrogate_weights is not None:
        raise InputError(
            f"--surrogate {choices.surrogate or ''}: only the recipe 'transfer' has use for one; leave it out"
        )
    others = ("text", "image") if choices.retrieval else ()
    towers = (*modalities, *others)
    load = partial(encoder_options, choices.encoder, weights=choices.weights, modalities=towers, dtype=choices.dtype)
    options = [load(device=device) for device in devices_of(choices.device)]
    encoder = encoder_for(choices.encoder, options[0])
    jobs = []
    for number, modality in enumerate(modalities):
        if modality not in encoder.inputs:
            raise InputError(f"--modality {modality}: encoder {encoder.name!r} takes {', '.join(encoder.inputs)}")
        space = encoder.inputs[modality].space_named(choices.space).name
        of_modality = {**data_options, "modality": modality} if data == "folder" else data_options
        train = None
        if choices.train_data:
            train = DataSpec(
                "folder", choices.train_data, {"modality": modality}, seed=choices.seed, limit=choices.train_samples
            )
        jobs.append(
            Job(
                modality,
                encoder=choices.encoder,
                encoder_options=options[number % len(options)],
                data=data,
                path=path,
                data_options=of_modality,
                train=train,
                spaces=(space,),
                budgets=budgets_of(choices, modality, (space,)),
                attacks=attacks_of(choices),
                calibrations=choices.calibrations,
                heads=choices.heads,
                prompts=choices.prompts,
                centers=choices.centers,
                questions=(ExtraTask("retrieval", others, everywhere=True),) if others else (),
                limit=None if data == "world" else choices.limit,
                seed=choices.seed,
                batch_size=choices.batch_size,
            )
        )
    return jobs


def world(choices: Choices) -> list[Job]:
    """The built-in procedural world, all six modalities unless told otherwise."""
    refuse(choices, "world", "layout", "data_options")
    options: dict[str, Any] = {"split": choices.split, "n": choices.limit or 300, "seed": choices.seed}
    load_dataset("world", **{**options, "n": 1})  # an unknown split shows now
    return jobs_for(choices, "world", None, options, choices.modalities or SIX)


def folder(choices: Choices) -> list[Job]:
    """A tree of class folders (`DIR/<class>/<file>`, or an exported world's root) in one modality or several."""
    refuse(choices, "folder", "layout", "data_options")
    if not choices.data:
        raise InputError(
            "--data DIR is missing: the recipe 'folder' audits a tree of class folders, DIR/<class>/<file>"
        )
    if not choices.modalities:
        raise InputError(
            f"--modality is missing: say what {choices.data} holds (one of {', '.join(one for one in MODALITIES if one != 'text')})"
        )
    options: dict[str, Any] = {"limit": choices.limit, "seed": choices.seed, "skip_unreadable": choices.skip_unreadable}
    path = str(Path(choices.data))
    for modality in choices.modalities:
        if modality in MODALITIES:
            load_dataset(
                "folder", path, **{**options, "modality": modality, "skip_unreadable": False}
            )  # a wrong folder shows now
    return jobs_for(
        replace(choices, limit=None),
        "folder",
        path,
        {key: value for key, value in options.items() if value},
        choices.modalities,
    )


def illusion(choices: Choices) -> list[Job]:
    """Targeted illusions on the built-in world, or on class folders with `--data`: inputs of each modality driven
    towards a chosen text and towards a chosen instance of every other modality that the data pairs them with; at all
    radii, for every calibration."""
    return [
        replace(job, questions=(ExtraTask("illusion", ("text", *SIX), everywhere=True),)) for job in either(choices)
    ]


def hub(choices: Choices) -> list[Job]:
    """Hubness on the built-in world, or on class folders with `--data`: one perturbed item that is to answer queries of
    every other modality.
    """
    return [replace(job, questions=(ExtraTask("hub", ("text", *SIX), everywhere=True),)) for job in either(choices)]


def either(choices: Choices) -> list[Job]:
    """Class folders where the user named some, else the built-in world."""
    return folder(choices) if choices.data else world(choices)


def refuse(choices: Choices, recipe: str, *options: str) -> None:
    """Raises InputError for the first of these options that the user chose although it would change nothing."""
    for option in options:
        value = getattr(choices, option)
        if value not in (None, (), False):
            raise InputError(
                f"--{option.replace('_', '-')}{'' if value is True else f' {value}'}: recipe {recipe!r} has no use for it; leave it out"
            )


DEMO_SAMPLES = 64
DEMO_RADII = ("2/255", "4/255", "8/255")
DEMO_TRAIN = 500
DEMO_STEPS = 40
DEMO_CALIBRATIONS = ("center_ce_regularised", "hardened")
FULL_CALIBRATIONS = ("center_ce", "l2_regularised", "infonce_regularised", "center_ce_regularised", "hardened")


def demo(seed: int = 0, samples: int = DEMO_SAMPLES, *, full: bool = False) -> list[Job]:
    """The main job: six modalities of the built-in world, audio in both its spaces, audited, calibrated, audited again;
    the shipped adapters too.

    Heads and adapters are trained while one watches, adapters for a moment only; those that ship were trained for
    longer (scripts/harden_tiny.py). `full`: four times the samples, all radii, 50 steps and 2 restarts, five
    calibrations, retrieval everywhere; an hour rather than three minutes.
    """
    knobs: dict[str, Any] = {"steps": 50, "restarts": 2} if full else {"steps": 10}
    jobs = []
    inputs = encoder_for("tiny", ()).inputs
    for modality in (
        "audio",
        "video",
        "point",
        "image",
        "thermal",
        "event",
    ):  # longest first, so that two workers end together
        spaces = tuple(inputs[modality].fronts) + (inputs[modality].space.name,)
        jobs.append(
            Job(
                modality,
                data_options={"split": "test", "n": 4 * samples if full else samples, "seed": seed},
                train_samples=DEMO_TRAIN,
                train_steps=30 * DEMO_STEPS if full else DEMO_STEPS,
                budgets={}
                if full
                else {space: tuple(comparable(Linf(one), space) for one in DEMO_RADII) for space in spaces},
                spaces=spaces,
                attacks=tuple(PGD(loss=loss, **knobs) for loss in ("margin", "ce")),
                calibrations=FULL_CALIBRATIONS if full else DEMO_CALIBRATIONS,
                heads=SHIPPED,
                questions=(
                    ExtraTask("retrieval", limit=None if full else 20, everywhere=full),
                    ExtraTask(
                        "illusion", limit=None if full else 20, everywhere=full, attacks=(APGD(steps=knobs["steps"]),)
                    ),
                    ExtraTask(
                        "hub", limit=None if full else 10, everywhere=full, attacks=(APGD(steps=knobs["steps"]),)
                    ),
                ),
                seed=seed,
            )
        )
    return jobs
