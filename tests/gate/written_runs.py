"""Run folders as an audit writes them, with chosen verdicts."""

from pathlib import Path

from ironbind.core.results import Check, Result, Row
from ironbind.core.tables.csv_text import csv_text
from ironbind.core.tables.intervals import wilson
from ironbind.gate.paired_drop import PLACE

VERDICT_COLUMNS = (*PLACE, "sample", "rank")
CLEAN = {"attack": "none", "norm": "none", "eps": "0", "threat_model": "clean"}


def share(right: int, n: int, **columns) -> Row:
    """A row of so many right answers among n: by default the adaptive top-1 of an image encoder at 4/255."""
    defaults = {
        "encoder": "tiny", "calibration": "hardened", "modality": "image", "space": "pixels", "task": "zero_shot",
        "metric": "top1", "attack": "pgd20", "norm": "linf", "eps": "4/255", "threat_model": "adaptive",
    }  # fmt: skip
    value, low, high = (100 * end for end in wilson(right, n))
    return Row(**{**defaults, **columns}, value=value, ci_low=low, ci_high=high, n=n)


def write_run(folder: Path, rows: list[Row], checks: list[Check] = (), ranks: dict[int, list[int]] | None = None):
    """A run folder with these rows. `ranks`: of samples 0, 1, ... of the i-th row; by default its right ones first."""
    result = Result(folder.name, rows, checks=list(checks), record={"data_fingerprint": "same"})
    result.write(folder)
    lines = []
    for number, row in enumerate(rows):
        right = round(row.value * row.n / 100)
        of_row = (ranks or {}).get(number, [1] * right + [2] * (row.n - right))
        place = [getattr(row, column) for column in PLACE]
        lines += [(*place, f"sample {sample}", rank) for sample, rank in enumerate(of_row)]
    (folder / "verdicts.csv").write_text(csv_text(VERDICT_COLUMNS, lines), encoding="utf-8")
    return folder
