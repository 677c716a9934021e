"""`lite` on real photographs: the tables of docs/real-photographs.md.

    python scripts/real_photographs.py attack --photographs imagenet-photos --out runs/photographs
    python scripts/real_photographs.py train --recipe fare --shape norms --photographs imagenet-photos --out ...
    python scripts/real_photographs.py autoattack ...
    python scripts/real_photographs.py tables --out runs/photographs    # writes what there is into the page

`--photographs`: a folder with one photograph, or more, in each of ImageNet's class folders (n01440764/...).
`--cifar10`: a folder with CIFAR-10's parquet files (Hugging Face's form), to train and audit on instead. The
photographs are cut once, by a seed: HELD_OUT are attacked and reported and never trained on, TUNE choose the state of
a training, the rest train. Every part keeps what it found under --out and goes on where it was.

Benchmarks' `against` drives pyautoattack (`pip install -r benchmarks/requirements.txt`).
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from ironbind.api import audit
from ironbind.attacks import PGD, bindattack
from ironbind.calibration.calibrate import calibrate
from ironbind.core.markdown_tables import put
from ironbind.data import load_dataset
from ironbind.data.listing import Listing
from ironbind.encoders import load_encoder
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.recipes.calibrations import fare, hardened
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.types import AdapterShape, CalibrationRecipe, Encoder, Linf

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "real-photographs.md"
SEED = 0
HELD_OUT, TUNE = 200, 32
RADII = ("0.15/255", "0.25/255", "0.5/255", "1/255", "2/255", "4/255", "8/255")
THIRD = "0.15/255"  # where about a third stands
BATCH = 16  # of an audit and of an optimiser step
NORMS = AdapterShape(rank=0, norms=True, purifier=0)
SHAPES = {
    "norms": NORMS,
    "rank1": AdapterShape(rank=1, norms=False, purifier=0),
    "rank4": AdapterShape(rank=4, norms=True, purifier=0),
    "weights": AdapterShape(rank=0, norms=False, purifier=0, weights=True),
}
RECIPES = {"fare": fare, "hardened": hardened}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("part", choices=("attack", "autoattack", "train", "tables"))
    made.add_argument("--photographs", type=Path, help="folder of class folders")
    made.add_argument("--cifar10", type=Path, help="train and audit on these pictures instead")
    made.add_argument("--out", type=Path, default=Path("runs/photographs"))
    made.add_argument("--samples", type=int, default=100, help="held-out samples to attack")
    made.add_argument("--recipe", choices=tuple(RECIPES), default="fare")
    made.add_argument("--shape", choices=tuple(SHAPES), default="norms")
    made.add_argument("--eps", default="0.5/255", help="radius to train and audit at")
    made.add_argument("--steps", type=int, default=60)
    return made


def photographs(folder: Path) -> tuple[Listing, Listing, Listing]:
    """Held out, for choosing, for training."""
    whole = load_dataset("imagenet", folder)
    order = torch.randperm(len(whole), generator=torch.Generator().manual_seed(SEED)).tolist()
    return (
        whole.keep(order[:HELD_OUT]),
        whole.keep(order[HELD_OUT : HELD_OUT + TUNE]),
        whole.keep(order[HELD_OUT + TUNE :]),
    )


def cifar10(folder: Path) -> tuple[Listing, Listing, Listing]:
    """The test split's pictures, and of the training split the first for choosing, the rest for training."""
    held = load_dataset("hf_datasets", folder, split="test")
    train = load_dataset("hf_datasets", folder, split="train")
    return held.keep(range(HELD_OUT)), train.keep(range(TUNE)), train.keep(range(TUNE, len(train)))


def data_of(asked: argparse.Namespace) -> tuple[Listing, Listing, Listing]:
    return cifar10(asked.cifar10) if asked.cifar10 else photographs(asked.photographs)


def told(what: str, done: int, total: int) -> None:
    print(f"{time.strftime('%H:%M:%S')} {time.process_time():.0f} CPU s: {what} {done} of {total}", flush=True)


def task_of(encoder: Encoder, data: Listing, samples: int | None = None) -> ZeroShot:
    return zero_shot(encoder, data if samples is None else data.keep(range(samples)), "image")


# ------------------------------------------------------------------------------------------------------- the parts


def attack(asked: argparse.Namespace) -> None:
    """The unprotected encoder at every radius, with all checks."""
    held_out, _, _ = data_of(asked)
    started = time.process_time()
    budgets = [Linf(radius) for radius in RADII]
    result = audit(
        task_of(load_encoder("lite"), held_out, asked.samples), bindattack("standard"), budgets,
        out=asked.out / "attack", batch_size=BATCH, progress=told, top_k=False,
    )  # fmt: skip
    note(
        asked.out / "attack",
        {"cpu_s": time.process_time() - started, "samples": asked.samples, "rows": len(result.rows)},
    )


def train(asked: argparse.Namespace) -> None:
    """One training, and the audit of what it trained on samples that it never saw."""
    data = "cifar10" if asked.cifar10 else "photographs"
    folder = asked.out / "-".join(["trained", data, asked.recipe, asked.shape, f"{asked.steps}steps"])
    held_out, tune, train_on = data_of(asked)
    encoder = load_encoder("lite")
    recipe = shortened(RECIPES[asked.recipe](shape=SHAPES[asked.shape], eps=asked.eps, seed=SEED), asked.steps)
    started = time.process_time()
    hard = calibrate(
        task_of(encoder, held_out), recipe, train_on, tune=tune, cache=folder / "cache", batch_size=BATCH, progress=told
    )
    trained = time.process_time()
    hard.save_pretrained(folder / "heads")
    audit(
        task_of(encoder, held_out, asked.samples).on(hard), bindattack("standard"), Linf(asked.eps),
        out=folder / "audit", batch_size=BATCH, progress=told,
    )  # fmt: skip
    note(
        folder,
        {
            "data": data, "recipe": asked.recipe, "shape": asked.shape, "steps": asked.steps, "eps": asked.eps,
            "trained": hard.trainable(), "training_samples": len(train_on), "batch": BATCH,
            "training_cpu_s": trained - started, "audit_cpu_s": time.process_time() - trained,
        },
    )  # fmt: skip


def shortened(recipe: CalibrationRecipe, steps: int) -> CalibrationRecipe:
    """As the recipe, in batches of BATCH, validated before, half-way and at the end on the TUNE photographs."""
    (stage,) = recipe.stages
    assert stage.adversarial_training is not None
    training = replace(
        stage.adversarial_training, validation=TUNE, every=max(1, steps // 2), validation_attack=PGD(steps=10)
    )
    stage = replace(stage, steps=steps, batch_size=BATCH, adversarial_training=training)
    return replace(recipe, stages=(stage,), samples=steps * BATCH)


def autoattack(asked: argparse.Namespace) -> None:
    """bindattack and AutoAttack standard on the same photographs, four at a time, kept as they come."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from against import ensemble, libraries
    from against.contest import Contest, Settings
    from against.meter import Cost
    from against.subject import Subject

    libraries.ready("pyautoattack")
    held_out, _, _ = data_of(asked)
    encoder = load_encoder("lite")
    task = task_of(encoder, held_out, asked.samples)
    radius = Linf(THIRD).radius
    folder = asked.out / "autoattack"
    folder.mkdir(parents=True, exist_ok=True)
    settings = Settings(samples=4, radius=255 * radius, batch=4, seed=SEED)
    for first in range(0, asked.samples, 4):
        path = folder / f"{first:04d}.json"
        if path.exists():
            continue
        rows = list(range(first, min(first + 4, asked.samples)))
        label = torch.tensor([task.dataset.labels[row] for row in rows])
        subject = Subject(
            "lite", task.space, task.load(rows), label, tuple(task.dataset.ids[row] for row in rows), task.embed,
            task.centers, encoder.model, encoder.weights_sha256,
        )  # fmt: skip
        found: dict[str, Any] = {"clean": (~subject.fallen(subject.x)).tolist()}
        for name in ("bindattack", "autoattack"):
            classifier, before = subject.classifier(), time.process_time()
            contest = Contest(classifier, subject, settings)
            if name == "bindattack":
                examples = ensemble.bindattack(contest).x
            else:
                examples = libraries.autoattack_standard(classifier, subject.x, label, radius, 4, SEED).x
            cost = sum(classifier.stages.values(), Cost())
            found[name] = {
                "stands": (~(subject.fallen(subject.x) | subject.fallen(examples))).tolist(),
                "passes": cost.passes, "cpu_s": time.process_time() - before,
                "radius": float((examples - subject.x).abs().max()),
            }  # fmt: skip
        path.write_text(json.dumps(found), encoding="utf-8")
        told(
            f"autoattack {found['autoattack']['stands']} bindattack {found['bindattack']['stands']}",
            first,
            asked.samples,
        )


def note(folder: Path, content: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "about.json").write_text(json.dumps(content, indent=1), encoding="utf-8")


# ------------------------------------------------------------------------------------------------------ the tables


def tables(out: Path, page: Path = PAGE) -> None:
    """Writes whatever was measured between the marks of the page."""
    put(page, "attack", attack_table(out / "attack"))


def main(arguments: Sequence[str] | None = None) -> None:
    asked = parser().parse_args(arguments)
    torch.set_num_threads(1)
    if asked.part == "tables":
        tables(asked.out)
        return
    {"attack": attack, "train": train, "autoattack": autoattack}[asked.part](asked)


if __name__ == "__main__":
    main()
