"""The recipe of `ironbind demo`."""

from typing import Any

from ironbind.attacks import APGD, PGD
from ironbind.core.default_budgets import comparable
from ironbind.recipes import CALIBRATIONS
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.job import Job, TrainingSpec
from ironbind.runs.pretrained import SHIPPED
from ironbind.types import Linf

SAMPLES = 64
RADII = ("2/255", "4/255", "8/255")
TRAINING_SAMPLES = 500
TRAINING_STEPS = 40
TRAINED = ("center_ce_regularised", "hardened")
TRAINED_IN_FULL = ("center_ce", "l2_regularised", "infonce_regularised", "center_ce_regularised", "hardened")
LONGEST_FIRST = ("audio", "video", "point", "image", "thermal", "event")  # so that two workers end together


def demo(seed: int = 0, samples: int = SAMPLES, *, full: bool = False) -> list[Job]:
    """Six modalities of the built-in world, audio in both its spaces, audited, calibrated, audited again; the shipped
    adapters too.

    Heads and adapters are trained within the run, adapters for few steps only; those that ship were trained for
    longer (scripts/harden_tiny.py). `full`: four times the samples, all radii, 50 steps and 2 restarts, five
    calibrations, retrieval everywhere; an hour rather than three minutes.
    """
    knobs: dict[str, Any] = {"steps": 50, "restarts": 2} if full else {"steps": 10}
    encoder = EncoderSpec(heads=SHIPPED)
    inputs = encoder.load().inputs
    trained = tuple(CALIBRATIONS[name]() for name in (TRAINED_IN_FULL if full else TRAINED))
    targeted = (APGD(steps=knobs["steps"]),)
    jobs = []
    for modality in LONGEST_FIRST:
        spaces = tuple(inputs[modality].fronts) + (inputs[modality].space.name,)
        radii = {space: tuple(comparable(Linf(radius), space) for radius in RADII) for space in spaces}
        jobs.append(
            Job(
                modality,
                encoder,
                DataSpec(options={"split": "test", "n": 4 * samples if full else samples, "seed": seed}),
                spaces=spaces,
                budgets={} if full else radii,
                attacks=tuple(PGD(loss=loss, **knobs) for loss in ("margin", "ce")),
                training=TrainingSpec(
                    trained, samples=TRAINING_SAMPLES, steps=30 * TRAINING_STEPS if full else TRAINING_STEPS
                ),
                extra_tasks=(
                    ExtraTask("retrieval", limit=None if full else 20, everywhere=full),
                    ExtraTask("illusion", limit=None if full else 20, everywhere=full, attacks=targeted),
                    ExtraTask("hub", limit=None if full else 10, everywhere=full, attacks=targeted),
                ),
                seed=seed,
            )
        )
    return jobs
