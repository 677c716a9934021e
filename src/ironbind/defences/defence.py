"""What a test-time defence is: a frozen dataclass of knobs that answers for an encoder, and says how it is attacked.

Axis letters: b = batch, d = embedding width, t = texts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from ironbind.core.default_budgets import SCALE
from ironbind.types import Embed, Epsilon, InputError, SampleRandom, Space

GRADIENTS = {
    "exact": "as it is: every step of the defence is differentiable",
    "straight_through": (
        "BPDA (Athalye et al. 2018): exact on the way forward, the identity on the way back through rounding, coding, "
        "inner steps and selections"
    ),
    "unrolled": "through the inner gradient steps too (second derivatives), a smooth stand-in for their signs",
}
"""Ways to differentiate a defence. Its attacker tries all that it names."""

AS_DEPLOYED = ""
"""No help for an attacker: what a query meets."""


class Where(NamedTuple):
    """What is embedded, and for whom: `gradient` is a key of GRADIENTS for an attacker, AS_DEPLOYED for a query.
    `prompts`: unit embeddings of a defence's `texts`, where it has some.
    """

    modality: str
    space: Space
    gradient: str = AS_DEPLOYED
    prompts: Float[Tensor, "t d"] | None = None


@dataclass(frozen=True)
class Passes:
    """The cost of one query: forward passes, and passes with a gradient, of the encoder that is defended."""

    forward: int
    gradient: int = 0


class Defence(Protocol):
    """A row of DEFENCES, made with its knobs.

    `gradients`: the keys of GRADIENTS that its attacker tries. `unsuitable`: why it has no meaning for a modality in a
    space, "" where it has one. `randomised`: whether it draws. `answer`: the embedding of each row, unit length; rows
    are independent, and `rng` holds the randomness of each.
    """

    @property
    def name(self) -> str: ...

    @property
    def gradients(self) -> tuple[str, ...]: ...

    def unsuitable(self, modality: str, space: Space) -> str: ...

    def randomised(self, modality: str, space: Space) -> bool: ...

    def passes(self, modality: str, space: Space) -> Passes: ...

    def answer(
        self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom
    ) -> Float[Tensor, "b d"]: ...


@runtime_checkable
class Detector(Protocol):
    """A defence that also scores how suspicious an input is, differentiably; higher is more suspicious. It acts on what
    scores above `acts_above`.
    """

    @property
    def acts_above(self) -> float: ...

    def suspicion(
        self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom
    ) -> Float[Tensor, " b"]: ...


Radius = str | float
"""A knob that is a radius: "4/255", 0.016."""
KINDS: dict[Any, tuple[str, Callable[[Any], bool]]] = {
    int: ("a whole number", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    float: (
        "a finite number",
        lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    ),
    str: ("a word", lambda value: isinstance(value, str)),
    tuple[str, ...]: (
        "texts in a tuple or list",
        lambda value: isinstance(value, tuple | list) and all(isinstance(text, str) for text in value),
    ),
    Radius: (
        "a radius, as '4/255'",
        lambda value: isinstance(value, str | int | float) and not isinstance(value, bool),
    ),
}
"""What a knob is annotated with -> what is expected of it, in words and as a test."""


def refuse_odd_knobs(defence: Any) -> None:
    """Raises InputError for the first knob whose value is not of the kind that its dataclass names: a text where a
    number is meant, NaN, a radius that is none. Every defence asks this first.
    """
    for field in fields(defence):
        value, kind = getattr(defence, field.name), field.type
        if value is None and field.default is None:
            continue
        if kind not in KINDS:  # "int | None": the kind beside None
            kind = next((known for known in KINDS if field.type == known | None), None)
        if kind is None:  # of somebody else's defence
            continue
        words, fits = KINDS[kind]
        if not fits(value):
            raise InputError(f"defence {defence.name!r}: knob {field.name} is {value!r}; expected {words}")
        if kind == Radius:
            try:
                Epsilon.parse(value)
            except InputError as error:
                raise InputError(f"defence {defence.name!r}: knob {field.name}: {error}") from error


def radius_in(space: Space, written: Radius) -> float:
    """A radius as papers write it for pictures, in units of `space`: of a waveform a fifth, as the default budgets."""
    return Epsilon.parse(written).value * float(SCALE.get(space.name, 1))


def bounded(space: Space) -> bool:
    """Whether the space has two bounds."""
    return space.low is not None and space.high is not None
