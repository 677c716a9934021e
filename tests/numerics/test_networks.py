"""Finding an encoder's modules, holding them still, counting their parameters."""

import pytest
import torch
from torch import nn

from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.numerics.networks import frozen, modules_of, parameter_count
from toys import CLASSES, Conv, Counting, Linear, state_hash


class Holder:
    """An encoder that keeps its network in an attribute."""

    def __init__(self):
        self.network = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5), nn.BatchNorm1d(4))
        self.network[0].bias.requires_grad_(False)
        self.other = 3


def test_modules_are_found_in_attributes_and_behind_calibrations():
    holder, plain = Holder(), Linear()
    assert modules_of(holder) == [holder.network]
    assert modules_of(plain) == [plain]
    calibrated = Calibrated(plain, {"image": IdentityLinear(plain.dim)}, "none", "linear")
    assert modules_of(calibrated) == [plain, calibrated.heads, calibrated.parts, calibrated.networks]
    assert modules_of(Counting(object())) == []


def test_parameters_are_counted_backbone_included():
    plain = Linear()
    assert parameter_count(plain) == 16 * (192 + 64 + 36)
    assert (
        parameter_count(Calibrated(plain, {"image": IdentityLinear(16)}, "none", "linear"))
        == 16 * (192 + 64 + 36) + 16 * 17
    )


def test_frozen_holds_still_and_restores():
    holder = Holder()
    holder.network[2].eval()
    with frozen(holder):
        assert not any(one.requires_grad for one in holder.network.parameters())
        assert not any(one.training for one in holder.network.modules())
        before = state_hash(holder.network)
        holder.network(torch.randn(8, 4))
        assert state_hash(holder.network) == before  # no running statistics move
    trained = {name for name, one in holder.network.named_parameters() if one.requires_grad}
    assert trained == {"0.weight", "2.weight", "2.bias"}
    assert [one.training for one in holder.network] == [True, True, False]


def test_frozen_restores_after_an_error():
    conv = Conv().requires_grad_(True).train()
    with pytest.raises(RuntimeError, match="stop"), frozen(conv):
        raise RuntimeError("stop")
    assert all(one.requires_grad for one in conv.parameters())
    assert conv.training
    assert len(CLASSES) == 8
