"""What is listed file by file is listed once: each of several ranks lists a share, and all get the whole."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from ironbind.numerics import ranks
from ironbind.types import InputError

T = TypeVar("T")
R = TypeVar("R")
AT_A_TIME = 16
"""Items of a rank whose lists travel together: what all ranks found is never held twice as a whole."""


def fetched_by_first(fetch: Callable[[], R]) -> R:
    """What `fetch` returns, on every rank: the first one fetches what they share, the others then find it, or fetch it
    for a machine of their own. What it raises on the first rank is raised on all.
    """
    group = ranks.current()
    if group.size > 1 and not group.dealing:
        group.from_first(fetch)
    return fetch()


def listed_by_ranks(items: Sequence[T], list_one: Callable[[T], R]) -> Iterator[R]:
    """`list_one` of every item, in order. Under a launcher of several ranks each rank takes every so manyth item, and
    all ranks must call this. A rank at work on a block of its own lists everything itself. Raises the InputError of the
    first item that has one, on every rank.
    """
    group = ranks.current()
    if group.size == 1 or group.dealing:
        yield from map(list_one, items)
        return
    for first in range(0, len(items), group.size * AT_A_TIME):
        part = items[first : first + group.size * AT_A_TIME]
        own: list[R | InputError] = []
        for item in part[group.rank :: group.size]:
            try:
                own.append(list_one(item))
            except InputError as error:
                own.append(error)
                break  # what comes later in this share is not asked for
        shares = group.gather(own)
        for number in range(len(part)):
            found = shares[number % group.size][number // group.size]
            if isinstance(found, InputError):
                raise found
            yield found
