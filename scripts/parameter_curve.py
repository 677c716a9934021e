"""Adaptive gain over the number of parameters that train, for every input: docs/parameter-curve.md and its picture.

    python scripts/parameter_curve.py --out runs/parameter-curve             # an hour of one core; resumable
    python scripts/parameter_curve.py --out runs/parameter-curve --read      # page and picture, from what is measured
    python scripts/parameter_curve.py --steps 4 --samples 8 --only image --out /tmp/try --no-write

Of every input the same objective, attack, radius and samples; what trains goes from cores of rank 4 to all weights.
Beside them: the projection alone, and `hardened`, the recipe with a purifier and one step of attack. Then samples of
the split "test" at the headline radius, by the quick look (PGD-20 on margin and on cross-entropy).
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from markupsafe import Markup
from quick_look import BATCH, Kept, measure_into, measured, options, trained_into

import ironbind as ib
from ironbind.calibration.calibrated import load_calibrated
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import CalibrationRecord, Result, Row, write_atomically
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.recipes.calibrations import FOLDABLE, WHOLE, hardened
from ironbind.recipes.request import SIX
from ironbind.report.charts.svg import drawing, element, path
from ironbind.report.charts.svg_files import Titled, svg_file
from ironbind.types import AdapterShape, CalibrationRecipe

PAGE = Path(__file__).parents[1] / "docs" / "parameter-curve.md"
PICTURE = PAGE.with_suffix(".svg")
STEPS, SAMPLES = 160, 200
SHAPES: dict[str, AdapterShape] = {
    "cores 4 / 16": replace(FOLDABLE, rank=4, ranks={"stem": 16}),
    "cores 12 / 32": replace(FOLDABLE, rank=12, ranks={"stem": 32}),
    "cores 32 / 64": FOLDABLE,
    "all weights": WHOLE,
}  # the curve
PROJECTION = "projection alone"  # any linear head on the features before it, and more
RECIPE = "hardened"  # as it is
BESIDE = (PROJECTION, RECIPE)


def recipe(name: str, steps: int) -> CalibrationRecipe:
    """Of a row: `hardened`, or its objective and radius with one of SHAPES, against two steps of PGD."""
    if name == RECIPE:
        return hardened(steps=steps)
    shape = SHAPES.get(name, AdapterShape(rank=0, norms=False, purifier=0, ranks={"projection": 96}))
    return hardened(steps=steps, distillation=6.0, attack_steps=2, shape=shape, averaging=0.995)


def measure(out: Path, modality: str, steps: int, samples: int) -> None:
    """All rows of one input: trained on the same samples, then attacked."""
    data = Kept(ib.load_dataset("world", split="train", n=steps * BATCH, seed=7))
    asked = ib.load_dataset("world", split="test", n=samples, seed=0)
    store = VerdictStore(out / "store" / modality)
    for name in (*SHAPES, *BESIDE):
        place = place_of(out, modality, name)
        if measured(place):
            continue
        if not (place / "calibration.json").exists():
            data.decode(modality, range(len(data)))  # now, so that the first training is not charged with it
        hard = trained_into(place, replace(recipe(name, steps), name=place.name), modality, data, out / "cache")
        measure_into(place, ib.zero_shot(hard, asked, modality), store)
        print(f"{place.name}: {Point.read(out, modality, name)}", flush=True)
    store.close()


def place_of(out: Path, modality: str, name: str) -> Path:
    return out / "results" / f"{modality}-{name.replace(' / ', '-').replace(' ', '-')}"


@dataclass(frozen=True)
class Point:
    """One training: what was found of it, and its record."""

    before: Row
    clean: Row
    adaptive: Row
    record: CalibrationRecord

    @classmethod
    def read(cls, out: Path, modality: str, name: str) -> "Point":
        place = place_of(out, modality, name)
        rows = [row for row in Result.read(place).rows if row.metric == "top1"]
        found = {(row.calibration == "none", row.threat_model): row for row in rows}
        (record,) = load_calibrated(ib.load_encoder("tiny"), place).records
        return cls(found[True, "whitebox"], found[False, "clean"], found[False, "adaptive"], record)

    @property
    def gain(self) -> float:
        return self.adaptive.value - self.before.value

    def __str__(self) -> str:
        return f"clean {self.clean.value:.1f}, adaptive {self.adaptive.value:.1f}, {self.record.cpu_seconds:.0f} CPU s"


def points(out: Path) -> dict[str, dict[str, Point]]:
    """Those that are measured, by input and by name."""
    found = {
        one: {name: Point.read(out, one, name) for name in (*SHAPES, *BESIDE) if measured(place_of(out, one, name))}
        for one in SIX
    }
    return {one: of_input for one, of_input in found.items() if of_input}


def table(found: dict[str, dict[str, Point]]) -> str:
    head = ("input", "what trains", "parameters", "of the encoder", "clean", "attacked before",
            "**adaptive** (quick look)", "gain", "CPU s", "points per CPU minute")  # fmt: skip
    return markdown_table(head, [line for one, of_input in found.items() for line in _lines(one, of_input)])


def _lines(modality: str, found: dict[str, Point]) -> Iterator[Sequence[str]]:
    for name, point in found.items():
        low, high = point.adaptive.ci_low, point.adaptive.ci_high
        kept = "" if point.record.best_step else " (start kept)"
        yield (
            modality,
            (f"`{name}`" if name == RECIPE else name) + kept,
            f"{point.record.trainable:,}",
            f"{100 * point.record.trainable / point.record.encoder_parameters:.2f} %",
            f"{point.clean.value:.1f}",
            f"{point.before.value:.1f}",
            f"**{point.adaptive.value:.1f}** ({low:.1f}–{high:.1f})",
            f"{point.gain:+.1f}",
            f"{point.record.cpu_seconds:.0f}",
            f"{60 * point.gain / point.record.cpu_seconds:.1f}",
        )


# -------------------------------------------------------------------------------------------------------- the picture

WIDTH, HEIGHT, LEFT, BOTTOM = 300, 200, 34, 34
FEWEST, MOST = 1_500, 420_000


def picture(found: dict[str, dict[str, Point]]) -> str:
    """A panel per input: adaptive accuracy over parameters (logarithmic), the attacked encoder before as a dashed line,
    what stands beside the curve as rings.
    """
    panels = [Titled(one, _panel(one, of_input)) for one, of_input in found.items()]
    return svg_file(panels, 3, "adaptive accuracy over trained parameters, one panel per input")


def _panel(modality: str, found: dict[str, Point]) -> Markup:
    parts: list[Markup] = []
    top = 50 if max(point.adaptive.ci_high for point in found.values()) < 50 else 100

    def y_of(percent: float) -> float:
        return 8 + (HEIGHT - BOTTOM - 8) * (1 - percent / top)

    for percent in range(0, top + 1, top // 5):
        parts.append(_line(LEFT, y_of(percent), WIDTH, y_of(percent), "--rule"))
        parts.append(_text(str(percent), LEFT - 6, y_of(percent) + 4, "end"))
    for count in (2_000, 20_000, 200_000):
        parts.append(_text(f"{count:,}", _x(count), HEIGHT - BOTTOM + 18, "middle"))
    before = next(iter(found.values())).before.value
    parts.append(_line(LEFT, y_of(before), WIDTH, y_of(before), "--whitebox", "stroke-dasharray: 4 3"))
    places = [
        (_x(point.record.trainable), y_of(point.adaptive.value)) for name, point in found.items() if name in SHAPES
    ]
    parts.append(element("path", d=path(places), style="fill: none; stroke: var(--adaptive); stroke-width: 2"))
    for name, point in found.items():
        x, y = _x(point.record.trainable), y_of(point.adaptive.value)
        parts.append(
            _line(x, y_of(point.adaptive.ci_low), x, y_of(point.adaptive.ci_high), "--adaptive", "opacity: .5")
        )
        filled = "--adaptive" if name in SHAPES else "--page"
        title = element("title", f"{name}: {point.adaptive.value:.1f} %")
        style = f"fill: var({filled}); stroke: var(--adaptive); stroke-width: 1.5"
        parts.append(element("circle", title, cx=x, cy=y, r=4.5, style=style))
    return drawing(WIDTH + 8, HEIGHT, *parts, label=f"{modality}: adaptive accuracy over trained parameters")


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: str = "") -> Markup:
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, style=f"stroke: var({colour}); {more}".rstrip("; "))


def _text(text: str, x: float, y: float, anchor: str) -> Markup:
    return element("text", text, x=x, y=y, text_anchor=anchor, style="font: 12px var(--sans); fill: var(--soft)")


def _x(count: int) -> float:
    return LEFT + (WIDTH - LEFT) * math.log(count / FEWEST) / math.log(MOST / FEWEST)


def main() -> None:
    parser = options(__doc__, Path("runs/parameter-curve"), SAMPLES, ",".join(SIX))
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of {BATCH} samples each")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for modality in () if asked.read else asked.only.split(","):
        measure(asked.out, modality, asked.steps, asked.samples)
    found = points(asked.out)
    if asked.no_write:
        print(table(found))
    else:
        put(PAGE, "curve", table(found))
        write_atomically(PICTURE, picture(found))


if __name__ == "__main__":
    main()
