"""Rewrites the README's demo table, docs/demo.md and its pictures from a finished demo run, so that no number is typed
by hand.

make demo && .venv/bin/python scripts/refresh_docs.py runs/demo
"""

import sys
from pathlib import Path

from ironbind.core.default_budgets import default_budgets, headline_index
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Result, write_atomically
from ironbind.report.short_page import short_page
from ironbind.report.stored_runs import read_run

ROOT = Path(__file__).parent.parent


def table(result: Result) -> str:
    """Zero-shot Top-1 per modality and space at the headline radius, as a Markdown table."""
    calibrations = list(dict.fromkeys(record.name for record in result.calibrations))
    head = [
        "modality (space)",
        "clean",
        "attacked",
        *(cell for name in calibrations for cell in (f"`{name}`: clean", "replayed", "**adaptive**")),
    ]
    lines = []
    for modality, space in dict.fromkeys((row.modality, row.space) for row in result.rows):
        budgets = default_budgets(space)
        eps = budgets[headline_index(budgets, space)].written

        def top1(calibration: str, threat_model: str, eps: str, modality: str = modality, space: str = space) -> str:
            wanted = {
                "calibration": calibration,
                "threat_model": threat_model,
                "eps": eps,
                "modality": modality,
                "space": space,
            }
            return f"{result.value(task='zero_shot', metric='top1', **wanted):.1f}"

        cells = [top1("none", "clean", "0"), top1("none", "whitebox", eps)]
        for name in calibrations:
            cells += [top1(name, "clean", "0"), top1(name, "replayed", eps), f"**{top1(name, 'adaptive', eps)}**"]
        lines.append((f"{modality} ({space})", *cells))
    n = result.rows[0].n
    record = result.record
    seconds = f"{record['cpu_seconds']:.0f} s of CPU time"
    return f"{markdown_table(head, lines)}\n\nn = {n} per row, {record['machine']}, {seconds}, seed {record['seed']}."


INTRODUCTION = (
    "This page is written by `scripts/refresh_docs.py` from one run of `ironbind demo`. Everything that was measured, "
    "with what each check found, is in the folder of such a run: `report.html` and `report.md` to read, `table.csv` "
    "([columns](table.md)) and `verdicts.csv` to compute with. [What survives](what-survives.md) explains the two "
    "numbers, [checks](checks.md) what each check asks, [threat model](threat-model.md) who attacks."
)


def main(run: Path, root: Path = ROOT) -> None:
    result = Result.read(run)
    put(root / "README.md", "demo", table(result))
    page = short_page(read_run(run), "The demo: six modalities under attack", "demo", INTRODUCTION)
    for old in (root / "docs" / "demo").glob("*"):
        old.unlink()
    for picture in page.pictures:
        write_atomically(root / "docs" / "demo" / picture.name, picture.content)
    write_atomically(root / "docs" / "demo.md", page.markdown)
    print(f"README.md and docs/demo.md say what {run} found")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
