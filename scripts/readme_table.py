"""The README's table: what survives, of enough samples for an interval of five points either way.

    python scripts/readme_table.py                        # 400 samples per input; resumable; about 25 CPU minutes
    python scripts/readme_table.py --samples 8 --out /tmp/try --no-write   # a try that changes no page

The encoder, the calibrations and their training are those of `ironbind demo`, the attack is the default one, the
radius the headline one of each space. Samples are of the world's split "report", which nothing was trained on or chosen
by.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ironbind.core.default_budgets import HEADLINE, comparable, headline_of
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Result, Row
from ironbind.recipes.demo import SPLIT, demo
from ironbind.runs.job import Job
from ironbind.runs.progress import Progress
from ironbind.runs.run_jobs import run_jobs
from ironbind.types import Linf

ROOT = Path(__file__).parent.parent
SAMPLES = 400
MARK = "survived"  # of the table on the pages
PAGES = (ROOT / "README.md", ROOT / "docs" / "index.md")


def jobs(samples: int) -> list[Job]:
    """Those of the demo, at one radius and without its other tasks."""
    return [
        replace(
            job,
            budgets={space: (comparable(Linf(HEADLINE), space),) for space in job.spaces},
            extra_tasks=(),
            gallery_items=0,
        )
        for job in demo(samples=samples)
    ]


def cell(rows: Sequence[Row]) -> str:
    """One number; with the codes of the checks that did not pass."""
    (row,) = rows
    return f"{row.value:.1f}" + (f" ({row.checks})" if row.checks else "")


def table(result: Result) -> str:
    """Zero-shot Top-1 per modality and space at the headline radius, as a Markdown table, and what it is made of."""
    calibrations = list(dict.fromkeys(record.name for record in result.calibrations))
    head = ["modality (space)", "clean", "attacked"]
    for name in calibrations:
        head += [f"`{name}`: clean", "replayed", "**adaptive**"]
    top1, lines = result.select(task="zero_shot", metric="top1"), []
    for modality, space in dict.fromkeys((row.modality, row.space) for row in top1):
        here = [row for row in top1 if (row.modality, row.space) == (modality, space)]
        eps = headline_of([row.eps for row in here if row.eps != "0"], space)

        def one(calibration: str, threat_model: str, here: list[Row] = here, eps: str = eps) -> str:
            wanted = (calibration, threat_model, "0" if threat_model == "clean" else eps)
            return cell([row for row in here if (row.calibration, row.threat_model, row.eps) == wanted])

        cells = [one("none", "clean"), one("none", "whitebox")]
        for name in calibrations:
            cells += [one(name, "clean"), one(name, "replayed"), f"**{one(name, 'adaptive')}**"]
        lines.append((f"{modality} ({space})", *cells))
    widest = max(max(row.ci_high - row.value, row.value - row.ci_low) for row in top1)
    attacks = ", ".join(dict.fromkeys(row.attack for row in top1 if row.attack != "none"))
    record = result.record
    return (
        f"{markdown_table(head, lines)}\n\n"
        f"Percent; n = {top1[0].n} per row, split `{SPLIT}`, 95 % Wilson intervals of at most ±{widest:.1f} points; "
        f"attack: {attacks}; {record['machine']}, {record['cpu_seconds'] / 60:.0f} min of CPU time, "
        f"seed {record['seed']}."
    )


def say(event: Progress) -> None:
    if event.whole or not event.total:
        print(event.job, event.what if not event.total else f"{event.done} of {event.total} parts", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "readme-table")
    parser.add_argument("--samples", type=int, default=SAMPLES)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--no-write", action="store_true", help="print the table, change no page")
    given = parser.parse_args()
    run_jobs(jobs(given.samples), given.out, workers=given.workers, listener=say)
    made = table(Result.read(given.out))
    print(made)
    if not given.no_write:
        for page in PAGES:
            put(page, MARK, made)


if __name__ == "__main__":
    main()
