"""Sounds in folds: ESC-50 and UrbanSound8K, a table of clips that names file, fold and class of each.

ESC-50 (Piczak 2015): 2000 recordings of 5 s, 50 classes, 5 folds: `audio/*.wav`, `meta/esc50.csv`; also LanguageBind's
`test/<class>/`. UrbanSound8K (Salamon et al. 2014): 8732 clips of at most 4 s, 10 classes, 10 folds:
`audio/fold<k>/*.wav`, `metadata/UrbanSound8K.csv`. Its rates, widths (24 bits among them) and channels are mixed.
Papers report all clips or one fold, so the notes say which.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ironbind.data.layout import Layout
from ironbind.data.layouts.audio.recordings import numbered
from ironbind.data.layouts.generic import folder
from ironbind.data.list_files import holds, read_table, root_of, whole_number
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError


@dataclass(frozen=True)
class Folds:
    """The table of one such set: where it lies, what its columns are called, and `place`, a clip's file from its name
    and fold.
    """

    name: str
    table: str
    file: str
    label: str
    category: str
    place: str
    count: int

    def read(self, root: Path, fold: int | Sequence[int] | None) -> Listing:
        """The clips of one fold, of several, or of all. All classes of the table stay, in the order of their numbers.
        Raises InputError.
        """
        wanted = None if fold is None else (fold,) if isinstance(fold, int) else tuple(fold)
        wrong = next((number for number in wanted or () if number not in range(1, self.count + 1)), None)
        if wrong is not None or wanted == ():
            raise InputError(
                f"fold {wrong} does not exist in {self.name}; expected 1 to {self.count}, or none for all of them"
            )
        table = root / self.table
        columns = (self.file, "fold", self.label, self.category)
        rows = [
            (file, whole_number(part, table, "fold"), whole_number(label, table, self.label), category)
            for file, part, label, category in read_table(table, columns, f"columns {', '.join(columns)}")
        ]
        names = numbered(((label, category) for _, _, label, category in rows), table)
        order = {number: label for label, number in enumerate(names)}
        chosen = [row for row in rows if wanted is None or row[1] in wanted]
        called = ", ".join(map(str, wanted or ()))
        if not chosen:
            raise InputError(
                f"{table}: lists no clip of fold {called}; "
                f"expected some of {', '.join(map(str, sorted({row[1] for row in rows})))}"
            )
        files = [self.place.format(file=file, fold=part) for file, part, _, _ in chosen]
        return Listing(
            self.name,
            tuple(names.values()),
            [Path(file).stem for file in files],
            [order[label] for _, _, label, _ in chosen],
            {"audio": Files(root, files, MODALITIES["audio"].read)},
            notes=(
                f"all folds, {len(chosen)} clips"
                if wanted is None
                else f"fold {called} alone, {len(chosen)} of {len(rows)} clips",
            ),
        )


ESC50 = Folds("esc50", "meta/esc50.csv", "filename", "target", "category", "audio/{file}", 5)
URBANSOUND8K = Folds(
    "urbansound8k", "metadata/UrbanSound8K.csv", "slice_file_name", "classID", "class", "audio/fold{fold}/{file}", 10
)


def load_esc50(
    path: str | Path | None,
    *,
    split: str | None = None,
    fold: int | Sequence[int] | None = None,
) -> Listing:
    """ESC-50. `fold`: one or several of 1 to 5 (None: all 2000 clips). `split`: the folder of LanguageBind's layout,
    "test" unless said.

    Raises InputError.
    """
    root = root_of(path, "esc50", f"audio/ and {ESC50.table}, or test/<class>/")
    if (root / ESC50.table).is_file():
        _no_split(root, split, ESC50)
        listing = ESC50.read(root, fold)
        return replace(listing, listed=ESC50.table)
    split = split or "test"
    if not (root / split).is_dir():
        raise InputError(
            f"{root}: has neither {ESC50.table} nor a folder {split}/; "
            f"expected audio/ and {ESC50.table}, or {split}/<class>/"
        )
    if fold is not None:
        raise InputError(
            f"fold {fold} is not known in {root}, whose class folders do not say it; expected {ESC50.table}"
        )
    listing = folder.load(root, modality="audio", split=split)
    return replace(
        listing,
        name="esc50",
        notes=(*listing.notes, f"class folders in {split}/, as LanguageBind publishes them: all folds together"),
    )


def load_urbansound8k(
    path: str | Path | None,
    *,
    split: str | None = None,
    fold: int | Sequence[int] | None = None,
) -> Listing:
    """UrbanSound8K. `fold`: one or several of 1 to 10 (None: all 8732 clips). `split`: there is none.

    Raises InputError.
    """
    root = root_of(path, "urbansound8k", f"audio/fold1 ... fold{URBANSOUND8K.count} and {URBANSOUND8K.table}")
    _no_split(root, split, URBANSOUND8K)
    listing = URBANSOUND8K.read(root, fold)
    listing = replace(
        listing,
        notes=(
            *listing.notes,
            "UniBind reports 1653 of these clips without publishing which: its numbers are about other data",
        ),
    )
    return replace(listing, listed=URBANSOUND8K.table)


def _no_split(root: Path, split: str | None, folds: Folds) -> None:
    if split is not None:
        raise InputError(
            f"split {split!r} does not exist in {root}; expected none: {folds.name} has folds, fold=1 to {folds.count}"
        )


def recognise_esc50(path: Path) -> str | None:
    """The original layout only: class folders of sounds may be anything."""
    return f"it holds {ESC50.table}" if holds(path, ESC50.table) else None


def recognise_urbansound8k(path: Path) -> str | None:
    """Its table lies there."""
    return f"it holds {URBANSOUND8K.table}" if holds(path, URBANSOUND8K.table) else None


ESC50_LAYOUT = Layout(load_esc50, recognise_esc50)
URBANSOUND8K_LAYOUT = Layout(load_urbansound8k, recognise_urbansound8k)
