"""ironbind beside pyautoattack, Foolbox, adv-lib, torchattacks, SecML-Torch and ART, on the same model and images:
`peers.py [--only A,C] [--write]`.

A  APGD-CE, APGD-T, Square at equal passes: robust accuracy, CPU seconds, passes, peak memory
B  minimum-norm attacks, linf and l2: median norm, CPU seconds, passes
C  bindattack standard and AutoAttack standard, sample by sample and stage by stage
D  who keeps the budget on pictures, video, thermal and event frames, waveforms, spectrograms in dB, points
E  PGD-20 as people call it: CPU seconds

A library that is missing is a row that says so. Every row of A, B and C runs in a process of its own; what peers did is
kept under --out and used again as long as nothing it depends on has changed (--fresh: measured again), ours is always
measured. `--write` puts the tables into docs/benchmarks.md. Run it on an idle machine.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from against import ensemble, jobs, measured, minimum, speed, strength, violations
from against.contest import QUICK, Row, Settings
from against.subject import subject

from ironbind.core.markdown_tables import put

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
ROWS = {"A": strength, "B": minimum, "C": ensemble}
ALONE = {"D": (violations, 32), "E": (speed, 128)}  # with the number of samples that is enough there
PARTS = (*ROWS, *ALONE)


def all_rows(settings: Settings) -> list[Row]:
    return [row for part in ROWS.values() for row in part.rows(settings)]


def run_job(text: str) -> None:
    """A child's work: one row, its result as a JSON line."""
    asked = json.loads(text)
    settings = Settings(**asked["settings"])
    row = next(one for one in all_rows(settings) if one.label == asked["label"])
    print(f"\n{json.dumps(measured.measure(row, settings).held)}", flush=True)


def run_part(part: str, settings: Settings, asked: argparse.Namespace) -> str:
    """The Markdown of one part: what was measured on what, then its tables."""
    if part in ALONE:
        module, enough = ALONE[part]
        settings = replace(settings, samples=min(settings.samples, enough))
        loads = [os.getloadavg()[0]]
        text = module.report(settings)
        loads.append(os.getloadavg()[0])
    else:
        bench = jobs.Bench(
            Path(__file__), asked.out, settings, subject("image", settings.samples).identity, reuse=not asked.fresh
        )
        found = bench.run(ROWS[part].rows(settings))
        text = ROWS[part].report(settings, found)
        loads = [one.load for one in found.values() if not one.error]
    return f"{conditions(part, settings, loads)}\n\n{text}"


def conditions(part: str, s: Settings, loads: list[float]) -> str:
    what = f"{s.samples} samples of the built-in world in batches of {s.batch}, built-in encoder, seed {s.seed}"
    radius = f", linf {s.radius:g}/255" if part in "ACE" else ""
    rounds = f", {s.rounds} rounds" if part == "E" else ""
    load = f" Load of the machine {min(loads):.1f} to {max(loads):.1f}." if loads else ""
    return f"{what}{radius}{rounds}. {jobs.machine()}.{load}"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", default=",".join(PARTS), help="parts to run, e.g. A,C")
    for one in fields(Settings):
        kind = float if one.name == "radius" else int
        made.add_argument(
            f"--{one.name.replace('_', '-')}",
            type=kind,
            help=f"default {one.default}" + (" (of 255)" if kind is float else ""),
        )
    made.add_argument(
        "--quick", action="store_true", help="tiny numbers that say nothing, to see that it runs; writes nothing"
    )
    made.add_argument("--fresh", action="store_true", help="measure the peers again instead of taking what is kept")
    made.add_argument("--out", type=Path, default=Path("runs/peers"), help="where results are kept")
    made.add_argument("--write", action="store_true", help="put the tables into docs/benchmarks.md")
    made.add_argument("--job", help=argparse.SUPPRESS)
    return made


def settings_of(asked: argparse.Namespace) -> Settings:
    given = {one.name: getattr(asked, one.name) for one in fields(Settings) if getattr(asked, one.name) is not None}
    return replace(QUICK if asked.quick else Settings(), **given)


def main() -> None:
    asked = parser().parse_args()
    torch.set_num_threads(1)
    if asked.job:
        run_job(asked.job)
        return
    parts = asked.only.upper().split(",")
    if unknown := [one for one in parts if one not in PARTS]:
        sys.exit(f"--only {asked.only}: no part {', '.join(unknown)}; expected some of {', '.join(PARTS)}")
    settings = settings_of(asked)
    print(f"{jobs.machine()}\n{asdict(settings)}", file=sys.stderr)
    for part in parts:
        text = run_part(part, settings, asked)
        print(f"\n## {part}\n\n{text}\n", flush=True)
        if asked.write and not asked.quick:
            put(PAGE, f"peers {part}", text)


if __name__ == "__main__":
    main()
