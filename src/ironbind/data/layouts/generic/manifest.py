"""dataset.json at the root of an exported data set: what class folders alone cannot say (ids, the order of classes and
samples, prompts).
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ironbind.modalities import MODALITIES
from ironbind.types import InputError

FILE = "dataset.json"
FORMAT = "ironbind export 1"


@dataclass(frozen=True)
class Manifest:
    """An exported data set. Sample i has id `ids[i]`, class `classes[labels[i]]`, and lies in
    `<modality>/<folders[labels[i]]>/<stems[i]><suffix>`.

    `source` is the fingerprint of what was exported; `complete` turns true when the last file is written.
    """

    name: str
    source: str
    complete: bool
    modalities: tuple[str, ...]
    classes: tuple[str, ...]
    folders: tuple[str, ...]
    templates: tuple[str, ...] | None
    ids: tuple[str, ...]
    labels: tuple[int, ...]
    stems: tuple[str, ...]

    def write(self, root: Path) -> None:
        """Into `root`, at once or not at all."""
        part = root / f".partial-{FILE}"
        part.write_text(json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False), encoding="utf-8")
        os.replace(part, root / FILE)


TEXTS = ("modalities", "classes", "folders", "ids", "stems")


def _check_kinds(manifest: Manifest) -> None:
    """Raises TypeError for fields of another kind than an export writes: JSON holds anything."""
    lists = {name: getattr(manifest, name) for name in TEXTS} | (
        {} if manifest.templates is None else {"templates": manifest.templates}
    )
    wrong = next(
        (
            name
            for name, members in lists.items()
            if not isinstance(members, tuple) or not all(isinstance(part, str) for part in members)
        ),
        None,
    )
    if wrong is None and not (
        isinstance(manifest.labels, tuple) and all(type(label) is int for label in manifest.labels)
    ):
        wrong = "labels"
    if wrong is None and not (
        isinstance(manifest.name, str) and isinstance(manifest.source, str) and isinstance(manifest.complete, bool)
    ):
        wrong = "name, source or complete"
    if wrong is not None:
        raise TypeError(f"{wrong} is of another kind")


def read_manifest(root: Path) -> Manifest | None:
    """The manifest in `root`, None where there is none. Raises InputError for one that is damaged or of another
    format.
    """
    path = root / FILE
    if not path.is_file():
        return None
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields.pop("format", None) != FORMAT:
            raise InputError(
                f"{path}: is not of format {FORMAT!r}; expected what `ironbind world export` writes (or no {FILE})"
            )
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in fields.items()
        }
        manifest = Manifest(**values)
        _check_kinds(manifest)
        unknown = next((name for name in manifest.modalities if name not in MODALITIES), None)
        if unknown is not None:
            raise InputError(f"{path}: names the modality {unknown!r}; expected some of {', '.join(MODALITIES)}")
        in_range = all(0 <= label < len(manifest.classes) for label in manifest.labels)
        if not (
            in_range
            and len(manifest.ids) == len(manifest.labels) == len(manifest.stems)
            and len(manifest.classes) == len(manifest.folders)
        ):
            raise InputError(
                f"{path}: its ids, labels, stems and classes do not fit each other; expected what an export writes"
            )
    except InputError:
        raise
    except (ValueError, OverflowError, TypeError, AttributeError, OSError) as error:
        raise InputError(
            f"{path}: cannot be read ({' '.join(str(error).split())[:120]}); expected the {FILE} of an export"
        ) from error
    return manifest
