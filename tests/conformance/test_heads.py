"""Every head of the table is the identity at birth, differentiable, and can learn something else."""

import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from ironbind.calibration import HEADS
from ironbind.calibration.calibrated import apply_head


@pytest.fixture(params=list(HEADS))
def kind(request):
    return HEADS[request.param]


@pytest.mark.parametrize("dim", [2, 17, 256])
def test_it_is_the_identity_at_birth(kind, dim):
    z = normalize(torch.randn(8, dim, generator=torch.Generator().manual_seed(dim)), dim=1)
    head = kind(dim)
    assert isinstance(head, nn.Module)
    assert head(z).equal(z)
    assert apply_head(head, z).equal(normalize(z, dim=1))


def test_it_learns(kind):
    torch.manual_seed(0)
    head = kind(16)
    z, goal = (normalize(torch.randn(32, 16), dim=1) for _ in range(2))
    optimiser = torch.optim.Adam(head.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        loss = (apply_head(head, z) - goal).square().sum(dim=1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.9 * losses[0]
    assert all(one.grad is not None for one in head.parameters())


def test_it_passes_gradients_to_the_input(kind):
    z = torch.randn(4, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(kind(16)(z).square().sum(), z)
    assert gradient.equal(2 * z)


def test_state_dicts_can_be_saved(kind, tmp_path):
    from safetensors.torch import load_file, save_file

    head = kind(16)
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    kind(16).load_state_dict(load_file(tmp_path / "head.safetensors"))
