"""SUN RGB-D scenes: raw (`SUNRGBD/<sensor>/.../<sample>/` with scene.txt, depth/, image/), or class folders of its
depth PNGs.

Its 16-bit PNGs hold millimetres rotated by three bits, which `read_rotated` undoes; depths above 8 m are cut to 8 m, as
the authors' toolbox does.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ironbind.data.folder_entries import files_in
from ironbind.data.layout import Layout
from ironbind.data.layouts.generic.folder import listing_of
from ironbind.data.list_files import read_lines, root_of
from ironbind.data.listing import Listing
from ironbind.data.storage.files import Files, Source
from ironbind.modalities import MODALITIES
from ironbind.modalities.image import open_picture
from ironbind.modalities.reading import reading
from ironbind.types import Decoded, Depth, InputError

SENSORS = ("kv1", "kv2", "realsense", "xtion")
FARTHEST = 8.0  # metres
SCENES = (  # those with more than 80 pictures, on which scene classification is reported (Song et al. 2015)
    "bathroom", "bedroom", "classroom", "computer_room", "conference_room", "corridor", "dining_area", "dining_room",
    "discussion_area",
    "furniture_store", "home_office", "kitchen", "lab", "lecture_theatre", "library", "living_room", "office",
    "rest_space", "study_space",
)  # fmt: skip
MAPS = ("depth", "image")
SPLIT = "allsplit.mat"
EXPECTED = "SUNRGBD/<sensor>/.../<sample>/ with scene.txt, depth/*.png, image/*.jpg; or <split>/<scene>/*.png"


def read_rotated(path: Path) -> Decoded:
    """A depth PNG of SUN RGB-D in metres, 0 where not measured. Raises InputError for anything else than one channel of
    16 bits.
    """
    path = Path(path)
    with reading(path, "a 16-bit PNG of SUN RGB-D"):
        picture, _ = open_picture(path, ("PNG",), "ignore")  # SUN's own PNGs say nothing of how to turn them
        raw = np.asarray(picture)
        if not picture.mode.startswith("I") or raw.ndim != 2 or raw.min() < 0 or raw.max() > 65535:
            raise InputError(f"{path}: is a picture of mode {picture.mode}; expected one channel of 16 bits")
        raw = raw.astype(np.uint16)
        millimetres = (raw >> 3) | (raw << 13)
        return Depth(np.minimum(millimetres.astype(np.float32) / np.float32(1000), np.float32(FARTHEST)))


def load(
    path: str | Path | None,
    *,
    modality: str | Sequence[str] | None = "depth",
    split: str = "all",
    rotated: bool = True,
    filled: bool = False,
) -> Listing:
    """The scenes in `path` that are of the 19 usual ones.

    `split`: of the raw set "test" or "train" as allsplit.mat in it says (which needs scipy), or "all"; of class folders
    the folder around them. `modality`: "depth", "image" or both (raw only). `rotated`: whether class folders hold SUN's
    own PNGs,
    or plain millimetres. `filled`: the toolbox's maps without holes, depth_bfx/ (raw only). Raises
    InputError.
    """
    root = root_of(path, "sund", EXPECTED)
    inside = root / "SUNRGBD" if (root / "SUNRGBD").is_dir() else root
    if any((inside / sensor).is_dir() for sensor in SENSORS):
        wanted = (modality,) if isinstance(modality, str) else tuple(modality) if modality is not None else MAPS
        listing = _of_raw(inside, wanted, split, filled)
    else:
        folder = next((place for place in (root / split, root / "data" / split) if place.is_dir()), root)
        listing, base = listing_of(folder, ("depth",))
        read = read_rotated if rotated else MODALITIES["depth"].read
        files = [listing.sources["depth"].place(row) for row in range(len(listing))]
        note = "depth is rotated back by three bits" if rotated else "depth is taken as millimetres"
        listing = replace(
            listing, name="sund", sources={"depth": Files(base, files, read)}, notes=(*listing.notes, note)
        )
    return listing


def recognise(path: Path) -> str | None:
    """Its folders of sensors."""
    for folder in (path / "SUNRGBD", path):
        sensors = [sensor for sensor in SENSORS if (folder / sensor).is_dir()]
        if len(sensors) > 1 or sensors and folder.name == "SUNRGBD":
            return f"{folder.name}/ holds folders of sensors ({', '.join(sensors)})"
    return None


def _of_raw(root: Path, wanted: tuple[str, ...], split: str, filled: bool) -> Listing:
    called = {"depth": "depth_bfx" if filled else "depth", "image": "image"}
    unknown = next((kind for kind in wanted if kind not in MAPS), None)
    if unknown is not None or not wanted:
        raise InputError(f"modality {unknown!r} is not in SUN RGB-D; expected some of {', '.join(MAPS)}")
    samples = sorted(_samples(root))
    if split != "all":
        listed = _split(root, split)
        samples = [sample for sample in samples if sample in listed]
        if not samples:
            raise InputError(
                f"{root}: holds none of the {len(listed)} samples of the split {split!r}; "
                "expected SUNRGBD/ as it is published"
            )
    ids, labels, lacking, others = [], [], [], 0
    files: dict[str, list[str]] = {kind: [] for kind in wanted}
    for sample in samples:
        scene = read_lines(root / sample / "scene.txt", "the name of a scene")[0]
        if scene not in SCENES:
            others += 1
            continue
        names = {kind: _only_file(root / sample / called[kind], MODALITIES[kind].suffixes) for kind in wanted}
        absent = next((kind for kind, name in names.items() if name is None), None)
        if absent is not None:
            lacking.append(f"{root / sample / called[absent]}: holds no picture; expected one")
            continue
        ids.append(sample)
        labels.append(SCENES.index(scene))
        for kind, name in names.items():
            files[kind].append(f"{sample}/{called[kind]}/{name}")
    if lacking and not ids:
        raise InputError(f"{lacking[0]} (and so does every other sample)")
    if not ids:
        raise InputError(f"{root}: holds no sample of the {len(SCENES)} scenes; expected {EXPECTED}")
    readers: dict[str, Callable[[Path], Decoded]] = {"depth": read_rotated, "image": MODALITIES["image"].read}
    sources: dict[str, Source] = {kind: Files(root, files[kind], readers[kind]) for kind in wanted}
    notes = [f"split {split}", f"{others} samples of other than the {len(SCENES)} usual scenes are left out"]
    notes += (
        [f"depth is that of {called['depth']}/, rotated back by three bits and cut at {FARTHEST:g} m"]
        if "depth" in wanted
        else []
    )
    classes = tuple(scene.replace("_", " ") for scene in SCENES)
    return Listing("sund", classes, ids, labels, sources, notes=tuple(notes), missing=tuple(lacking))


def _samples(root: Path) -> Iterator[str]:
    """Folders with a scene.txt, at any depth, relative to `root`; what lies below one is not looked at."""
    for folder, inside, names in os.walk(root):
        if "scene.txt" in names:
            inside.clear()
            yield Path(folder).relative_to(root).as_posix()


def _only_file(folder: Path, suffixes: Sequence[str]) -> str | None:
    return next(iter(files_in(folder, suffixes)), None)


def _split(root: Path, split: str) -> set[str]:
    """The samples of a split by the toolbox's allsplit.mat, whose paths are the authors' own: what follows "SUNRGBD/"
    counts.
    """
    places = (root, root.parent, root.parent / "SUNRGBDtoolbox" / "traintestSUNRGBD")
    path = next((place / SPLIT for place in places if (place / SPLIT).is_file()), None)
    if path is None or split not in ("train", "test"):
        where = f"{root}: has no {SPLIT} for the split {split!r}" if path is None else f"{path}: has no split {split!r}"
        raise InputError(
            f"{where}; expected split 'all', or 'train' or 'test' and SUNRGBDtoolbox/traintestSUNRGBD/{SPLIT} beside "
            "SUNRGBD/"
        )
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise InputError(f"{path}: needs scipy to be read; expected it installed: pip install scipy") from error
    with reading(path, f"a MATLAB file with cells of paths, all{split}"):
        cells: Any = loadmat(path, squeeze_me=True)[f"all{split}"]
        return {
            str(cell).replace("\\", "/").rpartition("SUNRGBD/")[2].strip("/") for cell in np.atleast_1d(cells).tolist()
        }


LAYOUT = Layout(load, recognise)
