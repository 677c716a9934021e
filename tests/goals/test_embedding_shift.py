"""Away from the clean embedding: a goal without classes, and attacks that pursue it."""

import torch
from torch.nn.functional import normalize

from ironbind.attacks import PGD
from ironbind.goals.embedding_shift import EmbeddingShift
from ironbind.types import Goal, Linf
from toys import Linear, rng


def unit_rows(seed, b=6, d=16):
    return normalize(torch.randn(b, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_loss_is_the_squared_distance():
    origin, z = unit_rows(0), unit_rows(1)
    goal: Goal = EmbeddingShift(origin)
    expected = torch.stack([((a - b) ** 2).sum() for a, b in zip(z, origin, strict=True)])
    assert torch.allclose(goal.loss(z), expected)
    assert torch.allclose(goal.loss(z), 2 - 2 * (z * origin).sum(1), atol=1e-6)
    assert not goal.loss(origin).any()
    assert not goal.reached(-origin).any()


def test_it_is_one_goal_whatever_the_loss_and_has_no_rivals():
    origin, z = unit_rows(0), unit_rows(1)
    goal = EmbeddingShift(origin)
    assert goal.using("ce") is goal
    assert goal.rivals(z, 5).shape == (6, 0)
    assert goal.against(torch.zeros(6, dtype=torch.long)) is goal
    rows = torch.tensor([4, 0, 4])
    assert goal[rows].loss(z[rows]).equal(goal.loss(z)[rows])


def test_attacks_pursue_it():
    encoder = Linear()
    x = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    clean = encoder.embed("image", x)

    def embed(at):
        return encoder.embed("image", at)

    found = PGD(steps=8)(embed, x, EmbeddingShift(clean), encoder.inputs["image"].space, Linf("4/255"), rng(5))
    noise = x + (4 / 255) * torch.sign(torch.randn(x.shape, generator=torch.Generator().manual_seed(1)))
    assert (found.loss > 4 * EmbeddingShift(clean).loss(embed(noise))).all()
