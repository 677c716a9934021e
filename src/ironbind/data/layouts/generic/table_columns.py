"""Which column of a table plays which part: encoded files of a modality, label, caption.

What the `datasets` library says of a column decides first, then its type and the bytes of its first value, then its
name. Where several columns would do, one line names them and the option that chooses.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ironbind.modalities import MODALITIES
from ironbind.modalities.reading import kind_of
from ironbind.types import InputError

KINDS = {"Image": "image", "Audio": "audio", "Video": "video"}  # features of the library that hold encoded files
CONTENTS = {
    "image": ("PNG", "JPEG", "BMP", "WEBP", "GIF", "TIFF"),
    "audio": ("WAV", "FLAC", "OGG", "MP3"),
    "video": ("MP4/MOV", "AVI", "MKV/WEBM"),
}
"""What `kind_of` calls the files of a modality, those that are not read as well: they are refused by name later."""
ROLES = ("label", "caption")
CALLED = {
    "image": ("image", "img", "picture", "webp", "jpg", "png"),
    "audio": ("audio", "sound"),
    "video": ("video", "mp4"),
    "label": ("label", "labels", "cls", "category", "class"),
    "caption": ("caption", "captions", "sentence", "text", "description"),
}
"""The usual names of a part, the likeliest first."""


@dataclass(frozen=True)
class Column:
    """What a table says of a column: `feature` as the `datasets` library describes it ({} where it does not), `holds`
    one of "bytes", "file" (a struct of bytes and path), "text", "texts", "number" or "other".
    """

    name: str
    holds: str
    feature: Mapping[str, Any]

    @property
    def feature_type(self) -> str:
        return str(self.feature.get("_type", ""))

    @property
    def of_bytes(self) -> str:
        """Where its encoded bytes lie, "photo.bytes" within a struct."""
        return self.name if self.holds == "bytes" else f"{self.name}.bytes"


@dataclass(frozen=True)
class Parts:
    """The columns that are read: `files` by modality, `label` and `caption` where there are such, and what a reader of
    the results should know of the choice.
    """

    files: Mapping[str, Column]
    label: Column | None
    caption: Column | None
    notes: tuple[str, ...] = ()


def column_of(field: Any, feature: Any) -> Column:
    """A field of a pyarrow schema."""
    import pyarrow.types as kinds

    def is_bytes(kind: Any) -> bool:
        return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind) or kinds.is_fixed_size_binary(kind))

    def is_text(kind: Any) -> bool:
        inside = kind.value_type if kinds.is_dictionary(kind) else kind
        return bool(kinds.is_string(inside) or kinds.is_large_string(inside))

    kind = field.type
    if is_bytes(kind):
        holds = "bytes"
    elif kinds.is_struct(kind) and any(
        inner.name == "bytes" and (is_bytes(inner.type) or kinds.is_null(inner.type)) for inner in kind
    ):  # of type null where every row only names its file
        holds = "file"
    elif is_text(kind):
        holds = "text"
    elif (kinds.is_list(kind) or kinds.is_large_list(kind)) and is_text(kind.value_type):
        holds = "texts"
    else:
        holds = "number" if kinds.is_integer(kind) else "other"
    return Column(field.name, holds, feature if isinstance(feature, Mapping) else {})


def parts_of(
    table: Path,
    columns: Sequence[Column],
    wanted: Sequence[str],
    given: Mapping[str, str],
    first_bytes: Callable[[Column], bytes],
    some_values: Callable[[Column], Sequence[Any]],
    *,
    names: bool = False,
) -> Parts:
    """The parts of a table's columns. `wanted`: modalities (none: the first that there is). `given`: part -> column,
    as the user says. `first_bytes` and `some_values` look into a column. `names`: there are class names for labels
    that are numbers. Raises InputError.
    """
    by_name = {column.name: column for column in columns}
    unknown = next((name for name in (*given, *wanted) if name not in MODALITIES and name not in ROLES), None)
    if unknown is not None:
        raise InputError(
            f"columns: {unknown!r} is neither a modality nor one of {', '.join(ROLES)}; "
            f"expected one of {', '.join(MODALITIES)}"
        )
    absent = next((name for name in given.values() if name not in by_name), None)
    if absent is not None:
        raise InputError(f"{table}: has no column {absent!r}; expected one of {', '.join(by_name)}")
    files = {name: by_name[column] for name, column in given.items() if name in MODALITIES}
    fitting = _files_by_modality(columns, first_bytes)
    kinds = list(wanted) or list(files) or next(([kind] for kind in fitting if fitting[kind]), [])
    lacking = next((kind for kind in kinds if kind not in files and not fitting.get(kind)), None)
    if lacking is not None or not kinds:
        raise InputError(
            f"{table}: has columns {', '.join(by_name)}, none of {lacking or 'encoded files'}; "
            f"expected --data-option columns.{lacking or 'image'}=NAME, a column of encoded files"
        )
    chosen = {kind: files.get(kind) or _only(table, kind, fitting[kind]) for kind in kinds}
    beside = [kind for kind in fitting if fitting[kind] and kind not in chosen and not wanted]
    notes = [f"holds {kind} files as well, in the column {fitting[kind][0].name}" for kind in beside]
    left = [column for column in columns if column.name not in {*given.values(), *(c.name for c in chosen.values())}]
    label = by_name[given["label"]] if "label" in given else _label(table, left)
    left = [column for column in left if column is not label]
    caption = by_name[given["caption"]] if "caption" in given else _usual("caption", left)
    if label is None and caption is None:
        label, caption, told = _guessed(table, left, some_values, names)
        notes += told
    return Parts(chosen, label, caption, tuple(notes))


def _files_by_modality(columns: Sequence[Column], first_bytes: Callable[[Column], bytes]) -> dict[str, list[Column]]:
    """The columns of encoded files, in the order of the table: those that the library describes, else by content, else
    by name.
    """
    described = [column for column in columns if column.feature_type in KINDS and column.holds in ("bytes", "file")]
    if described:
        return {kind: [c for c in described if KINDS[c.feature_type] == kind] for kind in CONTENTS}
    able = [column for column in columns if column.holds in ("bytes", "file")]
    content = {column.name: kind_of(first_bytes(column)[:64]) for column in able}
    return {
        kind: [c for c in able if content[c.name] in kinds]
        or [c for c in able if content[c.name] is None and c.name in CALLED[kind]]
        for kind, kinds in CONTENTS.items()
    }


def _label(table: Path, columns: Sequence[Column]) -> Column | None:
    described = [column for column in columns if column.feature_type == "ClassLabel"]
    if described:
        return _only(table, "label", described)
    return _usual("label", [column for column in columns if column.holds in ("text", "number", "other")])


def _only(table: Path, part: str, columns: Sequence[Column]) -> Column:
    """The one of these columns, or the only one with the usual name of the part. Raises InputError for several."""
    usual = [column for column in columns if column.name in CALLED.get(part, ())]
    if len(columns) > 1 and len(usual) != 1:
        raise ambiguous(table, [part], columns)
    return (usual or list(columns))[0]


def _usual(part: str, columns: Sequence[Column]) -> Column | None:
    by_name = {column.name: column for column in columns}
    return next((by_name[name] for name in CALLED[part] if name in by_name), None)


def _guessed(
    table: Path, columns: Sequence[Column], some_values: Callable[[Column], Sequence[Any]], names: bool
) -> tuple[Column | None, Column | None, list[str]]:
    """Label, caption, and the note that says so, where a single column can only be one of them: texts of which each
    occurs twice on average are labels, other texts are captions; without texts, numbers that repeat as much are
    labels where there are `names` for them. Raises InputError for several such columns.
    """
    texts = [column for column in columns if column.holds in ("text", "texts")]
    if len(texts) > 1:
        raise ambiguous(table, ROLES, texts)
    able = texts or [column for column in columns if names and column.holds == "number"]
    said = [(column, _repetition(column, some_values)) for column in able if column.holds != "texts"]
    labels = [(column, told) for column, told in said if told]
    if len(labels) > 1:
        raise ambiguous(table, ["label"], [column for column, _ in labels])
    if labels:
        ((column, told),) = labels
        return column, None, [f"the column {column.name} is taken for the label: {told}"]
    if texts:
        return None, texts[0], [f"the column {texts[0].name} is taken for the caption"]
    return None, None, []


def _repetition(column: Column, some_values: Callable[[Column], Sequence[Any]]) -> str:
    """How often values come again where each occurs twice on average, else nothing."""
    values = some_values(column)
    different = len(set(values))
    return f"{different} {column.holds}s in {len(values)} rows" if 2 * different <= len(values) else ""


def ambiguous(table: Path, parts: Sequence[str], columns: Sequence[Column]) -> InputError:
    """The line for several columns that could play a part."""
    options = " or ".join(f"--data-option columns.{part}=NAME" for part in parts)
    names = ", ".join(column.name for column in columns)
    return InputError(f"{table}: several columns could be the {' or '.join(parts)} ({names}); expected {options}")
