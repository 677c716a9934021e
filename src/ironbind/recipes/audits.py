"""What `ironbind audit` and `ironbind demo` can run: functions from a few choices to jobs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ironbind.attacks import PGD
from ironbind.data import load_dataset
from ironbind.modalities import MODALITIES
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.budgets import comparable, ladder
from ironbind.recipes.encoders import encoder_for, encoder_options
from ironbind.recipes.jobs import DEFAULT_ATTACKS, Job
from ironbind.types import Attack, Budget, InputError, Linf, budget_of

PAPER_EPS = ("2/255", "4/255")
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
    train_data: str | None = None
    split: str = "test"
    space: str | None = None
    norm: str = "linf"
    eps: tuple[str, ...] = ()
    steps: int = 20
    restarts: int = 1
    limit: int | None = None
    calibrations: tuple[str, ...] = ()
    heads: str | None = None
    retrieval: bool = False
    skip_unreadable: bool = False
    seed: int = 0
    batch_size: int = 64


def attacks_of(choices: Choices) -> tuple[Attack, ...]:
    """PGD on the margin, then on the cross-entropy where the sample still stands: neither loss is the stronger one everywhere."""
    return tuple(replace(one, steps=choices.steps, restarts=choices.restarts) for one in DEFAULT_ATTACKS if isinstance(one, PGD))


def budgets_of(choices: Choices, modality: str, spaces: Sequence[str]) -> dict[str, tuple[Budget, ...]]:
    """The ladder per space. Raises InputError for an epsilon whose space could be one of several, and for one that is not a number."""
    if not choices.eps:
        return {space: ladder(space, choices.norm) for space in spaces}
    if choices.space is None and len(MODALITIES[modality].spaces) > 1:
        able = ", ".join(MODALITIES[modality].spaces)
        raise InputError(f"--eps {','.join(choices.eps)} has no meaning for {modality} without a space; say --space (one of {able})")
    made = tuple(budget_of(choices.norm, one) for one in choices.eps)
    return {space: made for space in spaces}


def jobs_for(choices: Choices, data: str, path: str | None, data_options: dict[str, Any], modalities: Sequence[str]) -> list[Job]:
    """One job per modality. Raises InputError or UnknownName for anything that could not run, before anything runs."""
    for table, names in ((MODALITIES, modalities), (CALIBRATIONS, choices.calibrations)):
        for name in names:
            table[name]  # raises with near misses
    others = ("text", "image") if choices.retrieval else ()
    towers = (*modalities, *others)
    options = encoder_options(choices.encoder, weights=choices.weights, modalities=towers, device=choices.device, dtype=choices.dtype)
    encoder = encoder_for(choices.encoder, options)
    jobs = []
    for modality in modalities:
        if modality not in encoder.inputs:
            raise InputError(f"--modality {modality}: encoder {encoder.name!r} takes {', '.join(encoder.inputs)}")
        space = encoder.inputs[modality].space_named(choices.space).name
        of_modality = {**data_options, "modality": modality} if data == "folder" else data_options
        train = None
        if choices.train_data:
            train = {"data": "folder", "path": choices.train_data, "options": {"modality": modality}}
        jobs.append(
            Job(
                modality,
                encoder=choices.encoder,
                encoder_options=options,
                data=data,
                path=path,
                data_options=of_modality,
                train=train,
                spaces=(space,),
                budgets=budgets_of(choices, modality, (space,)),
                attacks=attacks_of(choices),
                calibrations=choices.calibrations,
                heads=choices.heads,
                retrieval_with=others,
                retrieval_all=True,
                limit=None if data == "world" else choices.limit,
                seed=choices.seed,
                batch_size=choices.batch_size,
            )
        )
    return jobs


def world(choices: Choices) -> list[Job]:
    """The built-in procedural world, all six modalities unless told otherwise."""
    options: dict[str, Any] = {"split": choices.split, "n": choices.limit or 300, "seed": choices.seed}
    load_dataset("world", **{**options, "n": 1})  # an unknown split shows now
    return jobs_for(choices, "world", None, options, choices.modalities or SIX)


def folder(choices: Choices) -> list[Job]:
    """A tree of class folders (`DIR/<class>/<file>`, or an exported world's root) in one modality or several."""
    if not choices.data:
        raise InputError("--data DIR is missing: the recipe 'folder' audits a tree of class folders, DIR/<class>/<file>")
    if not choices.modalities:
        raise InputError(f"--modality is missing: say what {choices.data} holds (one of {', '.join(one for one in MODALITIES if one != 'text')})")
    options: dict[str, Any] = {"limit": choices.limit, "seed": choices.seed, "skip_unreadable": choices.skip_unreadable}
    path = str(Path(choices.data))
    for modality in choices.modalities:
        if modality in MODALITIES:
            load_dataset("folder", path, **{**options, "modality": modality, "skip_unreadable": False})  # a wrong folder shows now
    return jobs_for(replace(choices, limit=None), "folder", path, {key: value for key, value in options.items() if value}, choices.modalities)


def paper_cell(choices: Choices) -> list[Job]:
    """One cell of the paper's grid on class folders: zero-shot and, where the data has captions, retrieval, at 2/255 and 4/255.

    With `--calibration` the cell's calibrated columns too, replayed and adaptive.
    """
    jobs = folder(choices)
    if choices.eps:
        return jobs
    return [replace(job, budgets={space: tuple(comparable(Linf(one), space) for one in PAPER_EPS) for space in job.spaces}) for job in jobs]


DEMO_SAMPLES = 150
DEMO_TRAIN = 500
DEMO_CALIBRATIONS = ("center_ce_regularised",)
FULL_CALIBRATIONS = ("center_ce", "l2_regularised", "infonce_regularised", "center_ce_regularised")


def demo(seed: int = 0, samples: int = DEMO_SAMPLES, *, full: bool = False) -> list[Job]:
    """The main job: six modalities of the built-in world, audio in both its spaces, audited, calibrated, audited again.

    `full`: twice the samples, 50 steps and 2 restarts, four calibrations, retrieval at all radii; most of an hour rather than three minutes.
    """
    knobs: dict[str, Any] = {"steps": 50, "restarts": 2} if full else {"steps": 10}
    jobs = []
    for modality in ("audio", "video", "point", "image", "thermal", "event"):  # longest first, so that two workers end together
        jobs.append(
            Job(
                modality,
                data_options={"split": "test", "n": 2 * samples if full else samples, "seed": seed},
                train_samples=DEMO_TRAIN,
                spaces=("logmel", "waveform") if modality == "audio" else (),
                attacks=tuple(PGD(loss=loss, **knobs) for loss in ("margin", "ce")),
                calibrations=FULL_CALIBRATIONS if full else DEMO_CALIBRATIONS,
                retrieval_with=("text", "image"),
                retrieval_limit=None if full else 40,
                retrieval_all=full,
                seed=seed,
            )
        )
    return jobs
