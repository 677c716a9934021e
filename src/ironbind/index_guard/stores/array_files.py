"""Rows in files of arrays: .npy, .safetensors."""

from pathlib import Path

import numpy as np

from ironbind.core.errors import InputError
from ironbind.core.placeholders import placeholder
from ironbind.index_guard.stored_rows import StoredRows, as_rows


def read_npy(path: Path, part: str | None = None) -> StoredRows:
    """The array of a .npy file, mapped rather than read. Raises InputError for anything that is no array of float32
    rows.
    """
    if part is not None:
        raise InputError(f"--part {part}: {path} holds one array; leave it out")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        what = placeholder(path) or "no .npy array, or one of Python objects"
        raise InputError(f"{path}: is {what}; expected float32 rows") from error
    return StoredRows(str(path), as_rows(array, path))


def read_safetensors(path: Path, part: str | None = None) -> StoredRows:
    """The tensor called `part`, or the only one of a .safetensors file. Raises InputError where there is none, or a
    choice to make.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            name = chosen_part(part, list(file.keys()), path, "tensor")
            try:
                array = file.get_tensor(name)
            except (TypeError, AttributeError, KeyError) as error:  # bfloat16 and float8 are no types of numpy
                kind = file.get_slice(name).get_dtype()
                raise InputError(f"{path}: {name!r} holds {kind}; expected float32 rows") from error
    except SafetensorError as error:
        raise InputError(f"{path}: is {placeholder(path) or 'no .safetensors file'} ({error})") from error
    return StoredRows(str(path), as_rows(array, f"{path}: {name!r}"))


def chosen_part(part: str | None, names: list[str], path: Path, noun: str) -> str:
    """The name that was asked for, or the only one there is. Raises InputError for a choice that was not made, and for
    a name that does not exist.
    """
    listed = ", ".join(sorted(names)[:12]) or "none"
    if part is not None and part not in names:
        raise InputError(f"--part {part}: {path} has no such {noun}; expected one of {listed}")
    if not names:
        raise InputError(f"{path}: holds no {noun}; expected one with rows")
    if part is None and len(names) != 1:
        raise InputError(f"{path}: holds {len(names)} {noun}s ({listed}); say which with --part")
    return part if part is not None else names[0]
