"""Augmentation anchors: an input is answered by what several views of it have in common.

Letters: b = batch, d = embedding width, v = views.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ironbind.defences.defence import Passes, Where, refuse_odd_knobs
from ironbind.defences.views import DRAWN, VIEWS, no_views, views_of
from ironbind.types import Embed, InputError, SampleRandom, Space

RULES = ("mean", "consensus")


@dataclass(frozen=True)
class Anchors:
    """The views of `defences.views`, the input among them. `rule` "mean": their normalised mean (test-time
    augmentation). "consensus": each view weighs as softmax of its cosine to that mean over `temperature`, so that
    outliers count little. Kin: AGC's augmentation anchors (arXiv 2605.15584), R-TPT's weights by reliability (CVPR
    2025); composition and values are ours.
    """

    rule: str = "consensus"
    temperature: float = 0.1

    name = "anchors"
    gradients = ("exact",)

    def __post_init__(self) -> None:
        refuse_odd_knobs(self)
        if self.rule not in RULES or not self.temperature > 0:
            raise InputError(f"{self}: expected rule {' or '.join(RULES)}, and a temperature above 0")

    def unsuitable(self, modality: str, space: Space) -> str:
        return no_views(modality, space)

    def randomised(self, modality: str, space: Space) -> bool:
        return space.name in DRAWN

    def passes(self, modality: str, space: Space) -> Passes:
        return Passes(1 + len(VIEWS[space.name]))

    def answer(self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom) -> Float[Tensor, "b d"]:
        z = torch.stack([embed(view) for view in views_of(x, where.space, rng)], dim=1)
        anchor = normalize(z.mean(dim=1), dim=-1)
        if self.rule == "mean":
            return anchor
        weight = torch.softmax((z * anchor[:, None]).sum(dim=-1) / self.temperature, dim=1)
        return normalize((weight[:, :, None] * z).sum(dim=1), dim=-1)
