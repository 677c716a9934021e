"""The built-in encoder, plain and with the adapters that ship: a sample's embedding and gradient are the same
to the bit in small batches and in large ones.
"""

import pytest
import torch

import ironbind as ib
from ironbind.types import backbone_of

pytestmark = pytest.mark.bits
LARGE = 32


@pytest.fixture(scope="module")
def shipped():
    return ib.from_pretrained()


@pytest.fixture(scope="module")
def data():
    return ib.load_dataset("world", split="tune", n=LARGE)


def embedded(task, x):
    """Embeddings, and the gradient of their sum of squares with weights that differ."""
    x = x.clone().requires_grad_(True)
    z = task.embed(x)
    (gradient,) = torch.autograd.grad((z * torch.linspace(-1, 1, z.shape[1])).sum(), x)
    return z.detach(), gradient


@pytest.mark.parametrize("modality", ["image", "video", "audio", "point", "thermal", "event"])
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "shipped"])
def test_small_batches_are_as_large_ones(shipped, data, modality, plain):
    if not plain and torch.backends.cpu.get_cpu_capability() == "DEFAULT":
        pytest.skip("without AVX2 the convolutions of a purifier round small batches differently (docs/engine.md)")
    encoder = backbone_of(shipped) if plain else shipped
    task = ib.zero_shot(encoder, data, modality)
    for space in encoder.inputs[modality].spaces:
        within = task.within(space)
        x = within.load(range(LARGE))
        z, gradient = embedded(within, x)
        for size in (4, 8, 12, 20):
            z_small, gradient_small = embedded(within, x[:size])
            assert torch.equal(z_small, z[:size]), (space, size)
            assert torch.equal(gradient_small, gradient[:size]), (space, size)
