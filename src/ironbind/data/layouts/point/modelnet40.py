"""ModelNet40 (Wu et al. 2015): 12,311 models of 40 classes, in the three forms that are published; which one it is,
`load` sees.

off: meshes, `<class>/{train,test}/<class>_0001.off`; 8192 points are drawn over each surface, by area, seeded by the
model's name. txt: `modelnet40_normal_resampled`: `<class>/<class>_0001.txt` with rows x,y,z,nx,ny,nz;
`modelnet40_{train,test}.txt` list stems. h5: `modelnet40_ply_hdf5_2048`: `ply_data_test0.h5` with data and label;
`test_files.txt` lists them under the authors' own paths. The same model has the same id in off and txt; in h5 files
nothing says which model a cloud is of.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.class_folders import find_tree
from ironbind.data.layouts.point.point_files import cloud, labels_of, read_drawn_by_name
from ironbind.data.list_files import check_split, holds, read_lines, root_of
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Files
from ironbind.data.storage.hdf5 import Hdf5Rows
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

SPLITS = ("train", "test")
NAMES = {"txt": "modelnet40_shape_names.txt", "h5": "shape_names.txt"}


def load(
    path: str | Path | None,
    *,
    split: str = "test",
    form: str | None = None,
) -> Listing:
    """ModelNet40, classes in the order of their names ("night stand", underscores read as spaces).

    `split`: "train" or "test". `form`: "off", "txt" or "h5" (None: what `path` holds). Raises InputError.
    """
    root = root_of(
        path, "modelnet40", f"<class>/{{train,test}}/*.off, or {' or '.join(NAMES.values())} and what belongs to it"
    )
    check_split(split, SPLITS, "modelnet40")
    form = form or next((known for known, names in NAMES.items() if (root / names).is_file()), "off")
    if form not in FORMS:
        raise InputError(f"form {form!r} is not known; expected one of {', '.join(FORMS)}")
    listing, listed = FORMS[form](root, split)
    return replace(listing, listed=listed)


def _off(root: Path, split: str) -> tuple[Listing, str | None]:
    tree = find_tree(root, ("point",), split)
    files = tree.files["point"]
    note = f"split {split}, meshes (off): points drawn over their surfaces by area, seeded by name"
    ids = [PurePosixPath(file).stem for file in files]
    source = Files(tree.root, files, read_drawn_by_name)
    return Listing(
        "modelnet40",
        tree.classes,
        ids,
        tree.labels,
        {"point": source},
        notes=(note, *tree.notes),
        problems=tree.problems,
        missing=tree.missing,
    ), None


def _txt(root: Path, split: str) -> tuple[Listing, str | None]:
    listed = f"modelnet40_{split}.txt"
    names = _names(root / NAMES["txt"])
    stems = read_lines(root / listed, "stems such as night_stand_0200")
    folders = [stem.rpartition("_")[0] for stem in stems]
    wrong = next((stem for stem, folder in zip(stems, folders, strict=True) if folder not in names), None)
    if wrong is not None:
        raise InputError(
            f"{root / listed}: lists {wrong[:60]!r}; expected a class of {NAMES['txt']}, then _ and a number"
        )
    source = Files(
        root, [f"{folder}/{stem}.txt" for folder, stem in zip(folders, stems, strict=True)], MODALITIES["point"].read
    )
    note = f"split {split}, points resampled by the PointNet++ authors (txt); their normals are not used"
    return Listing(
        "modelnet40",
        _spaced(names),
        stems,
        [names.index(folder) for folder in folders],
        {"point": source},
        notes=(note,),
    ), listed


def _h5(root: Path, split: str) -> tuple[Listing, str | None]:
    listed = f"{split}_files.txt"
    names = _names(root / NAMES["h5"])
    # the list holds the paths of its authors' machine
    files = [PurePosixPath(line).name for line in read_lines(root / listed, "HDF5 files, one a line")]
    absent = [file for file in files if not (root / file).is_file()]
    if absent:
        raise InputError(
            f"{root}: lacks {', '.join(absent)[:120]}; expected the {len(files)} files that {listed} lists"
        )
    rows = labels_of(root, files, names)
    source = Hdf5Rows(root, [(file, row) for file, row, _ in rows], "data", cloud)
    ids = [f"{PurePosixPath(file).stem}/{row}" for file, row, _ in rows]
    note = f"split {split}, clouds of 2048 points (h5)"
    return Listing(
        "modelnet40", _spaced(names), ids, [label for *_, label in rows], {"point": source}, notes=(note,)
    ), None


FORMS: dict[str, Callable[[Path, str], tuple[Listing, str | None]]] = {"off": _off, "txt": _txt, "h5": _h5}


def _names(path: Path) -> list[str]:
    names = read_lines(path, "class names, one a line")
    if len(set(names)) < len(names):
        raise InputError(f"{path}: lists a class twice; expected each once")
    return names


def _spaced(names: Sequence[str]) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in names)


def recognise(path: Path) -> str | None:
    """Lists of the two derived forms, or a class that the original has with both splits in it."""
    for names, lists in ((NAMES["txt"], ["modelnet40_test.txt"]), (NAMES["h5"], ["test_files.txt"])):
        if holds(path, names, *lists):
            return f"it holds {names} and {lists[0]}"
    if holds(path, "night_stand/train", "night_stand/test") or holds(path, "airplane/train", "airplane/test"):
        return "its classes hold train/ and test/"
    return None


LAYOUT = Layout(load, recognise)
