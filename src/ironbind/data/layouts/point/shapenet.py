"""ShapeNet55 (Chang et al. 2015, as sampled by Yu et al. 2021 and used by ULIP and UniBind's point encoder): clouds of
8192 points, 55 classes.

`shapenet_pc/<synset>-<model>.npy` [8192, 3], and `ShapeNet-55/{train,test}.txt` with one file name a line.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from ironbind.data.list_files import check_split, first_of, holds, read_lines, root_of
from ironbind.data.listing import Listing, choose
from ironbind.data.storage.files import Files
from ironbind.modalities import MODALITIES
from ironbind.types import InputError

SPLITS = ("train", "test")
LISTS = "ShapeNet-55"
CLOUDS = "shapenet_pc"

# Source: the first of the names that taxonomy.json of ShapeNetCore.v2 gives each of its 55 top-level synsets
# ("can,tin,tin can" -> "can").
CLASSES = {
    "02691156": "airplane", "02747177": "ashcan", "02773838": "bag", "02801938": "basket", "02808440": "bathtub", "02818832": "bed",
    "02828884": "bench", "02843684": "birdhouse", "02871439": "bookshelf", "02876657": "bottle", "02880940": "bowl", "02924116": "bus",
    "02933112": "cabinet", "02942699": "camera", "02946921": "can", "02954340": "cap", "02958343": "car", "02992529": "cellular telephone",
    "03001627": "chair", "03046257": "clock", "03085013": "computer keyboard", "03207941": "dishwasher", "03211117": "display",
    "03261776": "earphone", "03325088": "faucet", "03337140": "file", "03467517": "guitar", "03513137": "helmet", "03593526": "jar",
    "03624134": "knife", "03636649": "lamp", "03642806": "laptop", "03691459": "loudspeaker", "03710193": "mailbox", "03759954": "microphone",
    "03761084": "microwave", "03790512": "motorcycle", "03797390": "mug", "03928116": "piano", "03938244": "pillow", "03948459": "pistol",
    "03991062": "pot", "04004475": "printer", "04074963": "remote control", "04090263": "rifle", "04099429": "rocket", "04225987": "skateboard",
    "04256520": "sofa", "04330267": "stove", "04379243": "table", "04401088": "telephone", "04460130": "tower", "04468005": "train",
    "04530566": "vessel", "04554684": "washer",
}  # fmt: skip


def load(
    path: str | Path | None,
    *,
    split: str = "test",
    classes: Sequence[str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    skip_unreadable: bool = False,
) -> Listing:
    """ShapeNet55, all 55 classes in the order of their synsets.

    `split`: "train" or "test". `classes`, `limit`, `seed`, `skip_unreadable`: see `choose`. Raises InputError.
    """
    root = root_of(path, "shapenet", f"{CLOUDS}/*.npy and {LISTS}/test.txt")
    check_split(split, SPLITS, "shapenet")
    listed = first_of(root, [f"{LISTS}/{split}.txt", f"{split}.txt"], "its list of files")
    stems = [
        PurePosixPath(line).name.removesuffix(".npy")
        for line in read_lines(listed, f"names such as {next(iter(CLASSES))}-<model>.npy")
    ]
    synsets = [stem.partition("-")[0] for stem in stems]
    wrong = next((stem for stem, synset in zip(stems, synsets, strict=True) if synset not in CLASSES), None)
    if wrong is not None:
        raise InputError(
            f"{listed}: lists {wrong[:60]!r}; expected names that start with one of ShapeNet's {len(CLASSES)} synsets and -"
        )
    number = {synset: label for label, synset in enumerate(CLASSES)}
    folder = f"{CLOUDS}/" if (root / CLOUDS).is_dir() else ""
    source = Files(root, [f"{folder}{stem}.npy" for stem in stems], MODALITIES["point"].read)
    labels = [number[synset] for synset in synsets]
    listing = Listing("shapenet", tuple(CLASSES.values()), stems, labels, {"point": source}, notes=(f"split {split}",))
    return choose(
        listing,
        classes=classes,
        limit=limit,
        seed=seed,
        skip_unreadable=skip_unreadable,
        listed=listed.relative_to(root).as_posix(),
    )


def recognises(path: Path) -> str | None:
    """Its lists and its clouds."""
    return f"it holds {CLOUDS}/ and {LISTS}/test.txt" if holds(path, CLOUDS, f"{LISTS}/test.txt") else None
