"""A chosen target: the input is to be taken for one class or item in particular.

Letters: b = batch, d = embedding width, r = rows kept.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ironbind.goals.misclassify import check_loss
from ironbind.numerics.metrics import class_scores, margin, rank_of_truth
from ironbind.types import ClassCenters


@dataclass(frozen=True)
class Illusion:
    """Make the encoder take each input for `target[i]`, one of the classes or items of `centers` (which may hold
    another modality's embeddings).

    Adversarial Illusions (Zhang et al. 2024, arXiv 2308.11804). Reached when the target alone ranks first. `by`:
    "cosine" (their loss: the cosine to the target), "margin" (target minus its best competitor, the default), "ce",
    "dlr" (taken as the margin).
    """

    centers: ClassCenters
    target: Int[Tensor, " b"]
    by: str = "margin"
    logit_scale: float = 20.0

    def loss(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Higher = nearer to success."""
        scores = class_scores(z, self.centers)
        if self.by == "cosine":
            return scores.gather(1, self.target[:, None]).squeeze(1)
        if self.by == "ce":
            return -torch.nn.functional.cross_entropy(self.logit_scale * scores, self.target, reduction="none")
        return -margin(scores, self.target)

    def reached(self, z: Float[Tensor, "b d"]) -> Bool[Tensor, " b"]:
        """Whether the target ranks first (a tie counts against the attacker)."""
        return rank_of_truth(class_scores(z, self.centers), self.target) == 1

    def rank(self, z: Float[Tensor, "b d"]) -> Int[Tensor, " b"]:
        """1: the input is not taken for its target, 2: it is. Larger is worse, as in every verdict."""
        return 1 + self.reached(z).long()

    def margin(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """The target's lead over its best competitor: > 0 means taken for it."""
        return -margin(class_scores(z, self.centers), self.target)

    def using(self, loss: str) -> "Illusion":
        return replace(self, by=check_loss(loss))

    def rivals(self, z: Float[Tensor, "b d"], count: int) -> Int[Tensor, "b 0"]:
        """None: the target is given."""
        return torch.empty((len(z), 0), dtype=torch.long, device=z.device)

    def against(self, rival: Int[Tensor, " b"]) -> "Illusion":
        return self

    def __getitem__(self, rows: Int[Tensor, " r"]) -> "Illusion":
        return replace(self, target=self.target[rows])
