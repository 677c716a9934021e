"""Tables of lazily imported values: `name -> "module:attribute"`, with a suggestion when a name is misspelt. Imports
nothing heavy.
"""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from ironbind.core.errors import UnknownName as UnknownName


class Table(Mapping[str, Any]):
    """A read-only mapping whose values are imported at first access. `kind` is the noun used in messages
    ("encoder").
    """

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> Any:
        if name not in self._entries:
            near = get_close_matches(name, self._entries, n=3, cutoff=0.5)
            hint = (
                f"did you mean {' or '.join(repr(match) for match in near)}?"
                if near
                else f"expected one of: {', '.join(self._entries)}"
            )
            raise UnknownName(f"{self.kind} {name!r} is not known; {hint}")
        module, _, attribute = self._entries[name].partition(":")
        return getattr(import_module(module), attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: object) -> bool:  # Mapping's own would import the value
        return name in self._entries

    def where(self, name: str) -> str:
        """The "module:attribute" behind a name, without importing it."""
        return self._entries[name]
