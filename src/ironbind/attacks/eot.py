"""Expectation over transformation: any attack against an encoder that answers the same input differently each time."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.attacks.apgd import APGD
from ironbind.attacks.engine import reached_and_loss
from ironbind.types import Attack, Attacked, Budget, DrawingEmbed, Embed, Goal, InputError, SampleRandom, Space


@dataclass(frozen=True)
class EOT:
    """`attack`, on the mean over `draws` embeddings of every iterate (Athalye et al. 2018, arXiv 1707.07397).

    Loss and gradient are means over the draws. An iterate succeeds by strict majority: when more than half of its draws
    do. Among many iterates a lucky vote comes by sooner or later, so that success and loss are taken afresh at the end,
    from `draws` new draws on the example that is returned; that `loss` is the mean margin, whatever the attack pursued.

    Every pass counts `draws` times, and gradients hold the graphs of all draws in memory: choose smaller batches. Draws
    are separate calls, as some encoders draw once a call, unless `embed` is a `DrawingEmbed`, which draws them in one.
    Where their randomness comes from is the encoder's business: one that uses torch's global generator repeats itself
    only under the same `torch.manual_seed` and the same batches. Raises InputError for no draws.
    """

    attack: Attack = APGD()
    draws: int = 20

    def __post_init__(self) -> None:
        if self.draws < 1:
            raise InputError(f"EOT needs at least one draw, not draws={self.draws}")

    @property
    def name(self) -> str:
        return f"eot{self.draws}({self.attack.name})"

    def __call__(
        self, embed: Embed, x: Float[Tensor, "b ..."], goal: Goal, space: Space, budget: Budget, rng: SampleRandom
    ) -> Attacked:
        def drawn(at: Float[Tensor, "b ..."]) -> Float[Tensor, "b s d"]:
            if isinstance(embed, DrawingEmbed):
                return embed.draws(at, self.draws)
            return torch.stack([embed(at) for _ in range(self.draws)], dim=1)

        expected = Expected(goal)
        attacked = self.attack(drawn, x, expected, space, budget, rng)
        reached, loss = reached_and_loss(drawn, attacked.x, expected)
        return Attacked(
            attacked.x, reached, loss, self.draws * attacked.gradient_passes, self.draws * (attacked.forward_passes + 1)
        )


@dataclass(frozen=True)
class Expected:
    """A goal over several embeddings of each sample, `b s d` with s draws: the mean of its losses, the strict majority
    of its verdicts.
    """

    goal: Goal

    def loss(self, z: Float[Tensor, "b s d"]) -> Float[Tensor, " b"]:
        return torch.stack([self.goal.loss(draw) for draw in z.unbind(1)]).mean(dim=0)

    def reached(self, z: Float[Tensor, "b s d"]) -> Bool[Tensor, " b"]:
        return 2 * torch.stack([self.goal.reached(draw) for draw in z.unbind(1)]).sum(dim=0) > z.shape[1]

    def using(self, loss: str) -> "Expected":
        return replace(self, goal=self.goal.using(loss))

    def rivals(self, z: Float[Tensor, "b s d"], count: int) -> Int[Tensor, "b t"]:
        """Those of the mean embedding."""
        return self.goal.rivals(z.mean(dim=1), count)

    def against(self, rival: Int[Tensor, " b"]) -> "Expected":
        return replace(self, goal=self.goal.against(rival))

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "Expected":
        return replace(self, goal=self.goal[rows])
