"""DATASETS: name -> function(path, **options) returning a Dataset. Adding a layout is one file and one line here.

Beside a layout's `load` (or `load_x`) stands `recognises` (or `recognises_x`): path -> why a folder looks like this layout, or None.
Layouts of one data set come first, those that fit almost anything last.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from ironbind.registry import Table
from ironbind.types import Dataset

DATASETS = Table(
    "dataset",
    {
        "world": "ironbind.data.world:load",
        "esc50": "ironbind.data.folded_sounds:load_esc50",
        "urbansound8k": "ironbind.data.folded_sounds:load_urbansound8k",
        "audioset": "ironbind.data.audioset:load",
        "vggsound": "ironbind.data.vggsound:load",
        "clotho": "ironbind.data.captioned_sounds:load_clotho",
        "audiocaps": "ironbind.data.captioned_sounds:load_audiocaps",
        "modelnet40": "ironbind.data.modelnet40:load",
        "scanobjectnn": "ironbind.data.scanobjectnn:load",
        "shapenet": "ironbind.data.shapenet:load",
        "ncaltech101": "ironbind.data.ncaltech101:load",
        "nimagenet": "ironbind.data.nimagenet:load",
        "imagenet": "ironbind.data.imagenet:load",
        "places365": "ironbind.data.places365:load",
        "caltech101": "ironbind.data.caltech101:load",
        "llvip": "ironbind.data.llvip:load",
        "flir": "ironbind.data.flir:load",
        "rgbt": "ironbind.data.rgbt:load",
        "msrvtt": "ironbind.data.msrvtt:load",
        "ucf101": "ironbind.data.ucf101:load",
        "kinetics": "ironbind.data.kinetics:load",
        "nyud": "ironbind.data.nyud:load",
        "sund": "ironbind.data.sund:load",
        "webdataset": "ironbind.data.webdataset:load",
        "hf_datasets": "ironbind.data.hf_datasets:load",
        "unibind_json": "ironbind.data.unibind_json:load",
        "csv": "ironbind.data.table:load",
        "folder": "ironbind.data.folder:load",
    },
)


def load_dataset(name: str, path: str | Path | None = None, **options: Any) -> Dataset:
    """The data set called `name`, read from `path` (None for the built-in world). Raises UnknownName, InputError."""
    return DATASETS[name](path, **options)


def detect(path: str | Path) -> dict[str, str]:
    """The layouts that the folder `path` looks like, likeliest first, each with the reason. Looks at names, opens no sample."""
    found = {}
    for name in DATASETS:
        module, _, load = DATASETS.where(name).partition(":")
        recognises = getattr(import_module(module), load.replace("load", "recognises", 1), None)
        why = recognises(Path(path)) if recognises else None
        if why:
            found[name] = why
    return found
