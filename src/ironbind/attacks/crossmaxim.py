"""CrossMaxim, the untargeted attack of the paper's second version, in our reading."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ironbind.attacks.apgd import APGD
from ironbind.types import Attacked, Budget, Embed, Goal, SampleRandom, Space


@dataclass(frozen=True)
class CrossMaxim:
    """Repels a representation from everything that belongs to its truth (arXiv 2505.11895v2, abstract; the loss and the
    schedule are our reading).

    Minimises the mean cosine to *all* of the truth's own rows (its class centers; in retrieval its partner), names no
    competing class, and does not stop at the first success: what it aims at is a truth that falls far down the ranking,
    so judge it by Top-5 and mean rank as well as Top-1.
    """

    steps: int = 50
    restarts: int = 1
    stop_when_reached: bool = False

    @property
    def name(self) -> str:
        again = f"x{self.restarts}" if self.restarts > 1 else ""
        return f"crossmaxim{self.steps}{again}"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        return APGD(self.steps, self.restarts, "cosine", self.stop_when_reached)(embed, x, goal, space, budget, rng)
