"""Rewrites docs/demo.md and its pictures from a finished demo run, so that no number is typed by hand. The README's
table has more samples and a run of its own: scripts/readme_table.py.

make demo && .venv/bin/python scripts/refresh_docs.py runs/demo
"""

import sys
from pathlib import Path

from ironbind.core.results import write_atomically
from ironbind.report.short_page import short_page
from ironbind.report.stored_runs import read_run

ROOT = Path(__file__).parent.parent


INTRODUCTION = (
    "This page is written by `scripts/refresh_docs.py` from one run of `ironbind demo`, whose samples are few: the "
    "intervals are wide, and [the first page](index.md#what-survives) has the same table of a larger run. "
    "Everything that was measured, "
    "with what each check found, is in the folder of such a run: `report.html` and `report.md` to read, `table.csv` "
    "([columns](table.md)) and `verdicts.csv` to compute with. [What survives](what-survives.md) explains the two "
    "numbers, [checks](checks.md) what each check asks, [threat model](threat-model.md) who attacks."
)


def main(run: Path, root: Path = ROOT) -> None:
    page = short_page(read_run(run), "The demo: six modalities under attack", "demo", INTRODUCTION)
    for old in (root / "docs" / "demo").glob("*"):
        old.unlink()
    for picture in page.pictures:
        write_atomically(root / "docs" / "demo" / picture.name, picture.content)
    write_atomically(root / "docs" / "demo.md", page.markdown)
    print(f"docs/demo.md says what {run} found")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/demo"))
