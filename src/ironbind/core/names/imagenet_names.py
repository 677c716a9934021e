"""What the 1000 ImageNet classes are called: WordNet's lemmas, and the names of CLIP's zero-shot evaluation (licences
in imagenet_names.json).
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

from ironbind.core.errors import InputError

KINDS = ("wordnet", "clip")


@cache
def wnids() -> tuple[str, ...]:
    """The 1000 synset numbers, in order of class (0 is n01440764, a tench)."""
    return tuple(_known())


def names_of(synsets: Sequence[str], kind: str = "clip", lemmas: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """A name for each of these wnids, no two alike. `kind`: "clip" (those that published zero-shot numbers use) or
    "wordnet" (the first lemma).

    `lemmas` (wnid -> "tench, Tinca tinca") replace WordNet's, and serve for wnids that are not among the 1000. Names
    that occur twice are told apart: CLIP's "missile" and "sunglasses" by the first lemma, WordNet's "maillot" by all
    lemmas, "crane" by CLIP's names. Raises InputError for an unknown kind or a wnid without any name.
    """
    if kind not in KINDS:
        raise InputError(f"names {kind!r} are not known; expected one of {', '.join(KINDS)}")
    # told apart among all the 1000, so that a class keeps its name when others are left out
    named = tuple(dict.fromkeys((*wnids(), *synsets)))
    ways = [_ways(synset, kind, lemmas or {}) for synset in named]
    chosen = [0] * len(ways)
    while twice := {
        name for name, count in Counter(way[at] for way, at in zip(ways, chosen, strict=True)).items() if count > 1
    }:
        chosen = [at + (way[at] in twice and at + 1 < len(way)) for way, at in zip(ways, chosen, strict=True)]
    called = {synset: way[at] for synset, way, at in zip(named, ways, chosen, strict=True)}
    return tuple(called[synset] for synset in synsets)


def _ways(synset: str, kind: str, lemmas: Mapping[str, str]) -> list[str]:
    """What a class may be called, the most wanted first; the last holds its wnid, so that it is never another's."""
    shipped = _known().get(synset)
    told = lemmas.get(synset) or (shipped[0] if shipped else None)
    if told is None:
        raise InputError(
            f"class {synset!r} is none of the 1000 of ImageNet and no list names it; "
            "expected it in LOC_synset_mapping.txt"
        )
    first = told.split(",")[0].strip()
    clip = [shipped[1]] if shipped else []
    last = f"{first} ({synset})"
    return [*clip, first, told, last] if kind == "clip" else [first, told, *clip, last]


@cache
def _known() -> dict[str, list[str]]:
    names: dict[str, list[str]] = json.loads(
        files("ironbind.core.names").joinpath("imagenet_names.json").read_text(encoding="utf-8")
    )["names"]
    return names
