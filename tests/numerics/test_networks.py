"""Finding an encoder's modules, holding them still, counting their parameters; copies that enter closures, partial
functions and bound methods, and copies that share every tensor.
"""

from functools import partial

import pytest
import torch
from torch import nn

from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.heads import IdentityLinear
from ironbind.encoders.from_callable import CallableEncoder
from ironbind.numerics.networks import copied, frozen, modules_of, networks_in, parameter_count, sharing_copy
from ironbind.types import InputSpec
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


# ------------------------------------------------------------------------------------------------------------- copies

NET = nn.Linear(3, 3)


def closed_over(net):
    def inner(x, *, scale=2.0):
        return scale * net(x)

    return inner


def kinds():
    net = nn.Linear(3, 2)
    return {
        "module": (net, net),
        "closure": (closed_over(net), net),
        "partial": (partial(closed_over(net), scale=3.0), net),
        "partial of a method": (partial(net.forward), net),
        "closure in a closure": (closed_over(closed_over(net)), net),
    }


def test_a_copied_function_runs_on_a_copied_network():
    x = torch.randn(4, 3)
    for name, (function, net) in kinds().items():
        made = copied(function, {})
        answer = made(x)
        assert answer.equal(function(x)), name
        assert list(networks_in(function)) == [net], name
        (inside,) = networks_in(made)
        assert inside is not net, name
        with torch.no_grad():
            net.weight.zero_()
        assert made(x).equal(answer), name


def test_two_functions_of_one_network_stay_so():
    net, memo = nn.Linear(3, 3), {}
    first, second = copied(closed_over(net), memo), copied(partial(net.forward), memo)
    assert next(networks_in(first)) is next(networks_in(second))


def test_a_function_may_hold_itself():
    def countdown(n):
        return [n, *countdown(n - 1)] if n else []

    made = copied(countdown, {})
    assert made(3) == [3, 2, 1]
    assert made.__closure__[0].cell_contents is made


def test_sharing_copies_of_modules_and_functions():
    conv = Conv()
    x = torch.rand(2, 3, 8, 8)
    spec: InputSpec = conv.inputs["image"]
    through = CallableEncoder(
        "mine", 16, {"image": spec}, "0", {("image", "pixels"): partial(conv.read, "image", space=None)}, None, conv
    )
    for encoder in (conv, through):
        made = sharing_copy(encoder)
        z = encoder.embed("image", x)
        assert made.embed("image", x).equal(z)
        network = made if isinstance(made, Conv) else made.model
        assert network is not conv
        assert all(one is other for one, other in zip(network.parameters(), conv.parameters(), strict=True))
        assert all(one is other for one, other in zip(network.buffers(), conv.buffers(), strict=True))
        before = state_hash(conv)
        network.of["image"] = nn.Sequential(nn.Flatten(), nn.Linear(192, 16))
        assert state_hash(conv) == before
        assert conv.embed("image", x).equal(z)
        assert not made.embed("image", x).equal(z), "the copy's functions run on the copy's modules"
