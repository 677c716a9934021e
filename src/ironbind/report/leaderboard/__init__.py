"""Many runs as one sortable page and one JSON file; entries whose checks failed stand apart."""

from collections.abc import Sequence
from pathlib import Path

from ironbind.core.errors import InputError
from ironbind.core.results import write_atomically
from ironbind.report.leaderboard.board_page import board_page
from ironbind.report.leaderboard.entries import Entry, entries_of, leaderboard_json
from ironbind.report.stored_runs import read_run

__all__ = ["write_leaderboard"]


def write_leaderboard(folders: Sequence[Path], out: Path) -> Path:
    """Writes `index.html` and `leaderboard.json` of these runs into `out` and returns the path of the page. Raises
    InputError for a folder that holds no result, for an entry whose numbers differ between two runs, and for `out` that
    is a run.
    """
    out = Path(out)
    if (out / "result.json").exists():
        raise InputError(f"--out {out}: holds a run; expected a folder of its own")
    entries: dict[tuple[str, ...], Entry] = {}
    for folder in map(Path, folders):
        for entry in entries_of(read_run(folder)):
            before = entries.get(entry.place)
            if before is not None and before.run != entry.run and before.numbers == entry.numbers:
                continue  # the same encoder without calibration, beside another calibration in each run
            if before is not None:
                both = f"{before.run} and {folder.name}"
                raise InputError(f"the entry {', '.join(entry.place)} is in {both}; expected runs that do not overlap")
            entries[entry.place] = entry
    if not entries:
        raise InputError(f"{', '.join(map(str, folders))}: no zero-shot or retrieval number; expected at least one")
    write_atomically(out / "leaderboard.json", leaderboard_json(list(entries.values())))
    write_atomically(out / "index.html", board_page(list(entries.values())))
    return out / "index.html"
