"""Views weighed by what the text side makes of them: the selection of test-time prompt tuning, without the tuning.

Letters: b = batch, d = embedding width, v = views, t = texts.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ironbind.defences.defence import Passes, Where, refuse_odd_knobs
from ironbind.defences.views import DRAWN, VIEWS, no_views, views_of
from ironbind.numerics.batching import products
from ironbind.types import Embed, InputError, SampleRandom, Space


@dataclass(frozen=True)
class PromptConsensus:
    """Each view of `defences.views` is compared with the embeddings of the prompts (softmax at `logit_scale`, CLIP's
    100). The share `rho` of views with the least entropy is kept, and weighed by how much each agrees with the others
    kept (softmax of the mean cosine over `temperature`).

    After TPT (Shu et al. 2022, arXiv 2209.07511, rho = 0.1 of 64 views; of the eight views here 0.5 is kept, ours) and
    R-TPT (Sheng et al., CVPR 2025: entropy of each view by itself, weights by reliability); their tuning of the prompt
    is left out, so that the text side stays one for all queries. `texts`: the prompts, one for each class.
    """

    texts: tuple[str, ...] = ()
    rho: float = 0.5
    logit_scale: float = 100.0
    temperature: float = 0.01

    name = "prompt_consensus"
    gradients = ("straight_through",)

    def __post_init__(self) -> None:
        refuse_odd_knobs(self)
        if not 0 < self.rho <= 1 or not self.temperature > 0:
            raise InputError(
                f"prompt_consensus with rho {self.rho}, temperature {self.temperature}: expected 0 < rho <= 1 and a "
                "temperature above 0"
            )

    def unsuitable(self, modality: str, space: Space) -> str:
        return no_views(modality, space) or ("" if self.texts else "it was given no texts to compare with")

    def randomised(self, modality: str, space: Space) -> bool:
        return space.name in DRAWN

    def passes(self, modality: str, space: Space) -> Passes:
        return Passes(1 + len(VIEWS[space.name]))

    def answer(self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom) -> Float[Tensor, "b d"]:
        z = torch.stack([embed(view) for view in views_of(x, where.space, rng)], dim=1)
        with torch.no_grad():
            assert where.prompts is not None
            cosines = products(z.flatten(0, 1), where.prompts.to(z)).unflatten(0, z.shape[:2])
            log_p = (self.logit_scale * cosines).log_softmax(dim=-1)
            entropy = -(log_p.exp() * log_p).sum(dim=-1)
            count = max(1, round(self.rho * z.shape[1]))
            chosen = entropy.topk(count, dim=1, largest=False).indices
        kept = z.gather(1, chosen[:, :, None].expand(-1, -1, z.shape[2]))
        agreement = torch.einsum("bvd,bwd->bvw", kept, kept).mean(dim=2)
        weight = torch.softmax(agreement / self.temperature, dim=1)
        return normalize((weight[:, :, None] * kept).sum(dim=1), dim=-1)
