"""ShapeNet55 (Chang et al. 2015, as sampled by Yu et al. 2021 and used by ULIP and UniBind's point encoder): clouds of
8192 points, 55 classes.

`shapenet_pc/<synset>-<model>.npy` [8192, 3], and `ShapeNet-55/{train,test}.txt` with one file name a line.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from ironbind.data.layout import Layout
from ironbind.data.list_files import check_split, first_of, holds, read_lines, root_of
from ironbind.data.listing import Listing
from ironbind.data.names.class_names import SHAPENET_SYNSETS
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

SPLITS = ("train", "test")
LISTS = "ShapeNet-55"
CLOUDS = "shapenet_pc"


def load(
    path: str | Path | None,
    *,
    split: str = "test",
) -> Listing:
    """ShapeNet55, all 55 classes in the order of their synsets.

    `split`: "train" or "test". Raises InputError.
    """
    root = root_of(path, "shapenet", f"{CLOUDS}/*.npy and {LISTS}/test.txt")
    check_split(split, SPLITS, "shapenet")
    listed = first_of(root, [f"{LISTS}/{split}.txt", f"{split}.txt"], "its list of files")
    stems = [
        PurePosixPath(line).name.removesuffix(".npy")
        for line in read_lines(listed, f"names such as {next(iter(SHAPENET_SYNSETS))}-<model>.npy")
    ]
    synsets = [stem.partition("-")[0] for stem in stems]
    wrong = next((stem for stem, synset in zip(stems, synsets, strict=True) if synset not in SHAPENET_SYNSETS), None)
    if wrong is not None:
        raise InputError(
            f"{listed}: lists {wrong[:60]!r}; expected names that start with one of ShapeNet's {len(SHAPENET_SYNSETS)} "
            "synsets and -"
        )
    number = {synset: label for label, synset in enumerate(SHAPENET_SYNSETS)}
    folder = f"{CLOUDS}/" if (root / CLOUDS).is_dir() else ""
    source = Files(root, [f"{folder}{stem}.npy" for stem in stems], MODALITIES["point"].read)
    labels = [number[synset] for synset in synsets]
    listing = Listing(
        "shapenet", tuple(SHAPENET_SYNSETS.values()), stems, labels, {"point": source}, notes=(f"split {split}",)
    )
    return replace(listing, listed=listed.relative_to(root).as_posix())


def recognise(path: Path) -> str | None:
    """Its lists and its clouds."""
    return f"it holds {CLOUDS}/ and {LISTS}/test.txt" if holds(path, CLOUDS, f"{LISTS}/test.txt") else None


LAYOUT = Layout(load, recognise)
