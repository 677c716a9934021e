"""Tiny sets in the real formats of point clouds: OFF with its glued header, text rows, HDF5, NPY.

Each example fills the folder it is given and returns the options that load it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from layouts.tiny_sounds import text

TETRAHEDRON = "4 4 6\n0 0 0\n1 0 0\n0 1 0\n0 0 {height}\n3 0 1 2\n3 0 1 3\n3 0 2 3\n3 1 2 3\n"
SYNSETS = ("02691156", "03001627", "04379243")  # airplane, chair, table


def modelnet40_off(root: Path) -> dict[str, Any]:
    for name in ("airplane", "night_stand"):
        for split, numbers in (("train", (1, 2)), ("test", (3, 4))):
            for number in numbers:
                header = (
                    "OFF" if number % 2 else "OFF\n"
                )  # every second one glued to its counts, as some of the real ones
                text(root / name / split / f"{name}_{number:04d}.off", header + TETRAHEDRON.format(height=number))
    return {}


def modelnet40_txt(root: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    names = ["airplane", "night_stand"]
    text(root / "modelnet40_shape_names.txt", "\n".join(names) + "\n")
    for split, numbers in (("train", (1, 2)), ("test", (3, 4))):
        stems = [f"{name}_{number:04d}" for name in names for number in numbers]
        text(root / f"modelnet40_{split}.txt", "\r\n".join(stems) + "\r\n")
        for stem in stems:
            (root / stem[:-5]).mkdir(exist_ok=True)
            np.savetxt(root / stem[:-5] / f"{stem}.txt", rng.uniform(-1, 1, (20, 6)), fmt="%.6f", delimiter=",")
    return {}


def clouds(
    path: Path, points: int, labels: Sequence[int], seed: int = 0, column: bool = False, **more: np.ndarray
) -> Path:
    """An HDF5 file of one cloud for each label; `column`: labels of shape (clouds, 1), as ModelNet40 has them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    label = np.asarray(labels, np.uint8)
    with h5py.File(path, "w") as file:
        cloud = np.random.default_rng(seed).uniform(-1, 1, (len(labels), points, 3)).astype(np.float32)
        file.create_dataset("data", data=cloud, compression="gzip", compression_opts=4)
        file.create_dataset("label", data=label[:, None] if column else label)
        for name, values in more.items():
            file.create_dataset(name, data=values)
    return path


def modelnet40_h5(root: Path, points: int = 2048) -> dict[str, Any]:
    text(root / "shape_names.txt", "airplane\nbathtub\nnight_stand\n")
    for split, count in (("train", 1), ("test", 2)):
        files = [f"ply_data_{split}{number}.h5" for number in range(count)]
        for number, file in enumerate(files):
            clouds(
                root / file,
                points,
                [2, 0, 1],
                number,
                column=True,
                faceId=np.zeros((3, 4), np.int32),
                normal=np.zeros((3, 4, 3), np.float32),
            )
        text(root / f"{split}_files.txt", "".join(f"data/modelnet40_ply_hdf5_2048/{file}\n" for file in files))
    return {}


def scanobjectnn(root: Path) -> dict[str, Any]:
    for folder in ("main_split", "main_split_nobg"):
        for number, kind in enumerate(("", "_augmentedrot_scale75")):
            for split in ("training", "test"):
                seed = number + 2 * (folder == "main_split") + 4 * (split == "test")
                clouds(
                    root / folder / f"{split}_objectdataset{kind}.h5",
                    64,
                    [14, 0, 7, 0, 14, 7],
                    seed,
                    mask=np.zeros((6, 64), np.int32),
                )
    return {"variant": "obj_only"}


def shapenet(root: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    stems = [f"{synset}-{number}{'a' * 20}" for synset in SYNSETS for number in range(4)]
    (root / "shapenet_pc").mkdir(parents=True)
    for stem in stems:
        np.save(root / "shapenet_pc" / f"{stem}.npy", rng.uniform(-1, 1, (64, 3)).astype(np.float32))
    text(root / "ShapeNet-55" / "test.txt", "\n".join(f"{stem}.npy" for stem in stems[::2]))
    text(root / "ShapeNet-55" / "train.txt", "\n".join(f"{stem}.npy" for stem in stems[1::2]))
    return {}


EXAMPLES = {"modelnet40": modelnet40_off, "scanobjectnn": scanobjectnn, "shapenet": shapenet}
