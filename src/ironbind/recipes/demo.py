"""The recipe of `ironbind demo`."""

from ironbind.attacks import APGD
from ironbind.core.default_budgets import comparable
from ironbind.recipes import CALIBRATIONS
from ironbind.recipes.calibrations import SHAPE
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.runs.job import Job, TrainingSpec
from ironbind.runs.pretrained import SHIPPED
from ironbind.types import AdapterShape, Linf

SPLIT = "report"  # which neither training nor choosing ever saw
SAMPLES = 16  # few, as the attack is the ensemble; scripts/readme_table.py has many
SAMPLES_IN_FULL = 256
RADII = ("2/255", "4/255", "8/255")
TRAINING_SAMPLES = 120
TRAINING_SAMPLES_IN_FULL = 500
TRAINING_STEPS = 30
TRAINED = ("center_ce_regularised", "hardened")
TRAINED_IN_FULL = ("center_ce", "l2_regularised", "infonce_regularised", "center_ce_regularised", "hardened")
LONGEST_FIRST = ("audio", "video", "point", "image", "thermal", "event")  # so that two workers end together


def demo(seed: int = 0, samples: int | None = None, *, full: bool = False) -> list[Job]:
    """Six modalities of the built-in world, audio in both its spaces, audited by the default attacks, calibrated,
    audited again; the shipped adapters too. Retrieval is attacked by the ensemble's first stage alone: a quick look,
    and called one.

    `samples`: per modality, SAMPLES or SAMPLES_IN_FULL where it is None; they are of a split of the world that nothing
    was trained on or chosen by. Heads and adapters are trained within the run on the same few samples, adapters for few
    steps only and without a purifier, which doubles the price of every pass; those that ship were trained for longer
    and with one (scripts/harden_tiny.py). `full`: many more samples, all radii,
    five calibrations, longer training, retrieval everywhere; hours rather than minutes.
    """
    encoder = EncoderSpec(heads=SHIPPED)
    inputs = encoder.load().inputs
    briefly = {"hardened": {"shape": AdapterShape(rank=SHAPE.rank, purifier=0)}}  # no purifier
    names, knobs = (TRAINED_IN_FULL, {}) if full else (TRAINED, briefly)
    trained = tuple(CALIBRATIONS[name](**knobs.get(name, {})) for name in names)
    training = TrainingSpec(
        trained,
        samples=TRAINING_SAMPLES_IN_FULL if full else TRAINING_SAMPLES,
        steps=30 * TRAINING_STEPS if full else TRAINING_STEPS,
        shared=not full,
    )
    targeted = (APGD(steps=50 if full else 10),)
    queries = () if full else (APGD(steps=25),)  # the ensemble would spend half of the passes here
    count = samples or (SAMPLES_IN_FULL if full else SAMPLES)
    jobs = []
    for modality in LONGEST_FIRST:
        spaces = tuple(inputs[modality].fronts) + (inputs[modality].space.name,)
        radii = {space: tuple(comparable(Linf(radius), space) for radius in RADII) for space in spaces}
        jobs.append(
            Job(
                modality,
                encoder,
                DataSpec(options={"split": SPLIT, "n": count, "seed": seed}),
                spaces=spaces,
                budgets={} if full else radii,
                training=training,
                extra_tasks=(
                    ExtraTask("retrieval", limit=None if full else 10, everywhere=full, attacks=queries),
                    ExtraTask("illusion", limit=None if full else 10, everywhere=full, attacks=targeted),
                    ExtraTask("hub", limit=None if full else 10, everywhere=full, attacks=targeted),
                ),
                seed=seed,
            )
        )
    return jobs
