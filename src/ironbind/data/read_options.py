"""Options of readers, passed on by every layout: which way up pictures are, and which thermal numbers become 0 and
1.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ironbind.data.storage.crops import Crops
from ironbind.data.storage.files import Files, Source
from ironbind.data.storage.parquet import ParquetRows
from ironbind.data.storage.tar import TarMembers
from ironbind.data.storage.zip import ZipMembers
from ironbind.modalities import MODALITIES
from ironbind.modalities.orientation import check_choice
from ironbind.modalities.thermal import check_scaling
from ironbind.types import InputError

READ_BY = {
    "orientation": ("image", "video", "thermal", "depth"),
    "thermal_range": ("thermal",),
    "thermal_percentiles": ("thermal",),
}
"""Option -> the modalities whose readers take it."""
DEFAULTS = {"orientation": "upright", "thermal_range": None, "thermal_percentiles": None}


def sources_read_with(name: str, sources: Mapping[str, Source], options: Mapping[str, Any]) -> dict[str, Source]:
    """The sources of the data set called `name`, read with these options, all of DEFAULTS. Raises InputError for values
    that no reader knows, and for an option that none of the modalities takes.
    """
    check_choice(options["orientation"])
    check_scaling(options["thermal_range"], options["thermal_percentiles"])
    given = changed(options)
    for option, value in given.items():
        if not set(READ_BY[option]) & set(sources):
            readers = ", ".join(READ_BY[option])
            raise InputError(f"{option}={value}: {name} holds {', '.join(sources)}; expected data of {readers}")
    return {
        modality: _read_with(source, modality, {key: given[key] for key in given if modality in READ_BY[key]})
        for modality, source in sources.items()
    }


def changed(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that are not at their defaults; ranges as tuples."""
    return {
        name: value if isinstance(value, str) else tuple(value)
        for name, value in options.items()
        if value != DEFAULTS[name]
    }


def _read_with(source: Source, modality: str, options: Mapping[str, Any]) -> Source:
    if not options:
        return source
    if isinstance(source, Crops):
        return replace(source, pictures=_read_with(source.pictures, modality, options))
    own = MODALITIES[modality].read  # a layout with rules of its own (SUN RGB-D's rotated depths) keeps them
    if isinstance(source, Files | ParquetRows | TarMembers | ZipMembers) and source.read is own:
        return replace(source, read=partial(own, **options))
    return source
