"""DATASETS: name -> Layout. Adding a layout is one file and one line here. Layouts of one data set come first, those
that fit almost anything last.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ironbind.core.registry import Table
from ironbind.data.folder_entries import folders_in
from ironbind.data.hubs.hub_files import PREFIX
from ironbind.data.layout import Layout
from ironbind.data.option_types import check_options
from ironbind.types import Dataset, InputError

DATASETS = Table(
    "dataset",
    {
        "world": "ironbind.data.world.dataset:LAYOUT",
        "esc50": "ironbind.data.layouts.audio.esc50_urbansound8k:ESC50_LAYOUT",
        "urbansound8k": "ironbind.data.layouts.audio.esc50_urbansound8k:URBANSOUND8K_LAYOUT",
        "audioset": "ironbind.data.layouts.audio.audioset:LAYOUT",
        "vggsound": "ironbind.data.layouts.audio.vggsound:LAYOUT",
        "clotho": "ironbind.data.layouts.audio.clotho_audiocaps:CLOTHO_LAYOUT",
        "audiocaps": "ironbind.data.layouts.audio.clotho_audiocaps:AUDIOCAPS_LAYOUT",
        "modelnet40": "ironbind.data.layouts.point.modelnet40:LAYOUT",
        "scanobjectnn": "ironbind.data.layouts.point.scanobjectnn:LAYOUT",
        "shapenet": "ironbind.data.layouts.point.shapenet:LAYOUT",
        "ncaltech101": "ironbind.data.layouts.event.ncaltech101:LAYOUT",
        "nimagenet": "ironbind.data.layouts.event.nimagenet:LAYOUT",
        "imagenet": "ironbind.data.layouts.image.imagenet:LAYOUT",
        "places365": "ironbind.data.layouts.image.places365:LAYOUT",
        "caltech101": "ironbind.data.layouts.image.caltech101:LAYOUT",
        "llvip": "ironbind.data.layouts.thermal.llvip:LAYOUT",
        "flir": "ironbind.data.layouts.thermal.flir:LAYOUT",
        "rgbt": "ironbind.data.layouts.thermal.rgbt:LAYOUT",
        "msrvtt": "ironbind.data.layouts.video.msrvtt:LAYOUT",
        "ucf101": "ironbind.data.layouts.video.ucf101:LAYOUT",
        "kinetics": "ironbind.data.layouts.video.kinetics:LAYOUT",
        "nyud": "ironbind.data.layouts.depth.nyud:LAYOUT",
        "sund": "ironbind.data.layouts.depth.sund:LAYOUT",
        "webdataset": "ironbind.data.layouts.generic.webdataset:LAYOUT",
        "hf_datasets": "ironbind.data.layouts.generic.hf_datasets:LAYOUT",
        "hub": "ironbind.data.layouts.generic.fetched:LAYOUT",
        "mteb": "ironbind.data.layouts.generic.mteb_task:LAYOUT",
        "unibind_json": "ironbind.data.layouts.generic.unibind_json:LAYOUT",
        "csv": "ironbind.data.layouts.generic.csv_table:LAYOUT",
        "folder": "ironbind.data.layouts.generic.folder:LAYOUT",
    },
)


def load_dataset(name: str, path: str | Path | None = None, **options: Any) -> Dataset:
    """The data set called `name`, read from `path` (None for the built-in world).

    Every layout of files takes `classes`, `limit`, `seed` and `skip_unreadable` (see `choose`) beside its own options.
    Raises UnknownName, and InputError for an option that the layout does not have or a value of another type.
    """
    layout: Layout = DATASETS[name]
    check_options(name, layout, options)
    return layout.read(path, **options)


def detect(path: str | Path) -> dict[str, str]:
    """The layouts that the folder `path` looks like, likeliest first, each with the reason. Looks at names, opens no
    sample.
    """
    reasons = {name: layout.recognise(Path(path)) for name, layout in DATASETS.items() if layout.recognise is not None}
    return {name: reason for name, reason in reasons.items() if reason}


def table_or_folders(path: str | Path) -> str:
    """The layout of data that a command takes as class folders without asking: "folder", but for what holds labels in
    a table, parquet files and names of the Hub.
    """
    if str(path).startswith(PREFIX):
        return "hub"
    return "hf_datasets" if DATASETS["hf_datasets"].recognise(Path(path)) is not None else "folder"


class SeveralLayouts(InputError):
    """A folder that looks like several layouts: a problem of the data, not of the command."""


def likeliest(path: str | Path, options: Iterable[str] = ()) -> str:
    """The layout that `path` looks like. Raises InputError for none, and SeveralLayouts for several; class folders fit
    beside any other, as most data sets have folders. `options`: those of a loader, as `key=value` or by name; a pattern
    for names is one of folders.
    """
    if any(option.partition("=")[0].strip() == "pattern" for option in options):
        return "folder"
    if str(path).startswith(PREFIX):
        return "hub"
    if not Path(path).exists():
        raise InputError(f"{path}: no such file or folder; expected data")
    reasons = detect(path)
    if not reasons:
        names = ", ".join(name for name in DATASETS if name != "world")
        if Path(path).is_dir() and not folders_in(Path(path)) and any(Path(path).iterdir()):
            raise InputError(
                f"{path}: holds files but no folders; expected a folder for each class, <class>/<file>, "
                "--data-option pattern=... for labels in names, such as {label}_{take}, or --layout "
                f"NAME (one of {names})"
            )
        raise InputError(f"{path}: looks like no layout known here; expected --layout NAME (one of {names})")
    special = [name for name in reasons if name != "folder"] or ["folder"]
    if len(special) > 1:
        told = "; ".join(f"{name}: {reasons[name]}" for name in special)
        raise SeveralLayouts(f"{path}: looks like several layouts ({told}); expected --layout {' or '.join(special)}")
    return special[0]
