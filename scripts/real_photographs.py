"""`lite` on real photographs: the tables of docs/real-photographs.md.

    ironbind audit data --data PHOTOGRAPHS --encoder lite --limit 100 --eps 0.25/255,0.5/255,1/255,2/255,4/255,8/255 \\
        --out runs/photographs/attack
    python scripts/real_photographs.py clean --photographs PHOTOGRAPHS
    python scripts/real_photographs.py clean --cifar10 CIFAR10
    python scripts/real_photographs.py autoattack --photographs PHOTOGRAPHS
    python scripts/real_photographs.py train --recipe fare --shape norms --photographs PHOTOGRAPHS
    python scripts/real_photographs.py fresh --recipe fare --shape norms --photographs PHOTOGRAPHS   # once, at the end
    python scripts/real_photographs.py tables    # writes what there is into the page

`--photographs`: a folder with one photograph, or more, in each of ImageNet's class folders (n01440764/...).
`--cifar10`: a folder with CIFAR-10's parquet files (Hugging Face's form), to train and audit on instead. For training,
the photographs are cut once, by a seed: HELD_OUT are attacked and reported and never trained on, TUNE choose the state
of a training, the rest train. Every part keeps what it found under --out and goes on where it was.

Benchmarks' `against` drives pyautoattack (`pip install -r benchmarks/requirements.txt`).
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from ironbind.api import audit
from ironbind.attacks import PGD, bindattack
from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Result, Row
from ironbind.core.tables.intervals import Interval, wilson
from ironbind.data import load_dataset
from ironbind.data.listing import Listing
from ironbind.encoders import load_encoder
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.numerics.batching import batches
from ironbind.recipes.calibrations import fare, hardened
from ironbind.runs.prompted_tasks import zero_shot
from ironbind.types import AdapterShape, CalibrationRecipe, Encoder, Linf

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "real-photographs.md"
SEED = 0
HELD_OUT, TUNE = 200, 32
FRESH = 50  # the last of those held out
THIRD = "0.15/255"  # where about a third stands
BATCH = 16  # of an audit and of an optimiser step
TOWER = 4_652_008  # parameters of the picture network
SHAPES = {
    "norms": AdapterShape(rank=0, norms=True, purifier=0),
    "head": AdapterShape(rank=0, norms=False, purifier=0, ranks={"classifier": 1000}),  # of the 1280 features
    "rank1": AdapterShape(rank=1, norms=False, purifier=0),
    "rank4": AdapterShape(rank=4, norms=True, purifier=0),
    "weights": AdapterShape(rank=0, norms=False, purifier=0, weights=True),
}
RECIPES = {"fare": fare, "hardened": hardened}


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("part", choices=("clean", "autoattack", "train", "fresh", "tables"))
    made.add_argument("--photographs", type=Path, help="folder of class folders")
    made.add_argument("--cifar10", type=Path, help="train and audit on these pictures instead")
    made.add_argument("--out", type=Path, default=Path("runs/photographs"))
    made.add_argument("--samples", type=int, default=100, help="held-out samples to attack")
    made.add_argument("--whole", type=int, default=16, help="of them, that meet all of AutoAttack's four attacks")
    made.add_argument("--recipe", choices=tuple(RECIPES), default="fare")
    made.add_argument("--shape", choices=tuple(SHAPES), default="norms")
    made.add_argument("--eps", default="0.5/255", help="radius to train and audit at")
    made.add_argument("--steps", type=int, default=60)
    made.add_argument("--learning-rate", type=float, default=1.5e-3, help="of all weights a tenth")
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


def clean(asked: argparse.Namespace) -> None:
    """Top-1 of all photographs, or of the test split's first CIFAR-10 pictures, without an attack."""
    if asked.cifar10:
        task = task_of(load_encoder("lite"), load_dataset("hf_datasets", asked.cifar10, split="test"), asked.samples)
    else:
        task = task_of(load_encoder("lite"), load_dataset("imagenet", asked.photographs))
    right, started = 0, time.process_time()
    for rows in batches(range(len(task.dataset)), BATCH):
        with torch.no_grad():
            right += int((~task.goal(rows).reached(task.embed(task.load(rows)))).sum())
    name = "cifar10" if asked.cifar10 else "photographs"
    seconds = time.process_time() - started
    note(asked.out / "clean" / name, {"right": right, "n": len(task.dataset), "cpu_s": seconds})


def train(asked: argparse.Namespace) -> None:
    """One training, and the audit of what it trained on samples that it never saw."""
    folder = training_folder(asked)
    held_out, tune, train_on = data_of(asked)
    encoder = load_encoder("lite")
    recipe = RECIPES[asked.recipe](shape=SHAPES[asked.shape], eps=asked.eps, seed=SEED, averaging=0.95)
    rate = asked.learning_rate / 10 if asked.shape == "weights" else asked.learning_rate
    recipe = shortened(recipe, asked.steps, rate)
    started = time.process_time()
    hard = calibrate(
        task_of(encoder, held_out), recipe, train_on, tune=tune, cache=folder / "cache", batch_size=BATCH, progress=told
    )
    trained = time.process_time()
    hard.save_pretrained(folder / "heads")
    audited(hard, held_out.keep(range(asked.samples)), asked.eps, folder / "audit")
    note(
        folder,
        {
            "data": data_name(asked), "recipe": asked.recipe, "shape": asked.shape, "steps": asked.steps,
            "eps": asked.eps, "trained": hard.trainable(), "training_samples": len(train_on), "batch": BATCH,
            "learning_rate": rate, "curve": hard.records[-1].curve,
            "training_cpu_s": trained - started, "audit_cpu_s": time.process_time() - trained,
        },
    )  # fmt: skip


def data_name(asked: argparse.Namespace) -> str:
    return "cifar10" if asked.cifar10 else "photographs"


def training_folder(asked: argparse.Namespace) -> Path:
    how = [data_name(asked), asked.recipe, asked.shape, f"{asked.steps}steps", asked.eps.replace("/", "_")]
    return asked.out / "-".join(["trained", *how])


def fresh(asked: argparse.Namespace) -> None:
    """The audit of what `train` saved on the last held-out samples, which nothing else asks."""
    folder = training_folder(asked)
    held_out, _, _ = data_of(asked)
    hard = load_calibrated(load_encoder("lite"), folder / "heads")
    audited(hard, held_out.keep(range(HELD_OUT - FRESH, HELD_OUT)), asked.eps, folder / "fresh")


def audited(hard: Calibrated, data: Listing, eps: str, out: Path) -> None:
    """Before and after, under the strongest attack."""
    task = task_of(hard.backbone, data).on(hard)
    audit(task, bindattack("standard"), Linf(eps), out=out, batch_size=BATCH, progress=told)


def shortened(recipe: CalibrationRecipe, steps: int, learning_rate: float) -> CalibrationRecipe:
    """As the recipe, in batches of BATCH, validated at every quarter on the TUNE photographs."""
    (stage,) = recipe.stages
    assert stage.adversarial_training is not None
    training = replace(
        stage.adversarial_training, validation=TUNE, every=max(1, steps // 4), validation_attack=PGD(steps=10)
    )
    stage = replace(stage, steps=steps, batch_size=BATCH, learning_rate=learning_rate, adversarial_training=training)
    return replace(recipe, stages=(stage,), samples=steps * BATCH)


def autoattack(asked: argparse.Namespace) -> None:
    """bindattack and AutoAttack standard on the same photographs, four at a time, kept as they come. The first `whole`
    meet all of AutoAttack's attacks, the others its two with gradients alone: FAB-T and Square take four fifths of the
    time of a photograph that stands.
    """
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
        attacks = libraries.STANDARD if first < asked.whole else libraries.STANDARD[:2]
        found: dict[str, Any] = {"clean": (~subject.fallen(subject.x)).tolist(), "attacks": attacks}
        for name in ("bindattack", "autoattack"):
            classifier, before = subject.classifier(), time.process_time()
            contest = Contest(classifier, subject, settings)
            if name == "bindattack":
                examples = ensemble.bindattack(contest).x
            else:
                examples = libraries.autoattack_standard(classifier, subject.x, label, radius, 4, SEED, attacks).x
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


NOT_YET = "Not measured yet: `python scripts/real_photographs.py {}`."


def tables(out: Path, page: Path = PAGE) -> None:
    """Writes whatever was measured between the marks of the page."""
    put(page, "clean", clean_table(out / "clean") or NOT_YET.format("clean"))
    put(page, "attack", attack_table(out / "attack"))
    put(page, "autoattack", autoattack_text(out / "autoattack") or NOT_YET.format("autoattack"))
    put(page, "hardening", hardening_table(out) or NOT_YET.format("train"))


def percent(interval: Interval) -> str:
    return f"{100 * interval.value:.1f} ({100 * interval.low:.1f}–{100 * interval.high:.1f})"


def clean_table(folder: Path) -> str:
    lines = []
    for name, title in (("photographs", "photographs, 1000 classes"), ("cifar10", "CIFAR-10, 10 classes, zero-shot")):
        about = read_note(folder / name)
        if about:
            lines.append([title, percent(wilson(about["right"], about["n"])), about["n"]])
    return markdown_table(("pictures", "top-1 (95 %)", "n"), lines) if lines else ""


def attack_table(folder: Path) -> str:
    result = Result.read(folder)
    lines = [
        [row.eps if row.eps != "0" else "clean", shown(row), size_of(row.eps), row.n]
        for row in result.select(metric="top1", calibration="none")
    ]
    codes = [check.code for check in result.checks if check.status in ("warn", "fail")]
    silent = [check for check in result.checks if check.status == "pass" and check.code != "data"]
    alarms = f"Checks: {len(silent)} pass, {len(codes)} ring{' (' + ', '.join(codes) + ')' if codes else ''}, "
    alarms += f"{sum(check.status == 'skipped' for check in result.checks)} skipped."
    return f"{markdown_table(('Linf', 'top-1 (95 %)', 'PSNR at least (dB)', 'n'), lines)}\n\n{alarms}"


def size_of(eps: str) -> str:
    """The peak signal-to-noise ratio of a change of the whole radius in every pixel: no change has a lower one."""
    return "" if eps == "0" else f"{-20 * math.log10(Linf(eps).radius):.1f}"


def shown(row: Row) -> str:
    return f"{row.value:.1f} ({row.ci_low:.1f}–{row.ci_high:.1f})"


def autoattack_text(folder: Path) -> str:
    """One table: the photographs that met all of AutoAttack's attacks, those that met the first two, and both."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    parts = {
        "all four": [one for one in found if len(one["attacks"]) == 4],
        "APGD-CE, APGD-T": [one for one in found if len(one["attacks"]) == 2],
    }
    lines = [autoattack_line(name, part) for name, part in parts.items() if part]
    if len(lines) > 1:
        lines.append(autoattack_line("together", found))
    return markdown_table(AUTOATTACK, lines) if lines else ""


AUTOATTACK = (
    "AutoAttack's attacks", "n", f"stand at {THIRD}: bindattack", "AutoAttack", "verdicts agree", "fallen to ours only",
    "to AutoAttack only", "passes: bindattack", "AutoAttack", "ratio",
)  # fmt: skip


def autoattack_line(name: str, found: Sequence[dict[str, Any]]) -> list[Any]:
    ours = [stands for one in found for stands in one["bindattack"]["stands"]]
    theirs = [stands for one in found for stands in one["autoattack"]["stands"]]
    pairs = list(zip(ours, theirs, strict=True))
    passes, their_passes = (sum(one[who]["passes"] for one in found) for who in ("bindattack", "autoattack"))
    return [
        name, len(pairs), percent(wilson(sum(ours), len(ours))), percent(wilson(sum(theirs), len(theirs))),
        sum(a == b for a, b in pairs), pairs.count((False, True)), pairs.count((True, False)), f"{passes:,}",
        f"{their_passes:,}", f"{100 * passes / their_passes:.1f} %",
    ]  # fmt: skip


HARDENING = (
    "data", "recipe", "trains", "parameters", "steps", "clean before", "clean after", "cosine", "attacked before",
    "replayed", "adaptive", "fresh: before", "fresh: adaptive", "at", "n", "CPU s of training",
)  # fmt: skip


def hardening_table(out: Path) -> str:
    lines = []
    for folder in sorted(out.glob("trained-*")):
        about = read_note(folder)
        if not about:
            continue
        get = partial(top1, Result.read(folder / "audit"))
        before, cosine = get("none", "clean"), Result.read(folder / "audit").value(metric="cosine")
        share = f"{about['trained']:,} ({100 * about['trained'] / TOWER:.2f} %)"
        numbers = [get("none", "whitebox"), get(about["recipe"], "replayed"), get(about["recipe"], "adaptive")]
        new = Result.read(folder / "fresh") if (folder / "fresh" / "result.json").is_file() else None
        asked_once = (
            [shown(top1(new, "none", "whitebox")), shown(top1(new, about["recipe"], "adaptive"))] if new else ["", ""]
        )
        lines.append([
            about["data"], about["recipe"], about["shape"], share, about["steps"], shown(before),
            shown(get(about["recipe"], "clean")), f"{cosine:.3f}", *map(shown, numbers), *asked_once,
            about["eps"], before.n,
            f"{about['training_cpu_s']:.0f}",
        ])  # fmt: skip
    return markdown_table(HARDENING, lines) if lines else ""


def top1(result: Result, calibration: str, model: str) -> Row:
    (row,) = result.select(calibration=calibration, threat_model=model, metric="top1")
    return row


def read_note(folder: Path) -> dict[str, Any]:
    path = folder / "about.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def main(arguments: Sequence[str] | None = None) -> None:
    asked = parser().parse_args(arguments)
    torch.set_num_threads(1)
    if asked.part == "tables":
        tables(asked.out)
        return
    {"clean": clean, "train": train, "fresh": fresh, "autoattack": autoattack}[asked.part](asked)


if __name__ == "__main__":
    main()
