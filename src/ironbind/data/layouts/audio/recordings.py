"""What the layouts of sounds share: which recording is meant by a name in a list, and classes numbered by a list."""

import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError


def composed(name: str) -> str:
    """A name as it is compared: in Unicode's composed form, as some file systems and archives store é as e and an
    accent; no blanks around.
    """
    return unicodedata.normalize("NFC", name).strip()


def recordings(root: Path, folders: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The first of `folders` that exists in `root` ("" is the root itself), and stem -> path relative to `root` of all
    recordings in it.

    Folders below it are searched too. Of equal stems the first in order of paths counts.
    """
    folder = next((name for name in folders if (root / name).is_dir()), "")
    suffixes = MODALITIES["audio"].suffixes
    by_stem: dict[str, str] = {}
    for place, inside, files in os.walk(root / folder):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        for file in sorted(files):
            stem, suffix = os.path.splitext(file)
            if suffix.lower() in suffixes and not file.startswith("."):
                by_stem.setdefault(composed(stem), (Path(place) / file).relative_to(root).as_posix())
    return folder, by_stem


def folder_of(root: Path, given: str | None, usual: Sequence[str]) -> tuple[str, ...]:
    """Where to look for recordings: the folder that the user named, else the usual ones. Raises InputError for one that
    is not there.
    """
    if given is None:
        return (*usual, "")
    if not (root / given).is_dir():
        raise InputError(f"{root / given}: no such folder; expected the recordings in it (the option audio)")
    return (given,)


def matched(root: Path, folder: str, by_stem: Mapping[str, str], stems: Iterable[Sequence[str]]) -> Files:
    """One recording a sample: of its possible `stems` the first that was found; where none was, the path at which the
    first would be.
    """
    prefix = f"{folder}/" if folder else ""
    suffix = MODALITIES["audio"].suffixes[0]
    files = [
        next((by_stem[stem] for stem in map(composed, names) if stem in by_stem), f"{prefix}{names[0]}{suffix}")
        for names in stems
    ]
    return Files(root, files, MODALITIES["audio"].read)


def numbered(pairs: Iterable[tuple[int, str]], path: Path) -> dict[int, str]:
    """Label -> class name, in the order of labels, underscores read as spaces. Raises InputError where a list
    contradicts itself.
    """
    names: dict[int, str] = {}
    for label, name in pairs:
        if names.setdefault(label, name) != name:
            raise InputError(f"{path}: calls class {label} both {names[label]!r} and {name!r}; expected one name each")
    if len(set(names.values())) < len(names):
        raise InputError(f"{path}: gives several numbers to one class name; expected one number each")
    return {label: names[label].replace("_", " ") for label in sorted(names)}
