"""Copies that enter closures, partial functions and bound methods, and copies that share every tensor."""

from functools import partial

import torch
from torch import nn

from ironbind.encoders.from_callable import CallableEncoder
from ironbind.numerics.copies import copied, sharing_copy
from ironbind.numerics.networks import networks_in
from ironbind.types import InputSpec
from toys import Conv, state_hash

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
