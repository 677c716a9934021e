"""Class folders of real files, in any modality: `DIR/<class>/<file>`, or `DIR/<modality>/<class>/<file>` with instances paired by file stem.

Folder names are class names, underscores read as spaces. Where an export left its dataset.json, ids, order, classes and prompts are its.
Beside it `captions.csv` (columns id, caption) and `templates.txt` (one prompt a line, with {}) are used where they exist.
"""

import csv
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ironbind.data.tree import Tree, find_tree
from ironbind.modalities import MODALITIES
from ironbind.types import Decoded, InputError

WHOLE, PIECE = 65_536, 16_384  # bytes: files up to the first are hashed whole, of longer ones three pieces of the second


@dataclass(frozen=True, eq=False)
class Folder:
    """A Dataset over files, decoded when asked for. `files[modality][i]` is the path of sample i, relative to `root`.

    `notes`: what a reader of the results should know about how the folder was taken (files ignored, classes left out). `problems`:
    one line for each sample that was dropped because a file of it cannot be read.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    ids: Sequence[str]
    labels: Sequence[int]
    files: dict[str, list[str]]
    captions: Sequence[str] | None = None
    templates: Sequence[str] | None = None
    notes: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those loaded."""
        return tuple(self.files)

    def decode(self, modality: str, indices: Sequence[int]) -> list[Decoded]:
        """The samples at `indices`. Raises InputError naming the first file that cannot be read."""
        if modality not in self.files:
            raise InputError(f"modality {modality!r} was not loaded from {self.root}; expected one of {', '.join(self.files)}")
        read, files = MODALITIES[modality].read, self.files[modality]
        return [read(self.root / files[index]) for index in indices]

    def scan(self, progress: Callable[[int, int], None] | None = None) -> dict[int, str]:
        """Decodes every file once: the samples that cannot be read, by number, each with its reader's line."""
        unreadable: dict[int, str] = {}
        for index in range(len(self)):
            for modality in self.files:
                try:
                    self.decode(modality, [index])
                except InputError as error:
                    unreadable.setdefault(index, str(error))
            if progress:
                progress(index + 1, len(self))
        return unreadable

    def keep(self, rows: Sequence[int]) -> "Folder":
        """The same data set with these samples only; all classes stay."""
        return replace(
            self,
            ids=[self.ids[row] for row in rows],
            labels=[self.labels[row] for row in rows],
            files={modality: [files[row] for row in rows] for modality, files in self.files.items()},
            captions=None if self.captions is None else [self.captions[row] for row in rows],
        )

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over ids, labels, classes, captions, prompts and every file's path, size and content.

        Of files above 64 KiB three pieces of 16 KiB are read (start, middle, end), so that 100,000 files take minutes, not hours: an
        edit that keeps the size and misses all three goes unseen.
        """
        digest = hashlib.sha256()
        for part in (self.ids, self.labels, self.classes, self.captions, self.templates):
            digest.update(repr(part if part is None else list(part)).encode())
        for modality, files in self.files.items():
            digest.update(modality.encode())
            for file in files:
                digest.update(f"{file}\0{_content_hash(self.root / file)}\n".encode())
        return digest.hexdigest()


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            digest.update(str(size).encode())
            if size <= WHOLE:
                digest.update(file.read())
            else:
                for start in (0, (size - PIECE) // 2, size - PIECE):
                    file.seek(start)
                    digest.update(file.read(PIECE))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); expected the file that was there when the folder was loaded") from error
    return digest.hexdigest()


def load(
    path: str | Path | None,
    *,
    modality: str | Sequence[str] | None = None,
    split: str | None = None,
    captions: str | Path | None = None,
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_unreadable: bool = False,
) -> Folder:
    """The class folders in `path` as a data set.

    `modality`: one, several (instances are paired by file stem; those lacking one are left out and noted), or None for all modality
    folders there are. `split`: only files below a folder of that name, `DIR/<split>/<class>/` or `DIR/<class>/<split>/`. `captions`: a
    CSV other than DIR/captions.csv. `classes`: only these, in this order. `limit`: that many samples, the share of each class kept,
    chosen by `seed`; a smaller limit chooses among those of a larger one. `skip_unreadable`: decode every file now, drop samples
    that cannot be read and list them in `problems`. Raises InputError.
    """
    if path is None:
        raise InputError("path is missing: the data set 'folder' is read from a folder; expected DIR with DIR/<class>/<file>")
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit} is too small; expected at least 1")
    wanted = (modality,) if isinstance(modality, str) else None if modality is None else tuple(modality)
    for name in wanted or ():
        if name not in MODALITIES:
            raise InputError(f"modality {name!r} is not known; expected one of {', '.join(MODALITIES)}")
    tree = find_tree(Path(path), wanted, split, lenient=skip_unreadable)
    if classes is not None:
        tree = _restrict(tree, classes)
    templates = tree.templates or _read_templates(tree.root / "templates.txt")
    folder = Folder(tree.name, tree.root, tree.classes, tree.ids, tree.labels, tree.files, None, templates, tree.notes, tree.problems)
    folder = _with_captions(folder, captions)
    if limit is not None and limit < len(folder):
        folder = folder.keep(stratified(folder.labels, limit, seed))
    if skip_unreadable:
        folder = _readable(folder)
    if len(folder.classes) == 1:
        folder = replace(folder, notes=(*folder.notes, f"one class only ({folder.classes[0]}): every prediction is right by construction"))
    return folder


def stratified(labels: Sequence[int], limit: int, seed: int) -> list[int]:
    """`limit` sample numbers, ascending: every class keeps its share up to one sample; a smaller limit gives a subset.

    Systematic sampling: the samples of each class, shuffled, are spread evenly over [0, 1), and the smallest positions are taken.
    """
    label = np.asarray(labels)
    position = np.empty(len(label))
    for one in np.unique(label):
        rng = np.random.default_rng([seed, int(one)])
        rows = rng.permutation(np.flatnonzero(label == one))
        position[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    return sorted(np.argsort(position, kind="stable")[:limit].tolist())


def _restrict(tree: Tree, classes: Sequence[str]) -> Tree:
    chosen = tuple(one if one in tree.classes else one.replace("_", " ") for one in classes)
    for name in chosen:
        if name not in tree.classes:
            shown = ", ".join(tree.classes[:10]) + (", ..." if len(tree.classes) > 10 else "")
            raise InputError(f"class {name!r} does not exist in {tree.root}; expected some of {shown}")
    if len(set(chosen)) < len(chosen) or not chosen:
        raise InputError(f"classes {', '.join(chosen) or '()'}: expected at least one, each once")
    new_label = {tree.classes.index(name): i for i, name in enumerate(chosen)}
    rows = [row for row, label in enumerate(tree.labels) if label in new_label]
    if not rows:
        raise InputError(f"{tree.root}: holds no sample of {', '.join(chosen)}; expected at least one")
    return tree._replace(
        classes=chosen,
        ids=[tree.ids[row] for row in rows],
        labels=[new_label[tree.labels[row]] for row in rows],
        files={modality: [files[row] for row in rows] for modality, files in tree.files.items()},
    )


def _readable(folder: Folder) -> Folder:
    unreadable = folder.scan()
    if len(unreadable) == len(folder):
        raise InputError(f"{folder.root}: none of its {len(folder)} samples can be read; the first: {next(iter(unreadable.values()))}")
    kept = folder.keep([row for row in range(len(folder)) if row not in unreadable])
    return replace(kept, problems=(*folder.problems, *unreadable.values()))


def _read_templates(path: Path) -> tuple[str, ...] | None:
    if not path.is_file():
        return None
    lines = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines() if line.strip())
    bad = next((line for line in lines if line.count("{}") != 1), None)
    if bad is not None or not lines:
        raise InputError(f"{path}: has the line {(bad or '')[:60]!r}; expected prompts with one {{}} each")
    return lines


def _with_captions(folder: Folder, given: str | Path | None) -> Folder:
    path = Path(given) if given is not None else folder.root / "captions.csv"
    if not path.is_file():
        if given is not None:
            raise InputError(f"{path}: no such file; expected a CSV with columns id, caption")
        return folder
    told: dict[str, str] = {}
    repeated = 0
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file, skipinitialspace=True, strict=True)
            if not {"id", "caption"} <= set(rows.fieldnames or ()):
                raise InputError(f"{path}: has columns {', '.join(rows.fieldnames or ()) or '(none)'}; expected id, caption")
            for row in rows:
                repeated += row["id"] in told
                told.setdefault(row["id"], (row["caption"] or "").strip())
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); expected a CSV in UTF-8 with columns id, caption") from error
    missing = [one for one in folder.ids if not told.get(one)]
    if missing:
        raise InputError(f"{path}: has no caption for {len(missing)} of {len(folder)} samples, the first {missing[0]!r}; expected one each")
    notes = (*folder.notes, f"{path.name}: {repeated} further captions of samples that have one already are not used") if repeated else folder.notes
    return replace(folder, captions=[told[one] for one in folder.ids], notes=notes)
