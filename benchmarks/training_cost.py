"""CPU time of one step of adversarial training on a full-size network, by what trains: the table of docs/heads.md.

    python benchmarks/training_cost.py               # ImageBind's thermal tower, 86 million parameters; resumable
    python benchmarks/training_cost.py --modality image     # another one: 632 million, an hour and more
    python benchmarks/training_cost.py --write       # puts the table into the page

Random weights of the official sizes, which cost the same as real ones; built-in samples; the training attack is one
step (FGSM), a batch is BATCH samples. Every row is trained for one step and for 1 + STEPS in one process: the
difference is what STEPS cost, without loading and validation. The first row is the paper's protocol: PGD-10 on the
frozen encoder once per sample, then epochs of the head alone.
"""

import argparse
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch

import ironbind as ib
from ironbind.calibration.adapters import tower_parameters
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import CalibrationRecord
from ironbind.recipes.calibrations import (
    FOLDABLE,
    SHAPE,
    TRAINING_ATTACK,
    WHOLE,
    center_ce,
    hardened,
    hardened_head,
)
from ironbind.types import AdapterShape, CalibrationRecipe, Task

PAGE = Path(__file__).parents[1] / "docs" / "heads.md"
BATCH, STEPS = 4, 2
ALL = 100_000  # a rank that no layer reaches: its update is a full matrix
NOTHING = AdapterShape(rank=0, norms=False, purifier=0)
LAST_LAYER = "projection"  # of ImageBind's towers
ONCE, HEAD = "head of the embedding, examples crafted once", "head of the embedding"
_inside = partial(replace, NOTHING)
RECIPES: dict[str, CalibrationRecipe] = {
    HEAD: hardened_head(),
    "all of the last layer, which reads the trunk's features": hardened(shape=_inside(ranks={LAST_LAYER: ALL})),
    "norms": hardened(shape=_inside(norms=True)),
    "cores 32 / 64 and norms": hardened(shape=FOLDABLE),
    "rank 8, norms, purifier": hardened(shape=SHAPE),
    "all weights": hardened(shape=WHOLE),
}


@dataclass(frozen=True)
class Cost:
    """CPU seconds per sample of crafting and of fitting, the parameters that train, and all of their tower."""

    crafting: float
    fitting: float
    trained: int
    tower: int


def crafted_once(task: Task) -> Cost:
    """The paper's protocol: crafting once, and one epoch of the head."""
    made = center_ce(epochs=1)
    data = ib.load_dataset("world", split="train", n=BATCH, seed=7)
    (record,) = ib.calibrate(task, made, data, batch_size=BATCH).records
    tower = tower_parameters(task.encoder, task.modality)
    return Cost(record.craft_seconds / BATCH, record.fit_seconds / BATCH, record.trainable, tower)


def per_step(task: Task, recipe: CalibrationRecipe) -> Cost:
    """One step of the recipe."""
    short, long = (_record(task, recipe, steps) for steps in (1, 1 + STEPS))
    samples = STEPS * BATCH
    crafting, fitting = long.craft_seconds - short.craft_seconds, long.fit_seconds - short.fit_seconds
    return Cost(crafting / samples, fitting / samples, long.trainable, long.tower_parameters)


def _record(task: Task, recipe: CalibrationRecipe, steps: int) -> CalibrationRecord:
    (stage,) = recipe.stages
    assert stage.adversarial_training is not None
    training = replace(stage.adversarial_training, validation=BATCH, every=1 + STEPS, validation_attack=TRAINING_ATTACK)
    stage = replace(stage, steps=steps, batch_size=BATCH, adversarial_training=training)
    data, tune = (ib.load_dataset("world", split=split, n=steps * BATCH, seed=7) for split in ("train", "tune"))
    made = replace(recipe, stages=(stage,), samples=steps * BATCH)
    (record,) = ib.calibrate(task, made, data, tune=tune, workers=0).records
    return record


def measured(modality: str, out: Path) -> dict[str, Cost]:
    """The rows of ImageBind's tower of this input; those that lie in `out` are not measured again."""
    encoder = ib.load_encoder("imagebind-huge", weights="random", modalities=[modality, "text"])
    task = ib.zero_shot(encoder, ib.load_dataset("world", split="test", n=BATCH, seed=0), modality)
    found = {}
    for name, how in {
        ONCE: crafted_once,
        **{name: partial(per_step, recipe=one) for name, one in RECIPES.items()},
    }.items():
        path = out / modality / f"{re.sub('[^a-z0-9]+', '-', name.lower())}.json"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(asdict(how(task))), encoding="utf-8")
        found[name] = Cost(**json.loads(path.read_text(encoding="utf-8")))
        print(f"{name}: {found[name]}", flush=True)
    return found


def table(found: Mapping[str, Cost]) -> str:
    """Ratios are to the head that trains adversarially."""
    head = found[HEAD]
    lines = [
        (
            name,
            f"{cost.trained:,}",
            f"{100 * cost.trained / cost.tower:.2f} %",
            f"{cost.crafting:.2f}",
            f"{cost.fitting:.2f}",
            f"{(cost.crafting + cost.fitting) / (head.crafting + head.fitting):.2f}",
            f"{8 * cost.trained / 1e6:,.1f}",
        )
        for name, cost in found.items()
    ]
    return markdown_table(TITLES, lines)


TITLES = (
    "what trains", "parameters", "of its tower", "crafting, CPU s per sample", "fitting, CPU s per sample",
    "both, head = 1", "optimiser's state, MB",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modality", default="thermal", help="the tower of ImageBind that is trained")
    parser.add_argument("--out", type=Path, default=Path("runs/training-cost"), help="where measured rows are kept")
    parser.add_argument("--write", action="store_true", help="put the table into docs/heads.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = table(measured(given.modality, given.out))
    if given.write:
        put(PAGE, "cost", found)
    else:
        print(f"\n{found}")


if __name__ == "__main__":
    main()
