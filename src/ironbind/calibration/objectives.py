"""What a calibration minimises: pure functions of `Views`, and their weighted sums.

The paper (arXiv 2505.11895) names three objectives and a regulariser but no equation was at hand: the formulas are our
reading, next to the nearest published method. Letters: b = batch, d = embedding width, m = rows of the class centers, c
= classes.
"""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from ironbind.types import ClassCenters, Objective, Views


def class_logits(z: Float[Tensor, "b d"], centers: ClassCenters, logit_scale: float) -> Float[Tensor, "b c"]:
    """Scaled cosines to the frozen centers; several rows of a class are pooled by log-sum-exp, so that all of them get
    gradient.
    """
    logits = logit_scale * z @ centers.z.T
    if centers.one_row_each:
        return logits
    classes = torch.arange(len(centers), device=z.device)
    of_class = centers.label[None, :] == classes[:, None]  # c m
    return torch.logsumexp(logits[:, None, :].masked_fill(~of_class[None], -torch.inf), dim=2)


def center_cross_entropy(views: Views, logit_scale: float = 20.0) -> Float[Tensor, ""]:
    """Fixed-center cross-entropy: CE(s h(f(x_adv)) C^T, y) over frozen unit centers C. Kin: TeCoA (Mao et al. 2023,
    arXiv 2212.07016).
    """
    return cross_entropy(class_logits(views.adv_out, views.centers, logit_scale), views.label)


def l2(views: Views) -> Float[Tensor, ""]:
    """Clean-to-adversarial alignment: mean over b of ||h(f(x_adv)) - f(x)||^2 on unit rows. Kin: FARE (Schlarmann et
    al. 2024, arXiv 2402.12336).
    """
    return (views.adv_out - views.clean).square().sum(dim=1).mean()


def infonce(views: Views, temperature: float = 0.07) -> Float[Tensor, ""]:
    """Clean-adversarial InfoNCE: the positive of h(f(x_adv)) is its own clean embedding, the negatives are the batch's
    other clean ones.

    Formula: van den Oord et al. 2018 (arXiv 1807.03748), one direction; the clean embeddings are frozen.
    """
    logits = views.adv_out @ views.clean.T / temperature
    return cross_entropy(logits, torch.arange(len(logits), device=logits.device))


def modality_consistency(
    views: Views, preserve: float = 1.0, classes: float = 0.1, across: float = 0.1, logit_scale: float = 20.0
) -> Float[Tensor, ""]:
    """The paper's modality-consistency regulariser, our reading; a weighted sum of three terms.

    `preserve`: ||h(f(x)) - f(x)||^2, the head leaves clean embeddings alone. `classes`: KL(p(f(x)) || p(h(f(x_adv))))
    between class distributions. `across`: the same between the rows of similarities to the batch's paired embeddings in
    other modalities (image, text).
    """
    loss = preserve * (views.clean_out - views.clean).square().sum(dim=1).mean()
    loss = loss + classes * _divergence(
        class_logits(views.clean, views.centers, logit_scale), class_logits(views.adv_out, views.centers, logit_scale)
    )
    for other in views.paired.values():
        loss = loss + across * _divergence(logit_scale * views.clean @ other.T, logit_scale * views.adv_out @ other.T)
    return loss


def clean_cross_entropy(views: Views, logit_scale: float = 20.0) -> Float[Tensor, ""]:
    """Fixed-center cross-entropy of the clean inputs: CE(s h(f(x)) C^T, y)."""
    return cross_entropy(class_logits(views.clean_out, views.centers, logit_scale), views.label)


def distillation(views: Views) -> Float[Tensor, ""]:
    """Both outputs stay where the frozen encoder put the clean input: (1 - cos(h(f(x_adv)), f(x))) + (1 - cos(h(f(x)),
    f(x))), mean over b.

    This is what keeps an index valid that was built with the original encoder. Ours; its first term is half of `l2`.
    """
    return (2 - (views.adv_out * views.clean).sum(dim=1) - (views.clean_out * views.clean).sum(dim=1)).mean()


def clean_distillation(views: Views) -> Float[Tensor, ""]:
    """The clean half of `distillation`: 1 - cos(h(f(x)), f(x)), mean over b."""
    return (1 - (views.clean_out * views.clean).sum(dim=1)).mean()


def agreement(views: Views, logit_scale: float = 20.0) -> Float[Tensor, ""]:
    """KL(p(h(f(x))) || p(h(f(x_adv)))) between class distributions: the robust term of TRADES (Zhang et al. 2019, arXiv
    1901.08573, equation 5).
    """
    return _divergence(
        class_logits(views.clean_out, views.centers, logit_scale),
        class_logits(views.adv_out, views.centers, logit_scale),
    )


def _divergence(wanted: Float[Tensor, "b c"], have: Float[Tensor, "b c"]) -> Float[Tensor, ""]:
    """KL(softmax(wanted) || softmax(have)), mean over the batch."""
    return kl_div(log_softmax(have, dim=1), log_softmax(wanted, dim=1), log_target=True, reduction="batchmean")


@dataclass(frozen=True)
class WeightedSum:
    """A sum of objectives is an objective."""

    terms: tuple[tuple[float, Objective], ...]

    def __call__(self, views: Views) -> Float[Tensor, ""]:
        return torch.stack([weight * objective(views) for weight, objective in self.terms]).sum()


def weighted(*terms: tuple[float, Objective]) -> WeightedSum:
    """`weighted((1.0, infonce), (0.5, modality_consistency))`."""
    return WeightedSum(terms)


TRADES = WeightedSum(((1.0, clean_cross_entropy), (6.0, agreement)))
"""Clean cross-entropy plus 6 times the disagreement (the paper's 1/lambda = 6), on cosines to frozen centers."""

CALM = WeightedSum(((2.0, clean_distillation), (0.5, clean_cross_entropy), (0.5, l2)))
"""Clean-oriented alignment and latent modelling, our reading of v2's abstract: distil the frozen features, calibrate
them towards the centers, and let the (lightly augmented) second view follow."""


def hardened(weight: float = 8.0) -> WeightedSum:
    """What holds against the adaptive attack and, by `weight` times `distillation`, keeps clean accuracy and index
    (ours; docs/hardening.md).
    """
    return WeightedSum(((1.0, center_cross_entropy), (0.5, clean_cross_entropy), (weight, distillation)))


HARDENED = hardened()


def describe(objective: Objective) -> str:
    """An objective as a formula of names and knobs: "1 infonce(temperature=0.07) + 0.5 modality_consistency()"."""
    if isinstance(objective, WeightedSum):
        return " + ".join(f"{weight:g} {describe(one)}" for weight, one in objective.terms)
    if isinstance(objective, partial):
        knobs = ", ".join(f"{name}={value!r}" for name, value in sorted(objective.keywords.items()))
        return f"{objective.func.__name__}({knobs})"
    return f"{getattr(objective, '__name__', repr(objective))}()"
