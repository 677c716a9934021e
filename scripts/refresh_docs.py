"""Rewrites the README's demo table and docs/demo.md from a finished demo run, so that no number is typed by hand.

make demo && .venv/bin/python scripts/refresh_docs.py runs/demo
"""

import sys
from pathlib import Path

from ironbind.core.default_budgets import default_budgets
from ironbind.core.markdown_tables import markdown_table, put
from ironbind.core.results import Result

ROOT = Path(__file__).parent.parent


def table(result: Result) -> str:
    """Zero-shot Top-1 per modality and space at the headline radius, as a Markdown table."""
    calibrations = list(dict.fromkeys(one.name for one in result.calibrations))
    head = [
        "modality (space)",
        "clean",
        "attacked",
        *(cell for one in calibrations for cell in (f"`{one}`: clean", "replayed", "**adaptive**")),
    ]
    lines = []
    for modality, space in dict.fromkeys((row.modality, row.space) for row in result.rows):
        rungs = default_budgets(space)
        eps = rungs[headline_index(rungs, space)].written

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
        for one in calibrations:
            cells += [top1(one, "clean", "0"), top1(one, "replayed", eps), f"**{top1(one, 'adaptive', eps)}**"]
        lines.append((f"{modality} ({space})", *cells))
    n = result.rows[0].n
    record = result.record
    spent = f"{record['wall_seconds']:.0f} s wall, {record['cpu_seconds']:.0f} s CPU"
    return f"{markdown_table(head, lines)}\n\nn = {n} per row, {record['machine']}, {spent}, seed {record['seed']}."


def main(run: Path) -> None:
    result = Result.read(run)
    put(ROOT / "README.md", "demo", table(result))
    (ROOT / "docs" / "demo.md").write_text((run / "report.md").read_text(encoding="utf-8"), encoding="utf-8")
    print(f"README.md and docs/demo.md say what {run} found")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
