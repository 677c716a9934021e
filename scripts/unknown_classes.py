"""What training on class centers, on captions and on neither leaves for questions never trained on:
docs/unknown-classes.md.

    python scripts/unknown_classes.py --out runs/unknown-classes             # about 15 CPU minutes; resumable
    python scripts/unknown_classes.py --out runs/unknown-classes --read      # the page, from what is measured
    python scripts/unknown_classes.py --steps 4 --samples 8 --out /tmp/try --no-write

Three recipes of the same parts, attack, radius and samples: `hardened` (twenty class centers), `hardened_captions` (the
captions of a batch) and `fare` (the frozen embedding alone). Then samples never trained on, at the headline radius, by
the quick look (PGD-20 on margin and on cross-entropy).
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from quick_look import BATCH, measure_into, measured, options, trained_into

import ironbind as ib
from ironbind.calibration.calibrated import Calibrated
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Result
from ironbind.data.world.camera import COLOURS
from ironbind.data.world.dataset import CLASSES, World
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.recipes.calibrations import FOLDABLE, fare, hardened, hardened_captions, training_attack
from ironbind.types import CalibrationRecipe, Task

PAGE = Path(__file__).parents[1] / "docs" / "unknown-classes.md"
STEPS, SAMPLES = 400, 200
KNOBS: dict[str, Any] = {"shape": FOLDABLE, "averaging": 0.995}


def _fare(name: str = "fare", **knobs: Any) -> CalibrationRecipe:
    """`fare` against the attack of the other two."""
    made = fare(name, **knobs)
    return replace(made, stages=tuple(replace(stage, attack=training_attack(2)) for stage in made.stages))


RECIPES: dict[str, Callable[..., CalibrationRecipe]] = {
    "hardened": lambda **knobs: hardened(distillation=6.0, attack_steps=2, **knobs),
    "hardened_captions": lambda **knobs: hardened_captions(distillation=6.0, attack_steps=2, **knobs),
    "fare": _fare,
}


class ByColour:
    """The built-in world, asked for the colour of the thing: an attribute that every caption tells and no class name
    does.
    """

    classes = tuple(COLOURS)
    templates = tuple(f"a {{}} {shape}." for shape in CLASSES)

    def __init__(self, world: World) -> None:
        self.world = world
        self.labels = [self.classes.index(world.thing(row).colour) for row in range(len(world))]
        self.fingerprint = f"colours of {world.fingerprint}"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def __len__(self) -> int:
        return len(self.world)


def tasks(encoder: Any, modality: str, samples: int) -> dict[str, Task]:
    """The questions, by what they are called in the table."""

    def world(split: str) -> Any:
        return ib.load_dataset("world", split=split, n=samples, seed=0)

    return {
        "classes trained on": ib.zero_shot(encoder, world("test"), modality),
        "combinations never trained on": ib.zero_shot(encoder, world("held_out_combinations"), modality),
        "classes never trained on": ib.zero_shot(encoder, world("held_out_classes"), modality),
        "colours": ib.zero_shot(encoder, ByColour(world("test")), modality),
        "own caption of 200": ib.retrieval(encoder, world("test"), modality),
    }


def trained(out: Path, name: str, modality: str, steps: int) -> Calibrated:
    """The encoder hardened by a recipe of RECIPES, trained where it is not yet."""
    data = ib.load_dataset("world", split="train", n=steps * BATCH, seed=7)
    made = RECIPES[name](steps=steps, **KNOBS)
    return trained_into(out / "trained" / f"{modality}-{name}", made, modality, data, out / "cache")


def measure(out: Path, name: str, modality: str, samples: int, steps: int) -> None:
    """One recipe before all questions, each a result of its own in the folder."""
    hard, store = trained(out, name, modality, steps), VerdictStore(out / "store" / f"{modality}-{name}")
    for question, task in tasks(hard, modality, samples).items():
        place = place_of(out, name, modality, question)
        if not measured(place):
            measure_into(place, task, store)
            print(place.name, _cells(place, name), flush=True)
    store.close()


def place_of(out: Path, name: str, modality: str, question: str) -> Path:
    return out / "results" / f"{modality}-{name}-{question.replace(' ', '-')}"


def _cells(place: Path, name: str) -> list[str]:
    """Before: clean, attacked; after: clean, adaptive."""
    result = Result.read(place)
    metric = "top1" if result.select(metric="top1") else "R@1"
    asked = (("none", "clean"), ("none", "whitebox"), (name, "clean"), (name, "adaptive"))
    return [f"{result.value(calibration=who, threat_model=model, metric=metric):.1f}" for who, model in asked]


def table(out: Path, modalities: Sequence[str]) -> str:
    head = (
        "input",
        "question",
        "before: clean",
        "attacked",
        *(f"`{name}`: clean, adaptive (quick look)" for name in RECIPES),
    )
    lines = []
    encoder = ib.load_encoder("tiny")
    for modality in modalities:
        for question in tasks(encoder, modality, 8):
            places = {name: place_of(out, name, modality, question) for name in RECIPES}
            found = {name: _cells(place, name) for name, place in places.items() if measured(place)}
            if not found:
                continue
            before = next(iter(found.values()))[:2]
            after = [f"{found[name][2]}, **{found[name][3]}**" if name in found else "" for name in RECIPES]
            lines.append((modality, question, *before, *after))
    return markdown_table(head, lines)


def main() -> None:
    parser = options(__doc__, Path("runs/unknown-classes"), SAMPLES, "image")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--recipes", default=",".join(RECIPES), help="separated by commas")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for modality in () if asked.read else asked.only.split(","):
        for name in asked.recipes.split(","):
            measure(asked.out, name, modality, asked.samples, asked.steps)
    found = table(asked.out, asked.only.split(","))
    if asked.no_write:
        print(found)
    else:
        put(PAGE, "unknown", found)


if __name__ == "__main__":
    main()
