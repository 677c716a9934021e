"""Train the adapters that ship with the built-in encoder, and write them, their card and their tables.

    python scripts/harden_tiny.py --work runs/hardened              # two processes, about three hours of one core; resumable
    python scripts/harden_tiny.py --work runs/hardened --export     # (again) the shipped files from what is trained
    python scripts/harden_tiny.py --work runs/hardened --only image --full   # the yardstick: all weights of a tower, on the same samples
    python scripts/harden_tiny.py --work runs/hardened --evaluate   # the strongest attack, and the tables of docs/what-survives.md

One recipe for all six modalities (`hardened`: FGSM from a random start through everything, cross-entropy of both inputs, distillation of the old
clean embedding), on samples of the built-in world that neither the encoder's training nor any audit has seen. Sounds are attacked as log-mels only:
how the waveform fares shows what was not trained on.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from hardened_evaluation import FULL, evaluate, write_tables

from ironbind.calibration.calibrated import load_calibrated
from ironbind.calibration.run import calibrate, joined
from ironbind.data import load_dataset
from ironbind.encoders.tiny import load
from ironbind.recipes.calibrations import full, hardened
from ironbind.recipes.hub import SHIPPED_FOLDER, from_pretrained
from ironbind.recipes.tasks import zero_shot
from ironbind.results import Result
from ironbind.types import CalibrationRecipe

SEED = 7  # of the world that is trained on
BATCH = 50
STEPS = {"image": 4000, "video": 3200, "audio": 4000, "point": 3200, "thermal": 4000, "event": 3200}  # of the optimiser
VALIDATIONS = 8


def log(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)


def recipe(modality: str, scale: float = 1.0, whole: bool = False) -> CalibrationRecipe:
    """`hardened` (`whole`: `full`) at the length of this modality, validated now and then on 300 samples of the split "tune"."""
    steps = max(1, round(STEPS[modality] * scale))
    made = full(steps=steps) if whole else hardened("shipped", steps=steps)
    (stage,) = made.stages
    assert stage.live is not None
    assert stage.steps is not None
    live = replace(stage.live, validation=300, every=max(1, stage.steps // VALIDATIONS))
    return replace(made, stages=(replace(stage, batch_size=BATCH, live=live),), samples=stage.steps * BATCH)


def train(modality: str, work: Path, scale: float, whole: bool) -> None:
    """One modality, in one thread, its samples rendered by a process beside it; a killed run goes on where it was."""
    torch.set_num_threads(1)
    made, last = recipe(modality, scale, whole), time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        nonlocal last
        if what.startswith("harden") and (time.monotonic() - last > 30 or done == total):
            last = time.monotonic()
            log(f"{modality}: step {done} of {total}")

    data = load_dataset("world", split="train", n=made.samples, seed=SEED)
    hard = calibrate(zero_shot(load(), data, modality), made, data, cache=work / "cache", workers=1, progress=tell)
    hard.save(work / (f"{FULL}{modality}" if whole else modality))
    for step, clean, adaptive in hard.records[0].curve:
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
    whole = joined([load_calibrated(encoder, work / one) for one in STEPS if (work / one / "calibration.json").exists()]).rounded()
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
    parser.add_argument("--only", choices=tuple(STEPS), help="train this modality alone")
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
