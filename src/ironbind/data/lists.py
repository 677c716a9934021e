"""Where a layout's files lie, and the small files beside them: found and read whole, or refused in one line that says what was expected."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ironbind.types import InputError


def root_of(path: str | Path | None, layout: str, expected: str) -> Path:
    """`path` as an existing folder; InputError naming what the layout's folder holds (`expected`) otherwise."""
    if path is None:
        raise InputError(f"path is missing: the data set {layout!r} is read from a folder; expected {expected}")
    root = Path(path)
    if not root.exists():
        raise InputError(f"{root}: no such folder; expected {expected}")
    if not root.is_dir():
        raise InputError(f"{root}: is a file, not a folder; expected {expected}")
    return root


def first_of(root: Path, names: Sequence[str], expected: str) -> Path:
    """The first of these files or folders that exists in `root`. Raises InputError naming them all."""
    for name in names:
        if (root / name).exists():
            return root / name
    raise InputError(f"{root}: has no {' or '.join(names)}; expected {expected}")


def text_of(path: Path, expected: str) -> str:
    """A UTF-8 text, with or without byte order mark. Raises InputError."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {expected}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); expected {expected}, in UTF-8") from error


def json_of(path: Path, expected: str) -> Any:
    """What a JSON file holds. Raises InputError."""
    try:
        return json.loads(text_of(path, expected))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({' '.join(str(error).split())[:120]}); expected {expected}") from error


def as_spelt(root: Path, files: Sequence[str], alike: Callable[[str], str]) -> list[str]:
    """`files` (relative to `root`) as the disk spells them, part by part, where names are the same after `alike`: another case, another Unicode
    form. A file that is not there keeps its name."""
    inside: dict[Path, dict[str, str]] = {}
    spelt = []
    for file in files:
        found: list[str] = []
        for part in file.split("/"):
            folder = root.joinpath(*found)
            if folder not in inside:
                names = sorted(os.listdir(folder), reverse=True) if folder.is_dir() else []
                inside[folder] = {alike(name): name for name in names} | {name: name for name in names}
            found.append(inside[folder].get(part) or inside[folder].get(alike(part), part))
        spelt.append("/".join(found))
    return spelt


def templates_of(root: Path) -> tuple[str, ...] | None:
    """The prompts of `root/templates.txt`; None where there is no such file. Raises InputError."""
    path = root / "templates.txt"
    return templates_in(path) if path.is_file() else None


def templates_in(path: Path) -> tuple[str, ...]:
    """The prompts of a text file, one a line with one {}. Raises InputError."""
    expected = "prompts with one {} each, one a line"
    lines = tuple(line.strip() for line in text_of(path, expected).splitlines() if line.strip())
    bad = next((line for line in lines if line.count("{}") != 1), None)
    if bad is not None or not lines:
        raise InputError(f"{path}: has the line {(bad or '')[:60]!r}; expected {expected}")
    return lines


def holds(path: Path, *names: str) -> bool:
    """Whether all of these files or folders lie in the folder `path`; for `recognises`."""
    return all((path / name).exists() for name in names)
