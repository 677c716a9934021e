"""A row's answer does not depend on who shares its batch."""

import pytest
import torch
from torch import nn

from ironbind.numerics.batching import ROW_QUANTUM, in_full_batches, products


@pytest.mark.parametrize("rows", range(10))
def test_batches_are_rounded_up(rows):
    seen = []

    def embed(x):
        seen.append(len(x))
        return 2 * x

    x = torch.randn(rows, 3)
    assert in_full_batches(embed)(x).equal(2 * x)
    assert seen == [-(-rows // ROW_QUANTUM) * ROW_QUANTUM]


def test_padding_costs_no_gradient():
    x = torch.randn(3, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(in_full_batches(lambda rows: rows.square())(x).sum(), x)
    assert gradient.equal(2 * x)


@pytest.mark.bits
@pytest.mark.parametrize("width", [16, 37, 512])
def test_products_of_a_row_are_the_same_bits_in_every_batch(width):
    torch.manual_seed(width)
    z, references, weight = torch.randn(32, width), torch.randn(24, width), torch.randn(32, 24)

    def both(first: int, size: int):
        some = z[first : first + size].clone().requires_grad_()
        out = products(some, references)
        (gradient,) = torch.autograd.grad((out * weight[first : first + size]).sum(), some)
        return out.detach(), gradient

    whole, gradients = both(0, 32)
    assert torch.allclose(whole, z @ references.T, atol=1e-4)
    for size in (1, 2, 3, 4, 5, 7, 8, 16):
        parts = [both(first, size) for first in range(0, 32, size)]
        assert torch.cat([one for one, _ in parts]).equal(whole)
        assert torch.cat([one for _, one in parts]).equal(gradients)


@pytest.mark.bits
def test_the_claim_behind_the_quantum():
    """Multiples of ROW_QUANTUM agree bit for bit, forward and backward, in the layers that encoders are made of."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1), nn.GELU(), nn.Flatten(), nn.Linear(8 * 16, 37), nn.LayerNorm(37), nn.Linear(37, 13)
    )
    x = torch.randn(32, 3, 8, 8)

    def both(some):
        some = some.clone().requires_grad_()
        z = network(some)
        return z.detach(), torch.autograd.grad(z.square().sum(), some)[0]

    whole, gradients = both(x)
    for size in (ROW_QUANTUM, 2 * ROW_QUANTUM, 4 * ROW_QUANTUM):
        parts = [both(some) for some in x.split(size)]
        assert torch.cat([one for one, _ in parts]).equal(whole)
        assert torch.cat([one for _, one in parts]).equal(gradients)
