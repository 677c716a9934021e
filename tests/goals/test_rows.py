"""Every goal answers a row alike in every batch, to the last bit: a verdict must not depend on its neighbours."""

import pytest
import torch
from torch.nn.functional import normalize

from ironbind.goals.embedding_shift import EmbeddingShift
from ironbind.goals.hub import Hub
from ironbind.goals.misclassify import LOSSES, Misclassify
from ironbind.goals.miss_retrieved import MissRetrieved
from ironbind.goals.target import Illusion
from ironbind.types import ClassCenters

pytestmark = pytest.mark.bits

ROWS, CLASSES = 9, 101
LABEL = torch.arange(ROWS)


def unit_rows(n: int, d: int, seed: int) -> torch.Tensor:
    return normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def goals(d: int) -> list:
    z, centers = (
        unit_rows(ROWS, d, 0),
        ClassCenters(unit_rows(CLASSES, d, 1), torch.arange(CLASSES), ("name",) * CLASSES),
    )
    pooled = ClassCenters(centers.z, torch.arange(CLASSES) % 25, ("name",) * 25)
    query = unit_rows(ROWS, d, 2)
    kinds = [
        Misclassify(centers, LABEL), Misclassify(pooled, LABEL, k=5), Misclassify(centers, LABEL, rival=LABEL + 3),
        Misclassify(centers, LABEL, also=LABEL[:, None] + 50), Illusion(centers, LABEL + 1),
        MissRetrieved(query, query @ centers.z.T, k=5),
        Hub(centers.z, torch.linspace(-0.1, 0.1, CLASSES)),
    ]  # fmt: skip
    return [*(goal.using(loss) for goal in kinds for loss in LOSSES), EmbeddingShift(z.roll(1, dims=0))]


@pytest.mark.parametrize("d", [37, 512])
def test_a_row_is_the_same_bits_in_every_batch(d):
    z = unit_rows(ROWS, d, 3)
    for goal in goals(d):
        functions = ["loss", "reached", *(name for name in ("rank", "margin") if hasattr(goal, name))]
        for name in functions:
            whole = getattr(goal, name)(z)
            for size in (1, 2, 3, 4, 5):
                parts = [getattr(goal[rows], name)(z[rows]) for rows in LABEL.split(size)]
                assert torch.cat(parts).equal(whole), (goal, name, size)
