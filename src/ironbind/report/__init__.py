"""Results -> pages a person wants to read: one self-contained HTML file, Markdown and CSV. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ironbind.core.errors import InputError
from ironbind.core.results import Result, table_csv, write_atomically
from ironbind.report.markdown import document, markdown
from ironbind.report.page import UNFINISHED, page
from ironbind.report.paper_grid.grid_tables import grid_tables
from ironbind.report.paper_grid.writers import grid_csv, grid_html, grid_latex, grid_markdown
from ironbind.report.stored_runs import Run, read_run, refuse_duplicates, rows_of

__all__ = ["REPORTS", "combine", "markdown", "write_report", "write_unfinished"]

REPORTS: Mapping[str, Callable[[Sequence[Run], str], str]] = {
    "report.html": page,
    "report.md": document,
    "table.csv": lambda runs, title: table_csv(rows_of(runs)),
}
"""File name -> (runs, title) -> its text. Adding a report is one function and one line here."""

GRIDS: Mapping[str, Callable[[Sequence[Run], str], str]] = {
    "grid.html": grid_html,
    "grid.md": grid_markdown,
    "grid.tex": grid_latex,
    "grid.csv": grid_csv,
}
"""The same for several runs together: encoders by data sets, as in a paper."""


def write_report(folder: Path | str | Result, out: Path | str | None = None) -> Path:
    """Writes the REPORTS of the run in `folder` and returns the path of the page.

    `folder`: of a run, or a Result, such as `ironbind.audit` returns. `out`: the folder to write into, or the page's
    own path when it ends in .html; None: beside the result, for a Result a folder of its name in `runs`. Raises
    InputError naming the file that cannot be used, and for a folder that holds another run.
    """
    if isinstance(folder, Result):
        out = Path("runs", folder.name.replace(":", "-").replace("->", "-to-")) if out is None else Path(out)
        if not folder.rows:
            raise InputError(f"result {folder.name!r} holds no rows; expected at least one")
        _refuse_another_run(out, [])
        return _write([Run(folder)], f"Robustness audit: {folder.name}", out)
    run = read_run(Path(folder))
    if out is not None:
        _refuse_another_run(Path(out), [Path(folder)])
    return _write([run], f"Robustness audit: {run.result.name}", Path(out) if out else Path(folder))


def write_unfinished(
    result: Result, arrays: Mapping[str, np.ndarray], missing: Sequence[str], folder: Path
) -> Path | None:
    """Writes the page of a run that goes on: `result` so far, marked as unfinished, with what is `missing`. Returns its
    path; None where there is no row to show yet.
    """
    if not result.rows:
        return None
    unfinished = replace(result, record={**result.record, UNFINISHED: list(missing)})
    text = page([Run(unfinished, arrays)], f"Robustness audit: {result.name} (unfinished)")
    write_atomically(folder / "report.html", text)
    return folder / "report.html"


def combine(folders: Sequence[Path], out: Path) -> Path:
    """Writes what several runs say together into `out` (a folder, or a path ending in .html) and returns the path of
    the page.

    Always the GRIDS, encoders by data sets; where all runs are about one data set also the REPORTS, whose page is then
    the one returned. Raises InputError when no folder is given, when `out` is one of the runs (their own table would be
    lost), or when two runs of a data set hold the same row; naming it where a result cannot be read.
    """
    folders = [Path(folder) for folder in folders]
    if not folders:
        raise InputError("no run folder was given; expected at least one")
    target = Path(out).parent if Path(out).suffix == ".html" else Path(out)
    if len(folders) > 1 and any(folder.resolve() == target.resolve() for folder in folders):
        raise InputError(f"the combined report would overwrite the run in {target}; expected another folder")
    _refuse_another_run(Path(out), folders)
    runs = [read_run(folder) for folder in folders]
    refuse_duplicates(folders, runs)
    if len({run.data for run in runs}) > 1:
        return _write(runs, f"Robustness audit: {len(runs)} runs", Path(out), GRIDS)
    title = f"Robustness audit: {', '.join(run.result.name for run in runs)}"
    if grid_tables(runs):
        _write(runs, title, target, GRIDS)
    return _write(runs, title, Path(out))


def _refuse_another_run(out: Path, folders: Sequence[Path]) -> None:
    """Raises InputError where `out` is the folder of a run that is not reported: its table would be lost."""
    target = out.parent if out.suffix == ".html" else out
    own = {folder.resolve() for folder in folders}
    if out.suffix != ".html" and (target / "result.json").exists() and target.resolve() not in own:
        raise InputError(f"the report would overwrite the run in {target}; expected another folder")


def _write(
    runs: Sequence[Run], title: str, out: Path, reports: Mapping[str, Callable[[Sequence[Run], str], str]] = REPORTS
) -> Path:
    """The reports into a folder; the first of them is the page, which may be called otherwise."""
    page_name = next(iter(reports))
    target, html = (out.parent, out.name) if out.suffix == ".html" else (out, page_name)
    for name, render in reports.items():
        write_atomically(target / (html if name == page_name else name), render(runs, title))
    return target / html
