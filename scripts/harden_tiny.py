"""Train the adapters that ship with the built-in encoder, and write them, their card and their tables.

    python scripts/harden_tiny.py --work runs/hardened              # two processes, about three hours of one core; resumable
    python scripts/harden_tiny.py --work runs/hardened --export     # (again) the shipped files from what is trained
    python scripts/harden_tiny.py --work runs/hardened --only image --full   # the yardstick: all weights of a tower, on the same samples
    python scripts/harden_tiny.py --work runs/hardened --evaluate   # the strongest attack, and the tables of docs/what-survives.md

One recipe for all six modalities (`hardened`: FGSM from a random start through everything, cross-entropy of both inputs, distillation of the old
clean embedding), then for most a further part from there against a stronger attack, on samples of the built-in world that neither the encoder's
training nor any audit has seen; COURSES says how much of what. Sounds are attacked as log-mels only: how the waveform fares shows what was not
trained on.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from hardened_evaluation import FIRST, FULL, evaluate, write_tables

from ironbind.attacks import APGD
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.calibration.run import calibrate, joined
from ironbind.data import load_dataset
from ironbind.encoders.tiny import load
from ironbind.recipes.calibrations import full, hardened
from ironbind.recipes.hub import SHIPPED_FOLDER, from_pretrained
from ironbind.recipes.tasks import zero_shot
from ironbind.results import Result
from ironbind.types import AdapterShape, CalibrationRecipe, Encoder

BATCH = 50
VALIDATIONS = 8
JUDGE = APGD(30, loss="ce")  # of the further training: PGD-10, the recipe's own, is kinder than the strongest attack by up to 14 points


@dataclass(frozen=True)
class Course:
    """How one modality is trained: `steps` of the optimiser by the recipe `hardened`, then `further` ones on other samples from there."""

    steps: int
    further: int = 0
    first: dict[str, Any] = field(default_factory=dict)  # knobs of the recipe
    then: dict[str, Any] = field(default_factory=dict)


TWO_STEPS = {"attack_steps": 2}
POINTS = {"distillation": 3.0, "shape": AdapterShape(rank=16, purifier=0)}
COURSES = {
    "image": Course(4000, 3000, then={**TWO_STEPS, "distillation": 4.0}),
    "video": Course(3200, 3200, then=TWO_STEPS),
    "audio": Course(4000, 4400, then={**TWO_STEPS, "distillation": 12.0}),
    "point": Course(7200, 2400, first=POINTS, then={**POINTS, **TWO_STEPS}),
    "thermal": Course(4000, 6400, then=TWO_STEPS),
    "event": Course(3200, 1600, then={"distillation": 2.0}),
}
SEEDS = (7, 8)  # of the worlds that are trained on, first and further


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def recipe(modality: str, scale: float = 1.0, whole: bool = False, further: bool = False) -> CalibrationRecipe:
    """`hardened` (`whole`: `full`) at the length of this modality, validated now and then on 300 samples of the split "tune"."""
    course = COURSES[modality]
    steps = max(1, round((course.further if further else course.steps) * scale))
    made = (
        full(steps=steps)
        if whole
        else hardened("shipped", steps=steps, **course.then, warm_up=0.0)
        if further
        else hardened("shipped", steps=steps, **course.first)
    )
    (stage,) = made.stages
    assert stage.live is not None
    live = replace(stage.live, validation=300, every=max(1, steps // VALIDATIONS))
    if further:
        live = replace(live, judge=JUDGE)
    rate = 4e-3 if further else stage.learning_rate
    return replace(made, stages=(replace(stage, batch_size=BATCH, learning_rate=rate, live=live),), samples=steps * BATCH)


def train(modality: str, work: Path, scale: float, whole: bool) -> None:
    """One modality, in one thread, its samples rendered by a process beside it; a killed run goes on where it was."""
    torch.set_num_threads(1)
    encoder = load()
    if whole:
        train_on(encoder, modality, recipe(modality, scale, whole), SEEDS[0], None, work, work / f"{FULL}{modality}")
        return
    first = work / FIRST / modality
    if not (first / "calibration.json").exists():
        train_on(encoder, modality, recipe(modality, scale), SEEDS[0], None, work, first)
    start = load_calibrated(encoder, first)
    if COURSES[modality].further:
        train_on(encoder, modality, recipe(modality, scale, further=True), SEEDS[1], start, work, work / modality)
    else:
        start.save(work / modality)


def train_on(encoder: Encoder, modality: str, made: CalibrationRecipe, seed: int, start: Calibrated | None, work: Path, out: Path) -> None:
    """One calibration, its samples rendered from the world of this seed, into `out`."""
    last = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if what.startswith("harden") and (time.monotonic() - last > 30 or done == total):
            last = time.monotonic()
            log(f"{modality}: step {done} of {total}")

    data = load_dataset("world", split="train", n=made.samples, seed=seed)
    hard = calibrate(zero_shot(encoder, data, modality), made, data, start=start, cache=work / "cache", workers=1, progress=tell)
    hard.save(out)
    for step, clean, adaptive in hard.records[-1].curve:
        log(f"{modality}: after {step} steps clean {clean}, adaptive {adaptive} (validation)")


def train_all(work: Path, scale: float) -> None:
    """All modalities that are not done yet, two at a time, the longest first."""
    waiting = [one for one in ("video", "image", "audio", "thermal", "point", "event") if not (work / one / "calibration.json").exists()]
    running: dict[str, subprocess.Popen[bytes]] = {}
    while waiting or running:
        while waiting and len(running) < 2:
            one = waiting.pop(0)
            command = [sys.executable, __file__, "--work", str(work), "--only", one, "--scale-steps", str(scale)]
            running[one] = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
        time.sleep(1)
        for one in [name for name, process in running.items() if process.poll() is not None]:
            if code := running.pop(one).returncode:
                raise SystemExit(f"training of {one} ended with {code}")


def export(work: Path, folder: Path) -> None:
    """The trained modalities as one calibrated encoder, in half precision."""
    encoder = load()
    whole = joined([load_calibrated(encoder, work / one) for one in COURSES if (work / one / "calibration.json").exists()]).rounded()
    whole.made_by = "python scripts/harden_tiny.py"
    whole.save_pretrained(folder)
    size = sum(one.stat().st_size for one in folder.iterdir())
    log(f"{folder}: {', '.join(whole.modalities)}; {whole.trainable():,} parameters, {size / 1e6:.2f} MB")


def measure(work: Path, folder: Path) -> None:
    """Attacks what is shipped with all there is, writes the tables of the page, and puts the numbers on the card."""
    evaluate(work)
    write_tables(work)
    whole = from_pretrained(folder)
    found = Result.read(work / "evaluated-main").rows
    whole.results = tuple(row for row in found if row.calibration in ("none", whole.calibration))
    whole.save_pretrained(folder)
    log(f"numbers of {len(whole.results)} rows are on the card in {folder} and in docs/what-survives.md")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/hardened"), help="where checkpoints and results go")
    parser.add_argument("--only", choices=tuple(COURSES), help="train this modality alone")
    parser.add_argument("--scale-steps", type=float, default=1.0, help="shorten (0.1) or lengthen (2) the training")
    parser.add_argument("--full", action="store_true", help="with --only: train all weights of the tower, which is not shipped")
    parser.add_argument("--export", action="store_true", help="write the shipped files from what is trained and stop")
    parser.add_argument("--evaluate", action="store_true", help="attack what is shipped, write tables and card, and stop")
    given = parser.parse_args()
    if given.evaluate:
        measure(given.work, SHIPPED_FOLDER)
        return
    given.work.mkdir(parents=True, exist_ok=True)
    if given.only and not given.export:
        train(given.only, given.work, given.scale_steps, given.full)
        return
    if not given.export:
        train_all(given.work, given.scale_steps)
    export(given.work, SHIPPED_FOLDER)


if __name__ == "__main__":
    main()
