"""Files whose labels are in their names: below a folder, and in tar and zip archives, which are not unpacked. The label
is the folder that a file lies in (`<class>/<file>`), or what a pattern finds in its name (`{label}_{speaker}_{take}`).
"""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ironbind.core.names.imagenet_names import names_of, wnids
from ironbind.data.folder_entries import files_below, files_in
from ironbind.data.layouts.generic.class_folders import SPLITS, UNREAD
from ironbind.data.list_files import names_in, templates_of
from ironbind.data.listing import Listing
from ironbind.data.storage.archive_members import Contents, contents_of
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

LABEL = "label"
FIELD = re.compile(r"\{(\w*)\}")
GUESSED = ("video", "audio", "image", "point", "event")  # whose suffixes tell the modality; of images the commonest


@dataclass(frozen=True)
class NamePattern:
    """How a file's name says its label and more: text with fields in braces, compared with the name without suffix. A
    pattern with `/` is compared with that many folders above the file as well. {label} takes as much as it can, other
    fields end where the text behind them begins.
    """

    text: str

    def __post_init__(self) -> None:
        fields = FIELD.findall(self.text)
        wrong = (
            "has no {label}" if LABEL not in fields
            else "has a field twice" if len(set(fields)) < len(fields)
            else "has a field without a name" if not all(field.isidentifier() for field in fields)
            else "has two fields side by side" if re.search(r"\}\{", self.text)
            else ""
        )  # fmt: skip
        if wrong or set("{}") & set(FIELD.sub("", self.text)):
            raise InputError(
                f"pattern {self.text!r} {wrong or 'has a brace that belongs to no field'}; expected text with fields, "
                "such as {label}_{speaker}_{take}"
            )

    @property
    def fields(self) -> tuple[str, ...]:
        """In the order of the pattern."""
        return tuple(FIELD.findall(self.text))

    def read(self, name: str) -> dict[str, str] | None:
        """The fields of a file's path without its suffix; None where it does not fit."""
        parts = name.split("/")
        fitting = re.fullmatch(self._expression(), "/".join(parts[-1 - self.text.count("/") :]))
        return fitting.groupdict() if fitting else None

    def _expression(self) -> str:
        written, end = "", 0
        for field in FIELD.finditer(self.text):
            written += re.escape(self.text[end : field.start()])
            end = field.end()
            behind = self.text[end : end + 1]
            within = "[^/]+" if field[1] == LABEL or not behind else f"[^/{re.escape(behind)}]+"
            written += f"(?P<{field[1]}>{within})"
        return written + re.escape(self.text[end:])


def listing_of_names(
    path: Path,
    modality: str | None,
    pattern: str | None = None,
    split: str | None = None,
    where: Mapping[str, str | Sequence[str]] | None = None,
    names: str | Sequence[str] | None = None,
) -> Listing:
    """The files of one modality in a folder or archive, labelled by `pattern` (None: by the folder that they lie in).

    `modality`: None for the one whose suffixes the files have. `split`: only files below a folder of that name.
    `where`: only files whose fields have these values. `names`: class names for labels that are numbers, or a file of
    them. Raises InputError.
    """
    contents = _below(path) if path.is_dir() else contents_of(path)
    kind = modality or _modality_of(contents)
    suffixes = MODALITIES[kind].suffixes
    rows = [row for row, name in enumerate(contents.names) if name.lower().endswith(suffixes)]
    if split is not None:
        rows = [row for row in rows if split in PurePosixPath(contents.names[row]).parts[:-1]]
    if not rows:
        within = f" below a folder {split}" if split is not None else ""
        raise InputError(
            f"{path}: holds no {kind} file{within}, found {_suffixes(contents)}; expected {', '.join(suffixes)}"
        )
    stems = {row: os.path.splitext(contents.names[row])[0] for row in rows}
    told, notes, problems = (
        _by_pattern(path, NamePattern(pattern), stems, where or {})
        if pattern is not None
        else _by_folder(path, stems, split, where)
    )
    unread = Counter(
        suffix
        for name in contents.names
        if (suffix := os.path.splitext(name)[1].lower()) in UNREAD[kind] and suffix not in suffixes
    )
    if unread:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in sorted(unread.items()))
        problems.append(
            f"{path}: {unread.total()} files are left out, of formats that are not read: {kinds}; "
            f"expected {', '.join(suffixes)}"
        )
    kept = sorted(told)
    classes, labels = _classes(path, [told[row] for row in kept], names)
    ids = [stems[row] for row in kept]
    if len(set(ids)) < len(ids):  # 1.jpg beside 1.png
        ids = [contents.names[row] for row in kept]
    return Listing(
        path.name if path.is_dir() else path.stem,
        classes,
        ids,
        labels,
        {kind: contents.source(kept, MODALITIES[kind].read)},
        templates=templates_of(path) if path.is_dir() else None,
        notes=tuple(notes),
        problems=tuple(problems),
    )


def _below(folder: Path) -> Contents:
    suffixes = [suffix for modality in MODALITIES.values() for suffix in modality.suffixes]
    suffixes += [suffix for unread in UNREAD.values() for suffix in unread]
    return Contents(folder, sorted([*files_in(folder, suffixes), *files_below(folder, suffixes)]), ())


def _modality_of(contents: Contents) -> str:
    """The one modality that the files' suffixes tell. Raises InputError for none and for several."""
    counted = Counter(os.path.splitext(name)[1].lower() for name in contents.names)
    held = {kind: sum(counted[suffix] for suffix in MODALITIES[kind].suffixes) for kind in GUESSED}
    there = [kind for kind, count in held.items() if count]
    if len(there) != 1:
        told = f"files of {', '.join(there)}" if there else f"no file that is known, but {_suffixes(contents)}"
        raise InputError(f"{contents.path}: holds {told}; expected --modality, one of {', '.join(MODALITIES)}")
    return there[0]


def _suffixes(contents: Contents) -> str:
    counted = Counter(os.path.splitext(name)[1].lower() or "no suffix" for name in contents.names)
    return ", ".join(f"{count} {suffix}" for suffix, count in counted.most_common(5)) or "no file"


def _by_pattern(
    path: Path, pattern: NamePattern, stems: Mapping[int, str], where: Mapping[str, str | Sequence[str]]
) -> tuple[dict[int, str], list[str], list[str]]:
    """The label of each file that fits and is asked for; notes; a line for those that do not fit."""
    unknown = next((field for field in where if field not in pattern.fields), None)
    if unknown is not None:
        raise InputError(
            f"where.{unknown}: is no field of the pattern {pattern.text}; expected one of {', '.join(pattern.fields)}"
        )
    allowed = {field: {value} if isinstance(value, str) else set(value) for field, value in where.items()}
    read = {row: pattern.read(stem) for row, stem in stems.items()}
    fitting = {row: fields for row, fields in read.items() if fields is not None}
    if not fitting:
        first = next(iter(stems.values()))
        raise InputError(
            f"{path}: no name fits the pattern {pattern.text}, the first is {first}; expected one that does"
        )
    kept = {row: f for row, f in fitting.items() if all(f[field] in values for field, values in allowed.items())}
    if not kept:
        held = {field: sorted({fields[field] for fields in fitting.values()}) for field in allowed}
        shown = "; ".join(f"{field}: {', '.join(values[:8])}" for field, values in held.items())
        raise InputError(f"{path}: no file has what where asks for; expected some of {shown}")
    notes = [f"labels by the pattern {pattern.text}"]
    if allowed:
        told = ", ".join(f"{field}={'+'.join(sorted(values))}" for field, values in allowed.items())
        notes.append(f"where {told}: {len(kept)} of {len(fitting)} files")
    others = [stem for row, stem in stems.items() if row not in fitting]
    problems = [
        f"{path}: {len(others)} files are left out, whose names do not fit the pattern {pattern.text}, the first "
        f"{others[0]}; expected names that do"
    ] if others else []  # fmt: skip
    return {row: fields[LABEL] for row, fields in kept.items()}, notes, problems


def _by_folder(
    path: Path, stems: Mapping[int, str], split: str | None, where: Mapping[str, str | Sequence[str]] | None
) -> tuple[dict[int, str], list[str], list[str]]:
    if where:
        raise InputError(f"where.{next(iter(where))}: there are no fields without a pattern; expected pattern=...")
    parents = {row: PurePosixPath(stem).parts[:-1] for row, stem in stems.items()}
    loose = [stem for row, stem in stems.items() if not parents[row]]
    if len(loose) == len(stems):
        raise InputError(
            f"{path}: holds files but no class folders; expected <class>/<file>, or the option pattern=... for labels "
            "in names, such as {label}_{take}"
        )
    splits = sorted({part for folders in parents.values() for part in folders[:-1] if part.lower() in SPLITS})
    if split is None and len(splits) > 1:
        raise InputError(f"{path}: holds the splits {', '.join(splits)}; expected --data-option split={splits[0]}")
    flat = {folders[-1] for folders in parents.values() if folders}
    if len(flat) == 1 and len(stems) > 1:
        raise InputError(
            f"{path}: all its files lie in one folder, {next(iter(flat))}; expected <class>/<file>, or the option "
            "pattern=... for labels in names, such as {label}_{take}"
        )
    problems = [
        f"{path}: {len(loose)} files lie beside the class folders and are left out, the first {loose[0]}; expected "
        "<class>/<file>"
    ] if loose else []  # fmt: skip
    return {row: folders[-1] for row, folders in parents.items() if folders}, [], problems


def _classes(path: Path, told: Sequence[str], names: str | Sequence[str] | None) -> tuple[tuple[str, ...], list[int]]:
    """Class names and numbers: labels as they are written, sorted, or named by number; ImageNet's wnids by the names
    that CLIP's evaluations use.
    """
    if names is None:
        called = sorted(set(told))
        number = {label: row for row, label in enumerate(called)}
        if set(called) <= set(wnids()):
            return names_of(called), [number[label] for label in told]
        return tuple(label.replace("_", " ") for label in called), [number[label] for label in told]
    given = names_in(Path(names)) if isinstance(names, str) else tuple(names)
    wrong = next((label for label in told if not label.isdecimal() or int(label) >= len(given)), None)
    if wrong is not None:
        raise InputError(f"{path}: has the label {wrong!r}; expected 0 to {len(given) - 1}, as names are given for")
    return given, [int(label) for label in told]
