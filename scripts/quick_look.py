"""What scripts share that measure many encoders by the quick look (PGD-20 on margin and on cross-entropy): each a
result in a folder of its own, so that a killed script goes on where it was, and the options of such a script.
"""

import argparse
from pathlib import Path

import ironbind as ib
from ironbind.core.default_budgets import HEADLINE, comparable
from ironbind.core.results import Result
from ironbind.evaluate.audit import audit
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.runs.defaults import QUICK_LOOK
from ironbind.types import Task


def measured(place: Path) -> bool:
    """Whether a result lies there."""
    return (place / "result.json").exists()


def measure_into(place: Path, task: Task, store: VerdictStore) -> Result:
    """The audit of the task's encoder at the headline radius, written to `place`."""
    result = audit(task, QUICK_LOOK, comparable(ib.Linf(HEADLINE), task.space.name), RunContext(store, 0), checks=False)
    place.mkdir(parents=True, exist_ok=True)
    result.write(place)
    return result


def options(about: str, out: Path, samples: int, inputs: str) -> argparse.ArgumentParser:
    """Those that every such script has; `out`, `samples` and `inputs` are defaults."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=out)
    parser.add_argument("--samples", type=int, default=samples)
    parser.add_argument("--only", default=inputs, help="inputs, separated by commas")
    parser.add_argument("--read", action="store_true", help="measure nothing")
    parser.add_argument("--no-write", action="store_true", help="print instead of writing the page")
    return parser
