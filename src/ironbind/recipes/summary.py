"""The few lines a run prints when it is done."""

from pathlib import Path

from ironbind.recipes.budgets import headline_of
from ironbind.results import Result, Row


def summary(out: Path) -> str:
    """Zero-shot Top-1 per modality at the headline radius: clean, attacked, and replayed / adaptive for every calibration."""
    result = Result.read(out)
    top1 = result.select(task="zero_shot", metric="top1")
    lines = []
    for modality, space in dict.fromkeys((row.modality, row.space) for row in top1):
        here = [row for row in top1 if (row.modality, row.space) == (modality, space)]
        written = list(dict.fromkeys(row.eps for row in here if row.eps != "0"))
        eps = headline_of(written, space) if written else "0"
        line = f"{modality:>8} {space:<12} {_value(here, 'none', 'clean', '0')} -> {_value(here, 'none', 'whitebox', eps)} at {eps:<9}"
        for calibration in dict.fromkeys(row.calibration for row in here if row.calibration != "none"):
            replayed, adaptive = (_value(here, calibration, one, eps) for one in ("replayed", "adaptive"))
            line += f"  {calibration}: {replayed} replayed, {adaptive} adaptive"
        lines.append(line)
    return "\n".join(lines)


def _value(rows: list[Row], calibration: str, threat_model: str, eps: str) -> str:
    found = [row.value for row in rows if (row.calibration, row.threat_model, row.eps) == (calibration, threat_model, eps)]
    return f"{found[0]:5.1f} %" if found else "    -  "
