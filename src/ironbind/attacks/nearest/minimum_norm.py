"""What minimum-norm attacks share: the nearest example of each sample so far, and what surrounds their search."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.numerics.batching import in_full_batches
from ironbind.numerics.norms import enforce, per_row
from ironbind.types import Attacked, Budget, Embed, Goal, Space


@dataclass
class Nearest:
    """The nearest example of each sample so far; where none reached the goal, the point of highest loss, at infinite
    distance.
    """

    x: Float[Tensor, "r ..."]
    distance: Float[Tensor, " r"]
    loss: Float[Tensor, " r"]

    @classmethod
    def none(cls, x: Float[Tensor, "r ..."]) -> "Nearest":
        """Nothing was looked at yet."""
        return cls(x, x.new_full((len(x),), torch.inf), x.new_full((len(x),), -torch.inf))

    @property
    def reached(self) -> Bool[Tensor, " r"]:
        return self.distance.isfinite()

    def keep(
        self,
        y: Float[Tensor, "r ..."],
        distance: Float[Tensor, " r"],
        loss: Float[Tensor, " r"],
        hit: Bool[Tensor, " r"],
    ) -> Bool[Tensor, " r"]:
        """Keeps what is nearer (where nothing has reached the goal: what has a higher loss); returns for which rows."""
        better = torch.where(hit, distance < self.distance, ~self.reached & (loss > self.loss))
        self.x = torch.where(per_row(better, y), y, self.x)
        self.loss = torch.where(better, loss, self.loss)
        self.distance = torch.where(better & hit, distance, self.distance)
        return better

    def absorb(self, other: "Nearest") -> Bool[Tensor, " r"]:
        """Takes over what another search found nearer."""
        return self.keep(other.x, other.distance, other.loss, other.reached)

    def __getitem__(self, rows: Int[Tensor, " s"]) -> "Nearest":
        return Nearest(self.x[rows], self.distance[rows], self.loss[rows])

    def put(self, rows: Int[Tensor, " s"], found: "Nearest") -> None:
        """Replaces what is kept of these rows."""
        self.x, self.distance, self.loss = (
            whole.index_copy(0, rows, part)
            for whole, part in ((self.x, found.x), (self.distance, found.distance), (self.loss, found.loss))
        )


@dataclass
class Spent:
    """The passes that a search spent on each sample."""

    gradients: Int[Tensor, " r"]
    forwards: Int[Tensor, " r"]

    @classmethod
    def nothing(cls, x: Float[Tensor, "r ..."]) -> "Spent":
        """On each of these samples."""
        none = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        return cls(none, none.clone())


Search = Callable[[Embed, Float[Tensor, "r ..."], Float[Tensor, "r d"], Goal], tuple[Nearest, Spent]]


def seek(embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, search: Search) -> Attacked:
    """`search(embed, x, z, goal)` run on the samples that are right when clean (`z`: their clean embeddings); the
    others come back as they are.

    A clean pass comes on top of what the search spends. Raises BrokenPostCondition when an example leaves its budget or
    bounds.
    """
    embed = in_full_batches(embed)
    with torch.no_grad():
        z = embed(x)
        reached, loss = goal.reached(z), goal.loss(z)
    none = torch.zeros(len(x), dtype=torch.int64, device=x.device)
    result = Attacked(x.clone(), reached.clone(), loss, none, none + 1)
    rows = (~reached).nonzero().squeeze(1)
    if budget.radius and len(rows):
        nearest, spent = search(embed, x[rows], z[rows], goal[rows])
        result.x[rows], result.loss[rows], result.reached[rows] = nearest.x, nearest.loss, nearest.reached
        result.gradient_passes[rows] += spent.gradients
        result.forward_passes[rows] += spent.forwards
    enforce(result.x, x, space, budget)
    return result
