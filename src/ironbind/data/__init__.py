"""DATASETS: name -> function(path, **options) returning a Dataset. Adding a layout is one file and one line here.

Beside a layout's `load` (or `load_x`) stands `recognises` (or `recognises_x`): path -> why a folder looks like this
layout, or None. Layouts of one data set come first, those that fit almost anything last.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

from ironbind.core.registry import Table
from ironbind.types import Dataset

DATASETS = Table(
    "dataset",
    {
        "world": "ironbind.data.world.dataset:load",
        "esc50": "ironbind.data.layouts.audio.esc50_urbansound8k:load_esc50",
        "urbansound8k": "ironbind.data.layouts.audio.esc50_urbansound8k:load_urbansound8k",
        "audioset": "ironbind.data.layouts.audio.audioset:load",
        "vggsound": "ironbind.data.layouts.audio.vggsound:load",
        "clotho": "ironbind.data.layouts.audio.clotho_audiocaps:load_clotho",
        "audiocaps": "ironbind.data.layouts.audio.clotho_audiocaps:load_audiocaps",
        "modelnet40": "ironbind.data.layouts.point.modelnet40:load",
        "scanobjectnn": "ironbind.data.layouts.point.scanobjectnn:load",
        "shapenet": "ironbind.data.layouts.point.shapenet:load",
        "ncaltech101": "ironbind.data.layouts.event.ncaltech101:load",
        "nimagenet": "ironbind.data.layouts.event.nimagenet:load",
        "imagenet": "ironbind.data.layouts.image.imagenet:load",
        "places365": "ironbind.data.layouts.image.places365:load",
        "caltech101": "ironbind.data.layouts.image.caltech101:load",
        "llvip": "ironbind.data.layouts.thermal.llvip:load",
        "flir": "ironbind.data.layouts.thermal.flir:load",
        "rgbt": "ironbind.data.layouts.thermal.rgbt:load",
        "msrvtt": "ironbind.data.layouts.video.msrvtt:load",
        "ucf101": "ironbind.data.layouts.video.ucf101:load",
        "kinetics": "ironbind.data.layouts.video.kinetics:load",
        "nyud": "ironbind.data.layouts.depth.nyud:load",
        "sund": "ironbind.data.layouts.depth.sund:load",
        "webdataset": "ironbind.data.layouts.generic.webdataset:load",
        "hf_datasets": "ironbind.data.layouts.generic.hf_datasets:load",
        "unibind_json": "ironbind.data.layouts.generic.unibind_json:load",
        "csv": "ironbind.data.layouts.generic.csv_table:load",
        "folder": "ironbind.data.layouts.generic.folder:load",
    },
)


def load_dataset(name: str, path: str | Path | None = None, **options: Any) -> Dataset:
    """The data set called `name`, read from `path` (None for the built-in world). Raises UnknownName, InputError."""
    return DATASETS[name](path, **options)


def detect(path: str | Path) -> dict[str, str]:
    """The layouts that the folder `path` looks like, likeliest first, each with the reason. Looks at names, opens no
    sample.
    """
    found = {}
    for name in DATASETS:
        module, _, load = DATASETS.where(name).partition(":")
        recognises = getattr(import_module(module), load.replace("load", "recognises", 1), None)
        why = recognises(Path(path)) if recognises else None
        if why:
            found[name] = why
    return found
