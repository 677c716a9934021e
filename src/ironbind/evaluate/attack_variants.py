"""Attacks as an evaluation needs them: built for a task, without early stop, with more steps or longer ones.

Attacks are frozen dataclasses of knobs. These functions know four of their knobs by name (`steps`, `step_size`,
`stop_when_reached`, `minimum_norm`) and look through an attack that wraps another (`attack`), such as EOT.
"""

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from pathlib import Path
from typing import Any

from ironbind.types import Attack, AttackFactory, Budget, StagedAttack, Task

AnyAttack = Attack | StagedAttack | AttackFactory


def attacks_for(
    task: Task, attacks: Sequence[AnyAttack], budgets: Sequence[Budget], folder: Path
) -> tuple[Attack, ...]:
    """The attacks in order. Those that must know the task are built for it, ensembles are split into their stages."""
    task_attacks = [
        attack.for_task(task, budgets, folder) if isinstance(attack, AttackFactory) else attack for attack in attacks
    ]
    return tuple(
        stage for attack in task_attacks for stage in (attack.stages if isinstance(attack, StagedAttack) else (attack,))
    )


def to_the_end(attack: Attack) -> Attack:
    """The same attack without early stop, where it or the attack that it wraps has one: examples for training and
    replay should be strong, not barely successful.
    """
    wrapped = _inner_attack(attack)
    if wrapped is not None:
        return replace(attack, attack=to_the_end(wrapped))  # type: ignore[type-var]
    return replace(attack, stop_when_reached=False) if hasattr(attack, "stop_when_reached") else attack  # type: ignore[type-var]


def seeks_nearest(attack: Attack) -> bool:
    """Whether an attack looks for the nearest example rather than for any within its budget."""
    wrapped = _inner_attack(attack)
    return getattr(attack, "minimum_norm", False) if wrapped is None else seeks_nearest(wrapped)


def with_more_steps(attack: Attack, times: int) -> Attack | None:
    """The same attack with so many times the steps; None for one that counts no steps."""
    wrapped = _inner_attack(attack)
    if wrapped is not None:
        return _with_inner(attack, with_more_steps(wrapped, times))
    steps = getattr(attack, "steps", None)
    return replace(attack, steps=times * steps) if isinstance(steps, int) else None  # type: ignore[type-var]


def with_longer_steps(attack: Attack, times: float) -> Attack | None:
    """The same attack with steps so many times as long; None for one that chooses its steps itself. Without a step_size
    they are 2.5 radii in all.
    """
    wrapped = _inner_attack(attack)
    if wrapped is not None:
        return _with_inner(attack, with_longer_steps(wrapped, times))
    steps = getattr(attack, "steps", None)
    if not isinstance(steps, int) or not hasattr(attack, "step_size"):
        return None
    size = attack.step_size if attack.step_size is not None else min(1.0, 2.5 / steps)
    return replace(attack, step_size=times * size)  # type: ignore[type-var]


def briefly(attack: Attack) -> Attack:
    """The same attack with the fewest steps, queries and attempts that it can be given."""
    fewest = {"steps": 2, "search": 2, "queries": 2, "restarts": 1, "tries": 0}
    knobs: dict[str, Any] = {
        name: min(count, getattr(attack, name))
        for name, count in fewest.items()
        if isinstance(getattr(attack, name, None), int)
    }
    if isinstance(getattr(attack, "again", None), tuple):  # attacks on what almost fell
        knobs["again"] = tuple(briefly(other) for other in attack.again[:1])  # type: ignore[attr-defined]
    wrapped = _inner_attack(attack)
    if wrapped is not None:
        knobs["attack"] = briefly(wrapped)
    return replace(attack, **knobs) if knobs and is_dataclass(attack) else attack


def _inner_attack(attack: Attack) -> Attack | None:
    inner = getattr(attack, "attack", None)
    return inner if isinstance(inner, Attack) else None


def _with_inner(attack: Attack, inner: Attack | None) -> Attack | None:
    return None if inner is None else replace(attack, attack=inner)  # type: ignore[type-var]
