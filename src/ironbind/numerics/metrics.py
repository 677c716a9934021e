"""From embeddings to answers: class scores, ranks, recalls, and the intervals around shares. Ties count against the
truth.

Letters: b = batch, d = embedding width, c = classes (in retrieval: gallery items).
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ironbind.core.tables.intervals import NORMAL_QUANTILE
from ironbind.core.tables.intervals import Interval as Interval
from ironbind.core.tables.intervals import wilson as wilson
from ironbind.numerics.batching import products
from ironbind.types import ClassCenters


def class_scores(z: Float[Tensor, "b d"], centers: ClassCenters) -> Float[Tensor, "b c"]:
    """Cosine of each embedding to each class: the highest over the rows of a class (several rows per class allowed)."""
    rows = products(z, centers.z)
    if centers.one_row_each:
        return rows
    pooled = rows.new_full((len(z), len(centers)), -math.inf)
    return pooled.scatter_reduce(1, centers.label.expand(len(z), -1), rows, reduce="amax")


def rank_of_truth(scores: Float[Tensor, "b c"], label: Int[Tensor, " b"]) -> Int[Tensor, " b"]:
    """1 + the number of other classes that score at least as high as the truth. A truth that is not a number ranks
    last.
    """
    truth = scores.gather(1, label[:, None])
    # "not lower" rather than "at least as high", so that a nan on either side counts against the truth
    return (~(scores < truth)).sum(dim=1)


def margin(scores: Float[Tensor, "b c"], label: Int[Tensor, " b"], k: int = 1) -> Float[Tensor, " b"]:
    """k-th highest wrong score minus the true score: >= 0 exactly when the truth has left the top k.

    -inf when there are fewer than k wrong classes.
    """
    truth = scores.gather(1, label[:, None]).squeeze(1)
    if scores.shape[1] - 1 < k:
        return torch.where(torch.isnan(truth), math.inf, truth * 0 - math.inf)
    wrong = scores.scatter(1, label[:, None], -math.inf)
    return wrong.topk(k, dim=1).values[:, -1] - truth


def mean_interval(values: list[float]) -> Interval:
    """Mean with a normal 95 % interval (a single value: an interval of no width). The sums are exact, so that the order
    of the values changes no bit. Raises ValueError for no values.
    """
    n = len(values)
    if n == 0:
        raise ValueError("a mean needs at least one sample")
    mean = math.fsum(values) / n
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1)) if n > 1 else 0.0
    half = NORMAL_QUANTILE * spread / math.sqrt(n)
    return Interval(mean, mean - half, mean + half)


def quantile_interval(values: list[float], share: float) -> Interval:
    """The value that a share of `values` does not exceed, with a 95 % interval whatever the distribution: order
    statistics, their ranks by the normal approximation to the binomial (Conover 1999, section 3.2). Values may be
    infinite. Raises ValueError for no values."""
    n, ordered = len(values), sorted(values)
    if n == 0:
        raise ValueError("a quantile needs at least one sample")
    half = NORMAL_QUANTILE * math.sqrt(n * share * (1 - share))

    def at(rank: float) -> float:
        return ordered[min(max(math.ceil(rank), 1), n) - 1]

    return Interval(at(n * share), at(n * share - half), at(n * share + half + 1))
