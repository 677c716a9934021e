"""What can be certified: the built-in encoder, plain and with adapters trained under noise, by randomised smoothing.

    python benchmarks/certificates.py --runs DIR --only image,audio    # trains and certifies; goes on where it stopped
    python benchmarks/certificates.py --runs DIR --attack image        # attacks certified samples within their radius
    python benchmarks/certificates.py --runs DIR --write               # the tables of docs/certificates.md

One thread. About a minute of CPU time per case for training and as much for certificates; passes are counted and told.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import ironbind as ib
from ironbind.attacks import EOT, FMN, PGD
from ironbind.calibration.calibrate import calibrate
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.certification.smoothing import Smoothing
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Result, Row, write_atomically
from ironbind.core.tables.intervals import wilson
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.protocols.certified import INSIDE, CertifiedRadius, TopK, certified_evaluators
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.numerics.norms import enforce
from ironbind.numerics.sample_random import PerSample
from ironbind.recipes.calibrations import hardened
from ironbind.types import L2, SNR, Budget, CalibrationRecipe

PAGE = Path(__file__).parents[1] / "docs" / "certificates.md"
DRAWS = 500
FIRST, SECOND = ("0.25", "0.5", "1.0"), ("40", "30", "20")


@dataclass(frozen=True)
class Case:
    """One training, in one space, and the noise under which it is certified. `radius` of the training attack, as a
    share of 4/255 (0: noise alone).
    """

    modality: str
    space: str
    noise: float
    sigmas: tuple[float, ...]
    radius: float = 1.0

    @property
    def name(self) -> str:
        kind = "noise" if not self.radius else "hardened"
        return f"{self.modality}-{self.space}-{kind}{self.noise:g}"

    @property
    def trained(self) -> str:
        """How the table calls it."""
        return f"noise {self.noise:g}" + (" and examples" if self.radius else " alone")

    @property
    def radii(self) -> tuple[Budget, ...]:
        decibels = tuple(SNR(radius) for radius in SECOND) if self.space == "waveform" else ()
        return (*(L2(radius) for radius in FIRST), *decibels)


FRESH = 100_000  # seeds of worlds that nothing else is made of
CASES = (
    Case("image", "pixels", 0.25, (0.25,)),
    Case("audio", "waveform", 0.25, (0.25, 0.1)),
    Case("image", "pixels", 0.25, (0.25,), radius=0.0),
    Case("image", "pixels", 0.5, (0.5,)),
    Case("event", "event_frames", 0.25, (0.25,)),
    Case("thermal", "pixels", 0.25, (0.25,)),
    Case("point", "unit_sphere", 0.25, (0.25,)),
    Case("video", "pixels", 0.25, (0.25,)),
)


def recipe_of(case: Case, steps: int) -> CalibrationRecipe:
    """The shipped recipe with this noise in the space of the case, whatever that is."""
    recipe = hardened(case.name, noise=case.noise, radius=case.radius, steps=steps)
    stages = []
    for stage in recipe.stages:
        assert stage.adversarial_training is not None
        training = replace(stage.adversarial_training, noise={"": case.noise})
        stages.append(replace(stage, adversarial_training=training))
    return replace(recipe, stages=tuple(stages))


def task_of(case: Case, n: int, split: str = "test") -> ZeroShot:
    data = ib.load_dataset("world", split=split, n=n)
    return ib.zero_shot(ib.load_encoder("tiny"), data, case.modality, space=case.space)


def trained(case: Case, folder: Path, steps: int) -> Calibrated:
    """Its adapters, from the folder where they are there."""
    place = folder / "heads" / case.name
    if not (place / "calibration.json").exists():
        recipe = recipe_of(case, steps)
        task = task_of(case, recipe.samples, "train")
        calibrate(task, recipe, task.dataset, cache=folder / "cache").save(place)
    return load_calibrated(ib.load_encoder("tiny"), place)


def measure(case: Case, folder: Path, steps: int, n: int) -> None:
    """Certificates and nearest examples of the plain encoder and of the trained one, as results in the folder."""
    hard, task = trained(case, folder, steps), task_of(case, n)
    store = ib.VerdictStore(folder / "store")
    for sigma in case.sigmas:
        place = folder / "results" / f"{case.name}-{sigma:g}"
        if not (place / "result.json").exists():
            by = Smoothing(sigma, draws=DRAWS)
            result = ib.certify(task.on(hard), by, case.radii, store=store)
            pairs = certified_evaluators(task.on(hard), by, (), RunContext(store))
            result.record["certificate_passes"] = [
                sum(
                    verdict.forward_passes
                    for number in range(len(radii.strengths))
                    for verdict in radii.verdicts_at(number).values()
                )
                for radii, _ in pairs
            ]
            result.calibrations += hard.records
            result.write(place)
    place = folder / "results" / f"{case.name}-attacked"
    if not (place / "result.json").exists():
        norms = {budget.norm for budget in case.radii}
        budgets = sorted(
            (budget for budget in case.radii if budget.norm == ("snr" if "snr" in norms else "l2")),
            key=lambda budget: budget.radius,
        )
        ib.curve(task.on(hard), FMN(50), budgets[-1], budgets, store=store, checks=False).write(place)
    store.close()


def attack(case: Case, folder: Path, steps: int, n: int, starts: int = 4) -> None:
    """EOT-PGD from several random starts on every certified sample, within its own radius; what is refuted is told.

    Samples of a split of their own, short certificates (they reach less far, but hold as well). Kept block by block.
    """
    path, block = folder / f"attacked-{case.name}.json", 25
    found = (
        json.loads(path.read_text(encoding="utf-8"))
        if path.exists()
        else {"tried": 0, "certified": 0, "attacked": 0, "broken": []}
    )
    task = task_of(case, block).on(trained(case, folder, steps))
    sigma, seed = case.sigmas[0], 1
    by, strongest = (
        Smoothing(sigma, draws=150, selection=20),
        EOT(PGD(5, step_size=0.5, stop_when_reached=False), draws=2),
    )
    found["knobs"] = {"certifier": repr(by), "attack": repr(strongest), "starts": starts}
    for first in range(found["tried"], n, block):
        part = task.over(ib.load_dataset("world", split="train", n=min(block, n - first), seed=FRESH + first))
        store = ib.VerdictStore()
        evaluator = Evaluator(part, CertifiedRadius(by, (TopK(1),)), RunContext(store, seed))
        for index, (sample, verdict) in enumerate(evaluator.verdicts_at(0).items()):
            if not verdict.distance:
                continue
            x, within = part.load([index]), L2(INSIDE * verdict.distance)
            rows = torch.zeros(starts, dtype=torch.long)
            rng = PerSample.of(seed, [f"{sample} start {start}" for start in range(starts)], "attack certificates")
            embed = by.attacked(part.embed, seed, sample)
            y = strongest(embed, x[rows], part.goal([index])[rows], part.space, within, rng).x
            enforce(y, x[rows], part.space, within)
            found["certified"] += 1
            for start in range(starts):
                refuted, _ = by.refuted(part, index, y[start : start + 1], 1, seed + start, 64)
                found["attacked"] += 1
                found["broken"] += [f"{sample} start {start}"] if refuted else []
        store.close()
        found["tried"] = min(first + block, n)
        write_atomically(path, json.dumps(found, indent=1))


# ------------------------------------------------------------------------------------------------------------- the page


def tables(folder: Path) -> tuple[str, str]:
    """One line per encoder and noise, and what it cost."""
    lines, costs = [], []
    for case in CASES:
        places = [folder / "results" / f"{case.name}-{sigma:g}" for sigma in case.sigmas]
        attacked = folder / "results" / f"{case.name}-attacked"
        present = [place for place in places if (place / "result.json").exists()]
        for place, sigma in zip(places, case.sigmas, strict=True):
            if place not in present:
                continue
            result = Result.read(place)
            beside = Result.read(attacked) if (attacked / "result.json").exists() else Result("")
            for calibration in ("none", case.name):
                name = "plain" if calibration == "none" else case.trained
                certified = [row for row in result.rows if row.calibration == calibration]
                lines += _lines(
                    case, sigma, name, certified, [row for row in beside.rows if row.calibration == calibration]
                )
            costs.append(_cost(case, sigma, result))
    head = ("input", "noise sigma", "trained under", "n", "clean", "norm", *(" / ".join(pair) for pair in HEADS))
    cost = (
        "input",
        "noise sigma",
        "trained under",
        "parameters",
        "share",
        "samples seen",
        "passes, plain / trained",
        "C19",
    )
    return markdown_table(head, list(dict.fromkeys(lines))), markdown_table(cost, costs)


HEADS = tuple((first, f"{second} dB") for first, second in zip(FIRST, SECOND, strict=True))


def _lines(
    case: Case, sigma: float, name: str, certified: Sequence[Row], beside: Sequence[Row]
) -> list[tuple[str, ...]]:
    clean = next(row for row in certified if row.metric == "top1")
    lines = []
    for norm in dict.fromkeys(budget.norm for budget in case.radii):
        cells = []
        for budget in (each for each in case.radii if each.norm == norm):
            fits = [
                row for row in certified if (row.metric, row.norm, row.eps) == ("certified_top1", norm, budget.written)
            ]
            left = [row for row in beside if (row.metric, row.norm, row.eps) == ("top1", norm, budget.written)]
            empirical = f"; attacked {left[0].value:.0f}" if left else ""
            cells.append(f"{_share(fits[0])}{empirical}")
        lines.append(
            (f"{case.modality} ({case.space})", f"{sigma:g}", name, str(clean.n), f"{clean.value:.0f}", norm, *cells)
        )
    return lines


def _share(row: Row) -> str:
    return f"{row.value:.0f} ({row.ci_low:.0f} to {row.ci_high:.0f})"


def _cost(case: Case, sigma: float, result: Result) -> tuple[str, ...]:
    record = result.calibrations[0]
    checks = ", ".join(
        f"{check.status}: {check.detail.partition(' certified')[0]}" for check in result.checks if check.code == "C19"
    )
    return (
        f"{case.modality} ({case.space})",
        f"{sigma:g}",
        case.trained,
        f"{record.trainable:,}",
        f"{100 * record.trainable / record.encoder_parameters:.1f} %",
        f"{record.samples_seen:,}",
        " / ".join(f"{passes:,}" for passes in result.record["certificate_passes"]),
        checks,
    )


def said_of_attacks(folder: Path) -> str:
    lines: list[Any] = []
    for case in CASES:
        path = folder / f"attacked-{case.name}.json"
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            share = wilson(len(found["broken"]), max(1, found["attacked"]))
            lines.append(
                (
                    f"{case.modality} ({case.space})",
                    f"{case.sigmas[0]:g}",
                    f"{found['tried']:,}",
                    f"{found['certified']:,}",
                    f"{found['attacked']:,}",
                    f"{len(found['broken'])} (0 to {100 * share.high:.2f} %)"
                    if not found["broken"]
                    else len(found["broken"]),
                )
            )
    if not lines:
        return "Not run yet."
    return markdown_table(("input", "noise sigma", "samples", "certified", "attacked examples", "broken"), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="folder of what is trained and measured")
    parser.add_argument("--only", default="", help="modalities, or names of cases, separated by commas")
    parser.add_argument("--attack", default="", help="of which to attack certified samples")
    parser.add_argument("--steps", type=int, default=500, help="optimiser steps of a training that is not there yet")
    parser.add_argument("--samples", type=int, default=100, help="that are certified")
    parser.add_argument("--attacked", type=int, default=4000, help="samples of --attack")
    parser.add_argument("--write", action="store_true", help="write the page from what is measured")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    for case in CASES:
        if {case.modality, case.name} & set(asked.only.split(",")):
            measure(case, asked.runs, asked.steps, asked.samples)
            print(f"{case.name}: measured", flush=True)
        if {case.modality, case.name} & set(asked.attack.split(",")):
            attack(case, asked.runs, asked.steps, asked.attacked)
            print(f"{case.name}: attacked", flush=True)
    if asked.write:
        table, cost = tables(asked.runs)
        put(PAGE, "certified", table)
        put(PAGE, "cost", cost)
        put(PAGE, "attacked", said_of_attacks(asked.runs))


if __name__ == "__main__":
    main()
