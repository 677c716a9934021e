"""Every objective of the table is a finite, differentiable scalar of `Views`, whatever the batch."""

import pytest
import torch
from torch.nn.functional import normalize

from ironbind.calibration import OBJECTIVES
from ironbind.calibration.objectives import describe
from ironbind.types import ClassCenters, Views


@pytest.fixture(params=list(OBJECTIVES))
def objective(request):
    return OBJECTIVES[request.param]


@pytest.mark.parametrize("b", [1, 2, 33])
@pytest.mark.parametrize("label", [[0, 1, 2], [0, 2, 1, 1, 0]], ids=["one row", "several rows"])
@pytest.mark.parametrize("paired", [(), ("image", "text")], ids=["alone", "paired"])
def test_it_is_a_differentiable_scalar(objective, b, label, paired):
    generator = torch.Generator().manual_seed(b)

    def rows(n):
        return normalize(torch.randn(n, 8, generator=generator), dim=1)

    centers = ClassCenters(rows(len(label)), torch.tensor(label), tuple("abc"))
    clean_out, adv_out = rows(b).requires_grad_(), rows(b).requires_grad_()
    views = Views(
        rows(b),
        clean_out,
        adv_out,
        torch.randint(0, 3, (b,), generator=generator),
        centers,
        {one: rows(b) for one in paired},
    )
    loss = objective(views)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    gradients = torch.autograd.grad(loss, (clean_out, adv_out), allow_unused=True, materialize_grads=True)
    assert all(torch.isfinite(one).all() for one in gradients)
    if b > 1:
        assert sum(float(one.abs().sum()) for one in gradients) > 0


def test_it_can_be_written_down(objective):
    assert objective.__name__ in describe(objective)
    assert objective.__doc__
