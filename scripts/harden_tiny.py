"""Train the adapters that ship with the built-in encoder, and write them, their card and their tables.

    python scripts/harden_tiny.py                             # two processes, about seven hours of one core; resumable
    python scripts/harden_tiny.py --export                    # (again) the shipped files from what is trained
    python scripts/harden_tiny.py --only image --full         # the yardstick: all weights of a tower, same samples
    python scripts/harden_tiny.py --evaluate                  # the strongest attack, tables of docs/what-survives.md
    python scripts/harden_tiny.py --foldable                  # the set without purifiers: one thread, at most 80 CPU
                                                              # minutes, one modality after the other; resumable
    python scripts/harden_tiny.py --foldable --export         # its shipped files, of the modalities that are trained
    python scripts/harden_tiny.py --small                     # the set below 1 % with a purifier, from what ships on;
                                                              # points and events are the foldable set's
    python scripts/harden_tiny.py --foldable --evaluate       # its card, by the same attack on the same test samples

One recipe for all six modalities (`hardened`: FGSM from a random start through everything, cross-entropy of both
inputs, distillation of the old clean embedding), then further parts from there, against a stronger attack and then more
radius, on samples of the built-in world that neither the encoder's training nor any audit has seen; COURSES says how
much of what, FOLDABLE_COURSES for the parts that can be folded into the weights (`hardened_foldable`, each below 1 % of
the encoder). Sounds are attacked as log-mels only: how the waveform fares shows what was not trained on.
"""

import argparse
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from hardened_evaluation import (
    CASES,
    EXPORTED,
    FULL,
    HEADS,
    ONE_PERCENT_PAGE,
    Case,
    claim,
    evaluate,
    evaluate_norms,
    found_of,
    index,
    write_tables,
)

from ironbind.attacks import APGD
from ironbind.calibration.calibrate import calibrate, joined
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.calibration.narrowing import reshaped
from ironbind.calibration.objectives import describe
from ironbind.core.markdown_tables import put
from ironbind.core.results import Result, Row
from ironbind.data import load_dataset
from ironbind.encoders.tiny.encoder import load
from ironbind.recipes.calibrations import FOLDABLE, SHAPE, full, hardened
from ironbind.runs.pretrained import SHIPPED, SHIPPED_FOLDABLE, SHIPPED_FOLDERS, SHIPPED_SMALL, from_pretrained
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.types import AdapterShape, CalibrationRecipe, Encoder

BATCH = 50
JUDGE = APGD(
    30, loss="ce"
)  # of the further training: PGD-10, the recipe's own, is kinder than the strongest attack by up to 14 points


@dataclass(frozen=True)
class Part:
    """One training by the recipe `hardened`, for so many steps of the optimiser; it goes on from where the part before
    it ended.
    """

    steps: int
    distillation: float = 8.0
    attack_steps: int = 1
    shape: AdapterShape = SHAPE
    radius: float = 1.0  # that the training attack may spend, as a multiple of the budget's
    learning_rate: float = 4e-3  # of further parts
    cosine: float = 0.0  # of new to old embeddings, below which a state is not chosen
    averaging: float = 0.0  # decay of the moving average that is kept instead (0: none)
    validations: int = 8  # beside the one at its start
    also: tuple[Case, ...] = ()  # whose budgets are attacked in turn with Linf


L2_HALF = CASES[1]
WIDE = replace(SHAPE, rank=16)  # grown from the rank before it
CLOUD = AdapterShape(
    rank=16, purifier=0
)  # the purifier of points costs as much as everything else together (docs/hardening.md)
WHOLE = replace(SHAPE, rank=80)  # at that rank every update is a full matrix: what limits is not their number any more
WHOLE_CLOUD = replace(CLOUD, rank=80)
COURSES = {
    "image": (
        Part(4000),
        Part(3000, 4.0, 2),
        Part(6000, 4.0, 2, WIDE, 1.5),
        Part(1200, 10.0, 2, WIDE, 1.5, 1e-3, 0.952),
        Part(1200, 8.0, 2, WHOLE, 1.5, 1.5e-3, 0.94, 0.998, 3, (L2_HALF,)),
    ),
    "video": (
        Part(3200),
        Part(3200, 8.0, 2),
        Part(4800, 8.0, 2, WIDE),
        Part(1200, 8.0, 2, WHOLE, 1.5, 1.5e-3, 0.0, 0.998, 2, (L2_HALF,)),
        Part(500, 16.0, 2, WHOLE, 1.5, 1e-3, 0.94, 0.99, 2, (L2_HALF,)),
    ),
    "audio": (
        Part(4000),
        Part(4400, 12.0, 2),
        Part(6000, 16.0, 2, WIDE),
        Part(3200, 8.0, 2, WHOLE, 1.5, 1.5e-3, averaging=0.998),
        Part(900, 12.0, 2, WHOLE, 1.5, 1.5e-3, 0.94, 0.998, 1, (L2_HALF,)),
    ),
    "point": (
        Part(7200, 3.0, 1, CLOUD),
        Part(2400, 3.0, 2, CLOUD),
        Part(6400, 6.0, 2, CLOUD),
        Part(2400, 4.0, 2, WHOLE_CLOUD, 1.5, 1.5e-3, 0.0, 0.998, 4),
        Part(400, 8.0, 2, WHOLE_CLOUD, 1.5, 1e-3, 0.93, 0.99, 2),
    ),
    "thermal": (
        Part(4000),
        Part(6400, 8.0, 2),
        Part(8000, 8.0, 2),
        Part(4000, 12.0, 2, WIDE, 1.5),
        Part(1600, 24.0, 2, WIDE, 1.5, 1e-3, 0.95),
        Part(1600, 8.0, 2, WHOLE, 1.5, 1.5e-3, 0.0, 0.998, 2, (L2_HALF,)),
        Part(600, 20.0, 2, WHOLE, 1.5, 1e-3, 0.93, 0.99, 2, (L2_HALF,)),
    ),
    "event": (Part(3200), Part(1600, 2.0), Part(2400, 2.0, 2, SHAPE, 2.0)),
}


def foldable_course(
    steps: int, last: int, distillation: tuple[float, float], radius: float = 1.0, cosine: float = 0.952
) -> tuple[Part, Part]:
    """Parts without a purifier: `steps`, then `last` that bring clean embeddings back to `cosine`."""
    first = Part(steps, distillation[0], 2, FOLDABLE, radius, averaging=0.998)
    return first, Part(last, distillation[1], 2, FOLDABLE, radius, 1e-3, cosine, 0.99)


SMALL = replace(FOLDABLE, rank=8, ranks={"stem": 28}, purifier=16)  # of 1 %, most for the purifier
SMALL_CLIP = replace(SMALL, purifier=11)  # reads 24 planes, with more parameters


def small_course(
    steps: int, distillation: tuple[float, float], radius: float, shape: AdapterShape = SMALL
) -> tuple[Part, Part]:
    """From the larger set's parts on, brought into a small `shape`: `steps`, then a fifth as many that bring clean
    embeddings back.
    """
    first = Part(steps, distillation[0], 2, shape, radius, 5e-3, averaging=0.998)
    return first, Part(steps // 5, distillation[1], 2, shape, radius, 1e-3, 0.952, 0.99, validations=3)


FOLDABLE_COURSES = {
    "video": foldable_course(3000, 500, (8.0, 12.0)),
    "audio": foldable_course(4000, 800, (8.0, 12.0)),
    "image": foldable_course(3000, 600, (6.0, 10.0), 1.25),
    "thermal": foldable_course(3000, 600, (8.0, 16.0), 1.25),
    "point": foldable_course(2400, 400, (3.0, 6.0), cosine=0.932),
    "event": foldable_course(1000, 200, (3.0, 6.0), 2.0),
}  # in the order of training
SMALL_COURSES = {
    "image": small_course(1500, (4.0, 10.0), 1.5),
    "video": small_course(1300, (6.0, 12.0), 1.25, SMALL_CLIP),
    "audio": small_course(1000, (8.0, 16.0), 1.5),
    "thermal": small_course(1000, (8.0, 16.0), 1.5),
}  # points and events are the foldable set's, which is below 1 % too
LONGEST_FIRST = ("video", "audio", "point", "thermal", "image", "event")


@dataclass(frozen=True)
class Plan:
    """What is trained and shipped under a name: a course per modality, the options of this script that mean it,
    whether it goes on from the larger set (else from nothing), and the modalities that it takes from the foldable one.
    """

    name: str
    courses: Mapping[str, tuple[Part, ...]]
    work: Path
    options: tuple[str, ...] = ()
    from_shipped: bool = False
    from_foldable: tuple[str, ...] = ()
    seed: int = 7  # of the world that first parts are trained on; each further part has the next

    @property
    def folder(self) -> Path:
        """Where it ships."""
        return SHIPPED_FOLDERS[self.name]

    @property
    def command(self) -> str:
        return shlex.join(["python", "scripts/harden_tiny.py", *self.options])


HARDENED = Plan(SHIPPED, COURSES, Path("runs/hardened"))
FOLDABLE_PLAN = Plan(SHIPPED_FOLDABLE, FOLDABLE_COURSES, Path("runs/hardened-foldable"), ("--foldable",))
SMALL_PLAN = Plan(
    SHIPPED_SMALL, SMALL_COURSES, Path("runs/hardened-small"), ("--small",), True, ("point", "event"), seed=17
)


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def recipe(
    name: str, part: Part, modality: str, further: bool, scale: float = 1.0, whole: bool = False
) -> CalibrationRecipe:
    """`hardened` (`whole`: `full`) as this part wants it, validated now and then on 300 samples of the split "tune".

    What goes `further` needs no warm-up, a lower learning rate, and a stricter judge.
    """
    steps = max(1, round(part.steps * scale))
    knobs: dict[str, Any] = {
        "distillation": part.distillation,
        "attack_steps": part.attack_steps,
        "radius": part.radius,
        "warm_up": 0.0 if further else 0.3,
        "shape": part.shape,
        "averaging": part.averaging,
        "also": tuple(case.budget(modality) for case in part.also),
    }
    made = full(steps=steps) if whole else hardened(name, steps=steps, **knobs)
    (stage,) = made.stages
    assert stage.adversarial_training is not None
    every = max(1, steps // part.validations)
    settings = replace(stage.adversarial_training, validation=300, every=every, cosine=part.cosine)
    stage = replace(stage, batch_size=BATCH, adversarial_training=settings)
    if further:
        settings = replace(settings, validation_attack=JUDGE)
        stage = replace(stage, learning_rate=part.learning_rate, adversarial_training=settings)
    return replace(made, stages=(stage,), samples=steps * BATCH)


def train(plan: Plan, modality: str, work: Path, scale: float, whole: bool, workers: int = 1) -> None:
    """One modality, in one thread, its samples rendered by a process beside it (`workers` 0: by itself); a killed run
    goes on where it was.
    """
    torch.set_num_threads(1)
    encoder = load()
    parts = plan.courses[modality]
    if whole:
        made = recipe(plan.name, parts[0], modality, False, scale, whole)
        train_on(encoder, modality, made, plan.seed, None, work, work / f"{FULL}{modality}", workers)
        return
    before = reshaped(from_pretrained(SHIPPED), modality, parts[0].shape) if plan.from_shipped else None
    for number, part in enumerate(parts):
        out = part_folder(plan, work, modality, number)
        if not (out / "calibration.json").exists():
            made = recipe(plan.name, part, modality, before is not None, scale)
            train_on(encoder, modality, made, plan.seed + number, before, work, out, workers)
        before = load_calibrated(encoder, out)


def part_folder(plan: Plan, work: Path, modality: str, number: int = -1) -> Path:
    """Where a part of a modality's training lies, the last by default."""
    return work / f"part-{number % len(plan.courses[modality]) + 1}" / modality


def trained(plan: Plan, work: Path) -> list[str]:
    """The modalities whose course is finished."""
    return [one for one in plan.courses if (part_folder(plan, work, one) / "calibration.json").exists()]


def train_on(
    encoder: Encoder,
    modality: str,
    made: CalibrationRecipe,
    seed: int,
    start: Calibrated | None,
    work: Path,
    out: Path,
    workers: int,
) -> None:
    """One calibration, its samples rendered from the world of this seed, into `out`."""
    last = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if what.startswith("harden") and (time.monotonic() - last > 30 or done == total):
            last = time.monotonic()
            log(f"{modality}: step {done} of {total}")

    log(f"{modality}: {made.samples:,} samples of the world with seed {seed}, {describe(made.stages[0].objective)}")
    data = load_dataset("world", split="train", n=made.samples, seed=seed)
    hard = calibrate(
        zero_shot(encoder, data, modality),
        made,
        data,
        start=start,
        cache=work / "cache",
        workers=workers,
        progress=tell,
    )
    hard.save(out)
    for step, clean, adaptive in hard.records[-1].curve:
        log(f"{modality}: after {step} steps clean {clean}, adaptive {adaptive} (validation)")
    log(f"{modality}: {hard.trainable():,} parameters, {hard.records[-1].cpu_seconds:.0f} CPU seconds")


def side_by_side(names: Sequence[str], work: Path, *options: str) -> None:
    """This script for one modality after the other, two at a time, each in a thread and process of its own. Raises
    SystemExit when one fails.
    """
    waiting, running = list(names), dict[str, subprocess.Popen[bytes]]()
    while waiting or running:
        while waiting and len(running) < 2:
            one = waiting.pop(0)
            command = [sys.executable, __file__, "--work", str(work), "--only", one, *options]
            running[one] = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        time.sleep(1)
        for one in [name for name, process in running.items() if process.poll() is not None]:
            if code := running.pop(one).returncode:
                raise SystemExit(f"{one} {' '.join(options)} ended with {code}")


def export(plan: Plan, work: Path) -> None:
    """The trained modalities as one calibrated encoder, in half precision, beside those that ship already; of parts
    that are the same as what ships, the numbers stay on the card.
    """
    encoder = load()
    shipped = from_pretrained(plan.folder, encoder) if plan.folder.exists() else None
    parts = {one: alone(shipped, one) for one in shipped.modalities} if shipped else {}
    before = {one: part.weights_sha256 for one, part in parts.items()}
    for one in trained(plan, work):
        parts[one] = load_calibrated(encoder, part_folder(plan, work, one)).rounded()
    foldable = from_pretrained(SHIPPED_FOLDABLE, encoder) if plan.from_foldable else None
    if foldable:
        parts |= {one: alone(foldable, one) for one in plan.from_foldable}
    for one, part in parts.items():  # evaluated one by one: training one further leaves what was found of others valid
        part.save(work / EXPORTED / one)
    same = {one for one, part in parts.items() if before.get(one) == part.weights_sha256}
    whole = joined([parts[one] for one in (*plan.courses, *plan.from_foldable) if one in parts])
    whole.made_by = plan.command
    kept, taken = (known.results if known else () for known in (shipped, foldable))
    whole.results = (
        *(row for row in kept if row.modality in same - {*plan.from_foldable}),
        *(_named(row, plan.name) for row in taken if row.modality in plan.from_foldable),
    )
    whole.save_pretrained(plan.folder)
    size = sum(one.stat().st_size for one in plan.folder.iterdir())
    log(f"{plan.folder}: {', '.join(whole.modalities)}; {whole.trainable():,} parameters, {size / 1e6:.2f} MB")


def _named(row: Row, name: str) -> Row:
    """A row of the foldable set's card as one of a set that takes its part."""
    return replace(row, calibration=name) if row.calibration == SHIPPED_FOLDABLE else row


def alone(whole: Calibrated, modality: str) -> Calibrated:
    """The parts of one modality."""
    return Calibrated(
        whole.backbone,
        {modality: whole.heads[modality]} if modality in whole.heads else {},
        whole.calibration,
        whole.kind,
        [record for record in whole.records if record.modality == modality],
        {modality: whole.adapters[modality]},
    )


def measure(plan: Plan, work: Path) -> None:
    """Attacks with all there is what ships without numbers on its card, writes the tables of the page (of sets below
    one percent those of docs/one-percent.md), and puts the numbers on the card.
    """
    whole = from_pretrained(plan.folder)
    known = {row.modality for row in whole.results if row.calibration == plan.name}
    new = [one for one in LONGEST_FIRST if one in whole.modalities and one not in known]
    for one in new:
        if not (work / EXPORTED / one).exists():  # nothing was trained here
            alone(whole, one).save(work / EXPORTED / one)
    side_by_side(new, work, "--evaluate", *plan.options)
    rows = [row for one in new for row in found_of(work, CASES[0], one).rows]
    whole.results += tuple(row for row in rows if row.calibration in ("none", plan.name))
    main = Result(plan.name, rows=list(whole.results), calibrations=list(whole.records))
    if plan is HARDENED:
        write_tables(work, main, new)
    else:
        put(ONE_PERCENT_PAGE, plan.options[0].strip("-"), f"{claim(main, plan.name)}\n\n{index(main, plan.name)}")
    whole.save_pretrained(plan.folder)
    log(f"numbers of {len(whole.results)} rows are on the card in {plan.folder}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--work", type=Path, help="where checkpoints and results go (default: runs/hardened[-foldable])"
    )
    parser.add_argument(
        "--only", choices=tuple(COURSES), help="train (or, with --evaluate, attack) this modality alone"
    )
    parser.add_argument("--scale-steps", type=float, default=1.0, help="shorten (0.1) or lengthen (2) the training")
    parser.add_argument("--foldable", action="store_true", help="the set whose parts can be folded into the weights")
    parser.add_argument(
        "--small", action="store_true", help="the set below 1 %% with a purifier, which goes on from what ships"
    )
    parser.add_argument(
        "--full", action="store_true", help="with --only: train all weights of the tower, which is not shipped"
    )
    parser.add_argument("--export", action="store_true", help="write the shipped files from what is trained and stop")
    parser.add_argument(
        "--evaluate", action="store_true", help="attack what is shipped, write tables and card, and stop"
    )
    parser.add_argument(
        "--without-heads", action="store_true", help="with --evaluate: leave the page's table of the paper's heads"
    )
    given = parser.parse_args()
    plan = SMALL_PLAN if given.small else FOLDABLE_PLAN if given.foldable else HARDENED
    one_thread = plan is not HARDENED
    work = given.work or plan.work
    if given.only and given.only not in plan.courses:
        parser.error(f"--only {given.only}: the set {plan.name} has {', '.join(plan.courses)}")
    if given.evaluate and given.only:
        torch.set_num_threads(1)
        evaluate(
            work, given.only, CASES[:1] if one_thread else CASES, () if one_thread or given.without_heads else HEADS
        )
        parts = plan.courses[given.only]
        if parts[-1].also:  # else what came before was trained within the same norm
            alone_within = max(number for number, part in enumerate(parts) if not part.also)
            evaluate_norms(work, given.only, part_folder(plan, work, given.only, alone_within))
        return
    if given.evaluate:
        measure(plan, work)
        return
    work.mkdir(parents=True, exist_ok=True)
    if given.only and not given.export:
        train(plan, given.only, work, given.scale_steps, given.full, workers=0 if one_thread else 1)
        return
    missing = [one for one in plan.courses if one not in trained(plan, work)]
    if one_thread and not given.export:
        for one in missing:
            train(plan, one, work, given.scale_steps, False, workers=0)
    elif not given.export:
        ordered = [one for one in LONGEST_FIRST if one in missing]
        side_by_side(ordered, work, "--scale-steps", str(given.scale_steps))
    export(plan, work)


if __name__ == "__main__":
    main()
