"""The files that data sets list their samples in (lines, CSV, JSON, prompts), and where a layout's files lie.

Damaged lists are refused, with the line that is wrong where there are lines: one that is silently half read would
change what a result is about.
"""

import csv
import json
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from ironbind.data.folder_entries import entries_of
from ironbind.types import InputError

MOST_BYTES = 2**30  # AudioSet's largest list has 0.1 GiB
LONGEST = 2**17  # characters in a line; more are no list but some other file


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


def check_split(split: str, splits: Collection[str], layout: str) -> None:
    """Raises InputError for a split that a layout does not have."""
    if split not in splits:
        raise InputError(f"split {split!r} does not exist in {layout}; expected one of {', '.join(splits)}")


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
        raise InputError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); expected {expected}, in UTF-8"
        ) from error


def json_of(path: Path, expected: str) -> Any:
    """What a JSON file holds. Raises InputError."""
    try:
        return json.loads(text_of(path, expected))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: is no JSON ({' '.join(str(error).split())[:120]}); expected {expected}") from error


def as_spelt(root: Path, files: Sequence[str], alike: Callable[[str], str]) -> list[str]:
    """`files` (relative to `root`) as the disk spells them, part by part, where names are the same after `alike`:
    another case, another Unicode form. A file that is not there keeps its name."""
    inside: dict[Path, dict[str, str]] = {}
    spelt = []
    for file in files:
        parts: list[str] = []
        for part in file.split("/"):
            folder = root.joinpath(*parts)
            if folder not in inside:
                names = [entry.name for entry in reversed(entries_of(folder))]
                inside[folder] = {alike(name): name for name in names} | {name: name for name in names}
            parts.append(inside[folder].get(part) or inside[folder].get(alike(part), part))
        spelt.append("/".join(parts))
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


def names_in(path: Path) -> tuple[str, ...]:
    """The class names of a text file, one a line. Raises InputError for none."""
    expected = "class names, one a line"
    names = tuple(line.strip() for line in text_of(path, expected).splitlines() if line.strip())
    if not names:
        raise InputError(f"{path}: holds no name; expected {expected}")
    return names


def holds(path: Path, *names: str) -> bool:
    """Whether all of these files or folders lie in the folder `path`; for `recognises`."""
    return all((path / name).exists() for name in names)


# ----------------------------------------------------------------------------------------------------- lines and tables


@contextmanager
def reading_list(path: Path, expected: str) -> Iterator[None]:
    """Run a parser of a list: InputError for a missing, empty or too large file, for wrong bytes and wrong quotes."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; expected {expected}")
    if not 0 < path.stat().st_size <= MOST_BYTES:
        raise InputError(f"{path}: has {path.stat().st_size:,} bytes; expected {expected}, of at most {MOST_BYTES:,}")
    try:
        yield
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: byte {error.start} is not UTF-8; expected {expected}") from error
    except (csv.Error, OSError) as error:
        raise InputError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); expected {expected}"
        ) from error


def read_lines(path: Path, expected: str) -> list[str]:
    """The lines that are not blank, stripped. Raises InputError for a missing or empty file, or one that is no text."""
    with reading_list(path, expected):
        with path.open(encoding="utf-8-sig") as file:
            lines: list[str] = []
            while line := file.readline(LONGEST):
                if len(line) == LONGEST or "\0" in line:
                    raise InputError(
                        f"{path}: line {len(lines) + 1} is no text or has more than {LONGEST:,} characters; "
                        f"expected {expected}"
                    )
                lines.append(_clean(line))
        held = [line for line in lines if line]
        if not held:
            raise InputError(f"{path}: lists nothing; expected {expected}")
        return held


def read_table(
    path: Path,
    columns: Sequence[str],
    expected: str,
    *,
    header: bool = True,
    separator: str = ",",
    encoding: str = "utf-8-sig",
) -> Iterator[tuple[str, ...]]:
    """The values of `columns`, row by row, without surrounding blanks, in Unicode's composed form, line breaks in
    quotes read as blanks.

    Leading lines that start with # are skipped. `header`: the first row names columns, in any order, among others;
    without it, rows have just these. Raises InputError for a missing file, absent columns, a row of another length,
    wrong quotes, or no row.
    """
    with reading_list(path, expected), path.open(encoding=encoding, newline="") as file:
        comments = 0
        while (first := file.readline(LONGEST)).startswith("#"):
            comments += 1
        if len(first) == LONGEST:
            raise InputError(f"{path}: line {comments + 1} has more than {LONGEST:,} characters; expected {expected}")
        rows = csv.reader(chain([first], file), delimiter=separator, skipinitialspace=True, strict=True)
        names = [name.strip() for name in next(rows, [])] if header else list(columns)
        absent = [name for name in columns if name not in names]
        if absent:
            seen = ", ".join(map(_clean, names))[:80] or "(none)"
            raise InputError(f"{path}: has columns {seen}, not {', '.join(absent)}; expected {expected}")
        at = [names.index(name) for name in columns]
        any_row = False
        try:
            for row in rows:
                if not row:
                    continue
                if len(row) != len(names):
                    where = f"line {comments + rows.line_num}"
                    raise InputError(
                        f"{path}: {where} has {len(row)} columns of {len(names)}: {','.join(row)[:60]!r}; "
                        f"expected {expected}"
                    )
                any_row = True
                yield tuple(_clean(row[column]) for column in at)
        except csv.Error as error:
            raise InputError(
                f"{path}: line {comments + rows.line_num} cannot be read ({error}); expected {expected}"
            ) from error
        if not any_row:
            raise InputError(f"{path}: lists nothing; expected {expected}")


_CONTROLS = {
    code: " " for code in (*range(32), 127, 133, 0x2028, 0x2029)
}  # so that what is quoted from a list stays one line


def _clean(text: str) -> str:
    return unicodedata.normalize("NFC", text.translate(_CONTROLS)).strip()


def whole_number(written: str, path: Path, column: str, below: int | None = None) -> int:
    """`written` as an integer from 0 (and below `below`). Raises InputError naming the file and the column."""
    number = int(written) if written.isascii() and written.isdigit() and len(written) < 19 else -1
    if number < 0 or below is not None and number >= below:
        upper = "" if below is None else f" to {below - 1}"
        raise InputError(f"{path}: column {column} says {written[:40]!r}; expected a whole number from 0{upper}")
    return number


def seconds(written: str, path: Path, column: str) -> float:
    """`written` as seconds from 0, below a million. Raises InputError naming the file and the column."""
    try:
        value = float(written)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e6:
        raise InputError(f"{path}: column {column} says {written[:40]!r}; expected seconds from 0")
    return value
