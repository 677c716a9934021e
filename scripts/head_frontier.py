"""The paper's heads along their frontier: clean against replayed against adaptive accuracy, docs/heads.md.

    python scripts/head_frontier.py --out runs/heads             # about 10 CPU minutes; resumable
    python scripts/head_frontier.py --out runs/heads --read      # the page, from what is measured
    python scripts/head_frontier.py --samples 8 --only image --out /tmp/try --no-write

Of every input and objective one head per weight of the frozen clean embeddings (`paper_v1(..., distillation=weight)`),
trained on TRAIN samples as the recipe says; then samples of the split "test" at the headline radius, replayed and
adaptively by the quick look (PGD-20 on margin and on cross-entropy): a head that falls to it has fallen.
"""

import os
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from quick_look import measure_into, measured, options

import ironbind as ib
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Result, Row
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.recipes.calibrations import PAPER_OBJECTIVES, paper_v1
from ironbind.recipes.request import SIX

PAGE = Path(__file__).parents[1] / "docs" / "heads.md"
WEIGHTS = (0.0, 1.0, 3.0, 10.0, 30.0, 100.0)
TRAIN, SAMPLES = 1000, 200
AFFORDED = 2.0  # points of clean accuracy


def measure(out: Path, modality: str, samples: int) -> None:
    """All heads of one input, each a result of its own in the folder."""
    encoder = ib.load_encoder("tiny")
    data = ib.load_dataset("world", split="test", n=samples, seed=0)
    task = ib.zero_shot(encoder, data, modality)
    train = ib.load_dataset("world", split="train", n=TRAIN, seed=0)
    store = VerdictStore(out / "store" / modality)
    for objective in PAPER_OBJECTIVES:
        for weight in WEIGHTS:
            place = place_of(out, modality, objective, weight)
            if measured(place):
                continue
            recipe = paper_v1(objective, distillation=weight)
            hard = ib.calibrate(task, replace(recipe, name=place.name), train, cache=out / "cache")
            result = measure_into(place, task.on(hard), store)
            shown = {model: result.value(metric="top1", calibration=place.name, threat_model=model) for model in MODELS}
            print(place.name, shown, flush=True)
    store.close()


MODELS = ("clean", "replayed", "adaptive")
TITLES = ("clean", "replayed", "adaptive (quick look)")


def place_of(out: Path, modality: str, objective: str, weight: float) -> Path:
    return out / "results" / f"{modality}-{objective}-{weight:g}"


class Point:
    """One head: its rows."""

    def __init__(self, folder: Path) -> None:
        result = Result.read(folder)
        rows = [row for row in result.select(metric="top1") if row.task == "zero_shot"]
        self.before = {row.threat_model: row for row in rows if row.calibration == "none"}
        self.after = {row.threat_model: row for row in rows if row.calibration == folder.name}

    def cells(self) -> list[str]:
        return [_shown(self.after[model]) for model in MODELS]


def _shown(row: Row) -> str:
    return f"{row.value:.1f}"


def tables(out: Path) -> tuple[str, str]:
    """What each objective reaches without the weight and with the least that costs at most AFFORDED points; all."""
    short, long = [], []
    for modality in SIX:
        for objective in PAPER_OBJECTIVES:
            places = [(weight, place_of(out, modality, objective, weight)) for weight in WEIGHTS]
            points = [(weight, Point(place)) for weight, place in places if measured(place)]
            if not points:
                continue
            before = points[0][1].before
            clean, attacked = before["clean"].value, before["whitebox"].value
            long += [[modality, objective, f"{weight:g}", *point.cells()] for weight, point in points]
            afforded = [pair for pair in points if pair[1].after["clean"].value >= clean - AFFORDED]
            kept = [f"{afforded[0][0]:g}", *afforded[0][1].cells()] if afforded else ["none of them", "", "", ""]
            short.append([modality, f"{clean:.1f}", f"{attacked:.1f}", objective, *points[0][1].cells(), *kept])
    without = (f"{title}, weight 0" for title in TITLES)
    head = ("input", "clean before", "attacked before", "objective", *without, "weight", *TITLES)
    return markdown_table(head, short), markdown_table(("input", "objective", "weight", *TITLES), long)


def main() -> None:
    asked = options(__doc__, Path("runs/heads"), SAMPLES, ",".join(SIX)).parse_args()
    torch.set_num_threads(1)
    for modality in () if asked.read else asked.only.split(","):
        measure(asked.out, modality, asked.samples)
    short, long = tables(asked.out)
    if asked.no_write:
        print(short, long, sep="\n\n")
    else:
        put(PAGE, "short", short)
        put(PAGE, "long", long)


if __name__ == "__main__":
    main()
