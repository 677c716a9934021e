"""Rewrites the README's demo table and docs/demo.md from a finished demo run, so that no number is typed by hand.

make demo && .venv/bin/python scripts/refresh_docs.py runs/demo
"""

import sys
from pathlib import Path

from ironbind.recipes.budgets import headline, ladder
from ironbind.results import Result

ROOT = Path(__file__).parent.parent


def table(result: Result) -> str:
    """Zero-shot Top-1 per modality and space at the headline radius, as a Markdown table."""
    calibrations = list(dict.fromkeys(one.name for one in result.calibrations))
    heads = "".join(f" `{one}`: clean | replayed | **adaptive** |" for one in calibrations)
    lines = [f"| modality (space) | clean | attacked |{heads}", "|---" * (3 + 3 * len(calibrations)) + "|"]
    for modality, space in dict.fromkeys((row.modality, row.space) for row in result.rows):
        rungs = ladder(space)
        eps = rungs[headline(rungs, space)].written

        def top1(calibration: str, threat_model: str, eps: str, modality: str = modality, space: str = space) -> str:
            wanted = {"calibration": calibration, "threat_model": threat_model, "eps": eps, "modality": modality, "space": space}
            return f"{result.value(task='zero_shot', metric='top1', **wanted):.1f}"

        cells = [top1("none", "clean", "0"), top1("none", "whitebox", eps)]
        for one in calibrations:
            cells += [top1(one, "clean", "0"), top1(one, "replayed", eps), f"**{top1(one, 'adaptive', eps)}**"]
        lines.append(f"| {modality} ({space}) | " + " | ".join(cells) + " |")
    n = result.rows[0].n
    record = result.record
    lines += [
        "",
        f"n = {n} per row, {record['machine']}, {record['wall_seconds']:.0f} s wall, {record['cpu_seconds']:.0f} s CPU, seed {record['seed']}.",
    ]
    return "\n".join(lines)


def main(run: Path) -> None:
    result = Result.read(run)
    readme = ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    begin, end = "<!-- demo:begin -->", "<!-- demo:end -->"
    before, after = text.split(begin)[0], text.split(end)[1]
    readme.write_text(f"{before}{begin}\n{table(result)}\n{end}{after}", encoding="utf-8")
    (ROOT / "docs" / "demo.md").write_text((run / "report.md").read_text(encoding="utf-8"), encoding="utf-8")
    print(f"README.md and docs/demo.md say what {run} found")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
