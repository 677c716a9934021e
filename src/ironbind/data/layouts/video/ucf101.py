"""UCF-101: `UCF-101/<Class>/v_<Class>_g01_c01.avi`, split by `ucfTrainTestlist/testlist01.txt`, classes numbered from 1
in classInd.txt.

Class and file names disagree in their capitals (HandstandPushups, HandStandPushups): they are compared without.
"""

import re
from dataclasses import replace
from pathlib import Path

from ironbind.data.layout import Layout
from ironbind.data.list_files import as_spelt, holds, read_lines, root_of, whole_number
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

LISTS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "")
VIDEOS = ("UCF-101", "UCF101", "videos")
EXPECTED = "UCF-101/<Class>/*.avi and ucfTrainTestlist/ with classInd.txt, testlist01.txt"


def load(
    path: str | Path | None,
    *,
    split: str = "test",
    fold: int = 1,
) -> Listing:
    """`split` ("test", "train") of `fold` 1, 2 or 3 of the UCF-101 in `path`; test of fold 1, 3,783 clips, is what is
    usually reported.

    "ApplyEyeMakeup" is called "Apply Eye Makeup". Raises InputError.
    """
    root = root_of(path, "ucf101", EXPECTED)
    if split not in ("test", "train") or fold not in (1, 2, 3):
        raise InputError(f"split {split!r}, fold {fold} of ucf101 is not known; expected test or train, and 1, 2 or 3")
    lists = root / next((folder for folder in LISTS if (root / folder / "classInd.txt").is_file()), LISTS[0])
    known = _classes(lists / "classInd.txt")
    label_of = {name.lower(): label for label, name in enumerate(known)}
    listed = lists / f"{split}list{fold:02}.txt"
    expected = "lines of <Class>/<clip>.avi" + (" and a class's number" if split == "train" else "")
    files, labels = [], []
    for line in read_lines(listed, expected):
        file = line.split()[0]
        folder = file.partition("/")[0]
        if "/" not in file or folder.lower() not in label_of:
            raise InputError(
                f"{listed}: has the line {line[:60]!r}, of none of the {len(known)} classes of classInd.txt; "
                f"expected {expected}"
            )
        label = label_of[folder.lower()]
        numbers = line.split()[1:]  # a train list says the class again
        if numbers and whole_number(numbers[0], listed, f"class of {file}") != label + 1:
            raise InputError(
                f"{listed}: says class {numbers[0]} of {file}; expected {label + 1}, as classInd.txt numbers from 1"
            )
        files.append(file)
        labels.append(label)
    videos = next((root / folder for folder in VIDEOS if (root / folder).is_dir()), root)
    sources = {"video": Files(videos, as_spelt(videos, files, str.lower), MODALITIES["video"].read)}
    ids = [file.rpartition(".")[0] for file in files]
    names = tuple(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name) for name in known)
    listing = Listing("ucf101", names, ids, labels, sources, notes=(f"{split} split {fold} of 3",))
    return replace(listing, listed=listed.name)


def recognise(path: Path) -> str | None:
    """Its list of classes, or folders of two of them."""
    for folder in LISTS:
        if (path / folder / "classInd.txt").is_file():
            return f"it holds {folder + '/' if folder else ''}classInd.txt"
    return "it holds UCF-101/" if holds(path, "UCF-101/ApplyEyeMakeup") else None


def _classes(path: Path) -> tuple[str, ...]:
    expected = "lines of a number, counted from 1, and a class: 1 ApplyEyeMakeup"
    rows = [line.partition(" ") for line in read_lines(path, expected)]
    names = {whole_number(number, path, "number", len(rows) + 1): name.strip() for number, _, name in rows}
    if set(names) != set(range(1, len(rows) + 1)) or len({name.lower() for name in names.values()}) < len(rows):
        raise InputError(
            f"{path}: its numbers or classes are not each there once, from 1 to {len(rows)}; expected {expected}"
        )
    return tuple(names[number] for number in sorted(names))


LAYOUT = Layout(load, recognise)
