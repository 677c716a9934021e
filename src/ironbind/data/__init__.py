"""DATASETS: name -> function(path, **options) returning a Dataset. Adding a layout is one file and one line here."""

from pathlib import Path
from typing import Any

from ironbind.registry import Table
from ironbind.types import Dataset

DATASETS = Table(
    "dataset",
    {
        "world": "ironbind.data.world:load",
        "folder": "ironbind.data.folder:load",
    },
)


def load_dataset(name: str, path: str | Path | None = None, **options: Any) -> Dataset:
    """The data set called `name`, read from `path` (None for the built-in world). Raises UnknownName, InputError."""
    return DATASETS[name](path, **options)
