"""Layout: how the files of a data set lie on a disk, as a row of DATASETS."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, get_type_hints

from ironbind.data.listing import Listing, choose
from ironbind.types import Dataset

COMMON = {
    name: hint for name, hint in get_type_hints(choose).items() if name not in ("listing", "often_missing", "return")
}
"""The options that every layout of files has, with their types: those of `choose`."""


@dataclass(frozen=True)
class Layout:
    """`load(path, **options)` gives a Listing of all samples of one split; what every user may choose beyond that
    (`COMMON`) is applied here, once for all. `recognise(path)`: why a folder or file looks like this layout, or None;
    it looks at names and opens no sample. A layout without it is generated, not read from files: `load` then gives any
    Dataset, and there are no common options. `often_missing`: what its lists name is rarely all there (clips that were
    taken off the net), so missing samples are left out and told, not refused.
    """

    load: Callable[..., Any]
    recognise: Callable[[Path], str | None] | None = None
    often_missing: bool = False

    @cached_property
    def own_options(self) -> Mapping[str, Any]:
        """What only this layout takes: option -> its type."""
        hints = get_type_hints(self.load)
        return {name: hint for name, hint in hints.items() if name not in ("path", "return") and not self._common(name)}

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """All that `read` takes: option -> its type."""
        return {**self.own_options, **({} if self.recognise is None else COMMON)}

    def read(self, path: str | Path | None, **options: Any) -> Dataset:
        """The data set in `path`, with these options. Raises InputError."""
        named = get_type_hints(self.load)
        dataset = self.load(path, **{name: value for name, value in options.items() if name in named})
        if isinstance(dataset, Listing):
            common = {name: value for name, value in options.items() if name in COMMON}
            dataset = choose(dataset, often_missing=self.often_missing, **common)
        whole: Any = dataset
        return whole

    def _common(self, name: str) -> bool:
        return self.recognise is not None and name in COMMON
