"""The types of an attack: its goal, its randomness, its result.

Axis letters: b = batch, d = embedding width, r = chosen rows of a batch, t = rivals of a sample.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.core.budget import Budget, Space


class Goal(Protocol):
    """The goal of an attack on a batch of embeddings; row i belongs to sample i.

    `loss`: higher = nearer to success, differentiable. `reached`: success, row by row. Indexing with row numbers keeps
    those rows. `using` returns the same goal pursued through another loss ("margin", "ce", "dlr", "cosine"). `rivals`:
    up to `count` ways to get there, the nearest first (wrong classes, as numbers; none where there is one way only);
    `against` pursues one of them per row.
    """

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]: ...

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]: ...

    def using(self, loss: str) -> "Goal": ...

    def rivals(self, z: Float[Tensor, "b d"], count: int) -> Int[Tensor, "b t"]: ...

    def against(self, rival: Int[Tensor, " b"]) -> "Goal": ...

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "Goal": ...


class SampleRandom(Protocol):
    """Randomness that belongs to samples, not to batches (see `numerics.sample_random.PerSample`)."""

    def uniform(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]: ...

    def normal(self, tag: str, shape: tuple[int, ...]) -> Float[Tensor, "b ..."]: ...

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "SampleRandom": ...


class Attacked(NamedTuple):
    """What an attack returns: the examples, whether the goal was reached there, the goal's loss there, and the passes
    per sample.
    """

    x: Float[Tensor, "b ..."]
    reached: Bool[Tensor, " b"]
    loss: Float[Tensor, " b"]
    gradient_passes: Int[Tensor, " b"]
    forward_passes: Int[Tensor, " b"]


Embed = Callable[[Float[Tensor, "b ..."]], Float[Tensor, "b d"]]


@runtime_checkable
class DrawingEmbed(Protocol):
    """An `Embed` that draws anew at every call. `draws` gives several draws of a batch in one pass, the same ones as
    that many calls.
    """

    def __call__(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]: ...

    def draws(self, x: Float[Tensor, "b ..."], count: int) -> Float[Tensor, "b s d"]: ...


@runtime_checkable
class Attack(Protocol):
    """A frozen dataclass of knobs, called with all it needs. `name` goes into every table."""

    @property
    def name(self) -> str: ...

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked: ...


@runtime_checkable
class StagedAttack(Protocol):
    """An ensemble of attacks, each run only on samples that are still robust. An audit runs the stages itself, to
    record which one broke a sample.
    """

    @property
    def name(self) -> str: ...

    @property
    def stages(self) -> tuple[Attack, ...]: ...
