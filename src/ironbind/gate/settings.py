"""What a gate demands: from the command line, else from `[tool.ironbind.gate]` of pyproject.toml."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from ironbind.core.errors import InputError
from ironbind.gate.findings import Compare
from ironbind.gate.requirement import Requirement, requirement

KEYS = ("require", "baseline", "max-drop", "compare")


@dataclass(frozen=True)
class GateSettings:
    """`baseline`: the folder of an earlier run, of which at most `max_drop` points may be lost."""

    requirements: tuple[Requirement, ...] = ()
    baseline: Path | None = None
    max_drop: float | None = None
    compare: Compare = Compare.interval


def settings(
    require: Sequence[str] = (),
    baseline: Path | None = None,
    max_drop: float | None = None,
    compare: str | None = None,
    project: Path = Path("pyproject.toml"),
) -> GateSettings:
    """What the options say; each that is left out is what the table in `project` says, if there is one. Raises
    InputError for a requirement that cannot be read, for one of baseline and max-drop without the other, and where
    nothing is demanded at all.
    """
    chosen = _of_project(project)
    if require:
        chosen = replace(chosen, requirements=tuple(map(requirement, require)))
    if baseline is not None:
        chosen = replace(chosen, baseline=baseline)
    if max_drop is not None:
        chosen = replace(chosen, max_drop=_points(max_drop, "--max-drop"))
    if compare is not None:
        chosen = replace(chosen, compare=_compare(compare, "--compare"))
    if (chosen.baseline is None) != (chosen.max_drop is None):
        lacking = "--baseline RUN" if chosen.baseline is None else "--max-drop POINTS"
        raise InputError(f"{lacking} is missing; expected --baseline and --max-drop together")
    if not chosen.requirements and chosen.baseline is None:
        raise InputError(
            'nothing is required; expected --require "image 4/255 adaptive >= 40", --baseline with --max-drop, or '
            "[tool.ironbind.gate] in pyproject.toml"
        )
    return chosen


def _of_project(path: Path) -> GateSettings:
    """The table [tool.ironbind.gate] of a pyproject.toml; the defaults where there is none."""
    if not path.is_file():
        return GateSettings()
    table = _gate_table(path)
    where = f"{path}: [tool.ironbind.gate]"
    unknown = next((key for key in table if key not in KEYS), None)
    if unknown is not None:
        raise InputError(f"{where} has the key {unknown!r}; expected {', '.join(KEYS)}")
    require = table.get("require", [])
    if not isinstance(require, list) or not all(isinstance(text, str) for text in require):
        raise InputError(f"{where} require = {require!r}; expected a list of requirements")
    baseline = table.get("baseline")
    if baseline is not None and not isinstance(baseline, str):
        raise InputError(f"{where} baseline = {baseline!r}; expected the folder of a run")
    most = table.get("max-drop")
    return GateSettings(
        tuple(map(requirement, require)),
        None if baseline is None else path.parent / baseline,
        None if most is None else _points(most, f"{where} max-drop"),
        _compare(table.get("compare", Compare.interval.value), f"{where} compare"),
    )


def _compare(value: Any, option: str) -> Compare:
    if value not in [each.value for each in Compare]:
        raise InputError(f"{option} {value!r}: is nothing to compare; expected interval or value")
    return Compare(value)


def _gate_table(path: Path) -> dict[str, Any]:
    try:
        tomllib = import_module("tomllib")
    except ModuleNotFoundError:  # Python 3.10
        try:
            tomllib = import_module("tomli")
        except ModuleNotFoundError:
            if "[tool.ironbind.gate]" in path.read_text(encoding="utf-8"):
                raise InputError(f"{path} cannot be read by Python 3.10 without tomli; expected it installed") from None
            return {}
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no TOML ({error})") from error
    for key in ("tool", "ironbind", "gate"):
        table = table.get(key, {})
        if not isinstance(table, dict):
            raise InputError(f"{path}: {key} is no table; expected [tool.ironbind.gate]")
    return table


def _points(value: Any, option: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value >= 0 and math.isfinite(value)):
        raise InputError(f"{option} {value!r} is no number of points; expected 0 or more")
    return float(value)
