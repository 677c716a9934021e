"""ScanObjectNN (Uy et al. 2019): scanned objects of 15 classes in HDF5 files, 2048 points each; y points up, not z as
in ModelNet40.

`main_split{,_nobg}/{training,test}_objectdataset{,_augmentedrot_scale75}.h5`. The variants differ by ten points and
more of accuracy, so a number without its variant says nothing: it is part of the data set's name.
"""

from pathlib import Path

from ironbind.data.layout import Layout
from ironbind.data.layouts.point.point_files import cloud, labels_of
from ironbind.data.list_files import check_split, holds, root_of
from ironbind.data.listing import Listing
from ironbind.data.names.class_names import class_names
from ironbind.data.storage.hdf5 import Hdf5Rows
from ironbind.types import InputError

VARIANTS = {
    "obj_bg": "main_split/{split}_objectdataset.h5",
    "obj_only": "main_split_nobg/{split}_objectdataset.h5",
    "pb_t50_rs": "main_split/{split}_objectdataset_augmentedrot_scale75.h5",
    "pb_t50_rs_nobg": "main_split_nobg/{split}_objectdataset_augmentedrot_scale75.h5",
}
SPLITS = {"train": "training", "test": "test"}
CLASSES = class_names("scanobjectnn")
EXPECTED = "main_split/ and main_split_nobg/ with *_objectdataset*.h5"


def load(
    path: str | Path | None,
    *,
    split: str = "test",
    variant: str = "pb_t50_rs",
) -> Listing:
    """ScanObjectNN in one variant, which its name tells.

    `variant`: "obj_only" (objects alone), "obj_bg" (with background), "pb_t50_rs" (with background, boxes moved by up
    to half, turned and scaled: the hardest), "pb_t50_rs_nobg" (the same without background). `split`: "train" or
    "test". Raises InputError.
    """
    root = root_of(path, "scanobjectnn", EXPECTED)
    root = root / "h5_files" if (root / "h5_files").is_dir() else root
    if variant not in VARIANTS:
        raise InputError(f"variant {variant!r} is not known; expected one of {', '.join(VARIANTS)}")
    check_split(split, SPLITS, "scanobjectnn")
    file = VARIANTS[variant].format(split=SPLITS[split])
    rows = labels_of(root, [file], CLASSES)
    return Listing(
        f"scanobjectnn-{variant}",
        CLASSES,
        [f"{split}/{row}" for _, row, _ in rows],
        [label for *_, label in rows],
        {"point": Hdf5Rows(root, [(file, row) for _, row, _ in rows], "data", cloud)},
        notes=(f"variant {variant}, split {split}; y points up",),
    )


def recognise(path: Path) -> str | None:
    """Its folders of HDF5 files."""
    for root in (path, path / "h5_files"):
        file = next(
            (name.format(split="test") for name in VARIANTS.values() if holds(root, name.format(split="test"))), None
        )
        if file:
            return f"it holds {(root / file).relative_to(path).as_posix()}"
    return None


LAYOUT = Layout(load, recognise)
