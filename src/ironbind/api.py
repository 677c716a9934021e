"""Audits with the black-box search that their checks hold against them; `evaluate` knows no attack by name."""

from collections.abc import Sequence
from functools import wraps
from typing import Any

from ironbind.core.results import Result
from ironbind.evaluate import accuracy_curve as curves
from ironbind.evaluate import audit as run
from ironbind.runs.run_job import BLACK_BOX
from ironbind.types import Attack, AttackFactory, Budget, StagedAttack, Task

Attacks = Attack | StagedAttack | AttackFactory


@wraps(run.audit)  # help() shows every option with its type
def audit(
    task: Task,
    attack: Attacks | Sequence[Attacks],
    budget: Budget | Sequence[Budget],
    *,
    black_box: Attack | None = BLACK_BOX,
    **options: Any,
) -> Result:
    return run.audit(task, attack, budget, black_box=black_box, **options)


@wraps(curves.curve)
def curve(
    task: Task, attack: Attack | Sequence[Attack], largest: Budget, radii: Sequence[Budget] | None = None, *, black_box: Attack | None = BLACK_BOX,
    **options: Any,
) -> Result:  # fmt: skip
    return curves.curve(task, attack, largest, radii, black_box=black_box, **options)
