"""from_callable: the documented example, agreement with the functions, and one clear line for everything that a
function can do wrong.
"""

import random
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ironbind.encoders.from_callable import from_callable
from ironbind.modalities.spaces import PIXELS, UNIT_SPHERE, WAVEFORM, log_mel
from ironbind.numerics.networks import frozen
from ironbind.types import Encoder, FrontEnd, InputError, InputSpec

DOCS = Path(__file__).parents[2] / "docs" / "encoders.md"

IMAGE = InputSpec("image", (3, 4, 4), PIXELS, lambda decoded: torch.zeros(3, 4, 4))
POINT = InputSpec("point", (5, 3), UNIT_SPHERE, lambda decoded: torch.zeros(5, 3))
MEL = FrontEnd(log_mel(60.0), (1, 2, 3), lambda x: x.reshape(-1, 1, 2, 3).sigmoid())
AUDIO = InputSpec("audio", (1, 6), WAVEFORM, lambda decoded: torch.zeros(1, 6), fronts={"logmel": MEL})


def linear(length, width=7, seed=0):
    weight = torch.randn(length, width, generator=torch.Generator().manual_seed(seed))
    return lambda x: x.flatten(1) @ weight


def texts(words):
    return torch.stack([torch.full((7,), float(len(word))) + torch.arange(7) for word in words])


def test_an_encoder_out_of_functions():
    image, point = linear(48), linear(15, seed=1)
    encoder = from_callable(
        "mine", {"image": image, "point": point}, inputs={"image": IMAGE, "point": POINT}, text=texts
    )
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.dim) == ("mine", 7)
    x = torch.rand(4, 3, 4, 4, requires_grad=True)
    z = encoder.embed("image", x)
    torch.testing.assert_close(z, image(x) / image(x).norm(dim=-1, keepdim=True))
    assert torch.autograd.grad(z[0, 0], x)[0].abs().sum() > 0
    many = [f"{'w' * (i % 9)} " for i in range(150)]  # several batches of texts
    torch.testing.assert_close(encoder.embed_text(many), texts(many) / texts(many).norm(dim=-1, keepdim=True))


def test_a_front_has_its_own_function():
    native, mel = linear(6), linear(6, seed=2)
    encoder = from_callable("mine", {"audio": native, ("audio", "logmel"): mel}, inputs={"audio": AUDIO})
    x = torch.rand(2, 1, 2, 3)
    torch.testing.assert_close(encoder.embed("audio", x, space="logmel"), mel(x) / mel(x).norm(dim=-1, keepdim=True))
    with pytest.raises(InputError, match="inputs name the audio space 'logmel', but there is no function"):
        from_callable("mine", {"audio": native}, inputs={"audio": AUDIO})
    with pytest.raises(InputError, match="space 'pixels' does not exist for audio"):
        encoder.embed("audio", x, space="pixels")


def test_identity_follows_behaviour():
    def digest(seed):
        return from_callable("mine", {"image": linear(48, seed=seed)}, inputs={"image": IMAGE}).weights_sha256

    assert digest(0) == digest(0) != digest(1)
    given = from_callable("mine", {"image": linear(48)}, inputs={"image": IMAGE}, weights_sha256="abc")
    assert given.weights_sha256 == "abc"


class Detached(nn.Module):
    """Its output depends on its weights with gradients, and on its input without."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(48, 7)

    def forward(self, x):
        return self.linear(x.detach().flatten(1))


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda x: x.flatten(1).sum(1), r"returned \(2,\); expected a tensor of shape \(2, d\)"),
        (lambda x: x.flatten(1)[:1], r"returned \(1, 48\)"),
        (lambda x: x.detach().numpy(), "returned ndarray"),
        (lambda x: x.flatten(1) / 0, "not finite"),
        (Detached(), "no gradient with respect to its input"),
    ],
)
def test_what_a_function_does_wrong_is_said_at_once(function, said):
    with pytest.raises(InputError, match=said):
        from_callable("mine", {"image": function}, inputs={"image": IMAGE})


def trained_network(dtype=torch.float32):
    """Dropout and batch normalisation with statistics of its own data, in train mode, as a new module is."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 7), nn.BatchNorm1d(7), nn.Dropout(0.5))
    with torch.no_grad():
        for _ in range(20):
            network(torch.rand(32, 3, 4, 4) / 10)
    return network.to(dtype)


def seed_everything():
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global generator, which functions may draw from
    random.seed(1)


def drawn():
    return float(torch.rand(1)), np.random.rand(), random.random()  # noqa: NPY002


GLOBAL = trained_network()


def calls_a_global(x):
    return GLOBAL(x)


class Wrapped:
    def __init__(self, network):
        self.network = network

    def embed(self, x):
        return self.network(x)


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize(
    "held", ["module", "closure", "partial", "method", "global", "helper of a global", "text"], ids=lambda one: one
)
def test_a_probe_leaves_the_model_as_it_was(held, named):
    network = GLOBAL if "global" in held else trained_network()
    functions = {
        "module": network,
        "closure": lambda x: network(x),
        "partial": partial(lambda inner, x: inner(x), network),
        "method": Wrapped(network).embed,
        "global": lambda x: GLOBAL(x),
        "helper of a global": lambda x: calls_a_global(x),
        "text": linear(48),
    }
    text = (lambda words: network(torch.ones(len(words), 48))) if held == "text" else None
    network[2].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [part.training for part in network.modules()]
    seed_everything()
    encoder = from_callable(
        "mine", {"image": functions[held]}, inputs={"image": IMAGE}, text=text, model=network if named else None
    )
    state = drawn()
    seed_everything()
    assert state == drawn()
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert [part.training for part in network.modules()] == modes
    assert {name for name, one in network.named_parameters() if not one.requires_grad} == {"2.weight"}
    if held == "text":
        return
    with frozen(encoder), torch.no_grad():  # an audit holds still whatever the functions run
        x = torch.rand(3, 3, 4, 4)
        z = encoder.embed("image", x)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(z, torch.nn.functional.normalize(network(x), dim=-1))
    network.train()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_embeddings_of_half_precision_become_float32(dtype):
    image = linear(48)
    encoder = from_callable(
        "mine",
        {"image": lambda x: image(x).to(dtype)},
        inputs={"image": IMAGE},
        text=lambda words: texts(words).to(dtype),
    )
    x = torch.rand(2, 3, 4, 4)
    for z in (encoder.embed("image", x), encoder.embed_text(["a", "bee"])):
        assert z.dtype == torch.float32
        torch.testing.assert_close(z.norm(dim=1), torch.ones(2))
    torch.testing.assert_close(
        encoder.embed("image", x),
        from_callable("mine", {"image": image}, inputs={"image": IMAGE}).embed("image", x),
        atol=5e-3,
        rtol=0,
    )


@pytest.mark.parametrize(
    ("image", "text", "said"),
    [
        (
            nn.Sequential(nn.Flatten(), nn.Linear(48, 7)).half(),
            None,
            r"'pixels', given \(2, 3, 4, 4\) in float32, raised",
        ),
        (lambda x: (x.flatten(1) * 9).long(), None, "returned torch.int64; expected a tensor of floating-point"),
        (linear(48), lambda words: [0.0] * 7, "text function, given two texts, returned list"),
        (linear(48), lambda words: torch.full((2, 7), torch.nan), "text function, .* numbers that are not finite"),
        (linear(48), lambda words: {}["vocabulary"], "text function, given two texts, raised KeyError"),
    ],
)
def test_what_fails_when_probed_is_one_line(image, text, said):
    with pytest.raises(InputError, match=said) as refusal:
        from_callable("mine", {"image": image}, inputs={"image": IMAGE}, text=text)
    assert "\n" not in str(refusal.value)


def test_gradient_free_functions_are_allowed_when_asked_for():
    encoder = from_callable("mine", {"image": Detached()}, inputs={"image": IMAGE}, differentiable=False)
    assert tuple(encoder.embed("image", torch.rand(3, 3, 4, 4)).shape) == (3, 7)


def test_other_refusals():
    with pytest.raises(InputError, match="unlike shapes"):
        from_callable(
            "mine", {"image": linear(48), "point": linear(15, width=9)}, inputs={"image": IMAGE, "point": POINT}
        )
    with pytest.raises(InputError, match="function for 'point' has no input specification"):
        from_callable("mine", {"image": linear(48), "point": linear(15)}, inputs={"image": IMAGE})
    encoder = from_callable("mine", {"image": linear(48)}, inputs={"image": IMAGE})
    with pytest.raises(InputError, match="'point' is not available for encoder mine: expected one of image"):
        encoder.embed("point", torch.rand(1, 5, 3))
    with pytest.raises(InputError, match="no text tower"):
        encoder.embed_text(["a"])


def test_the_documented_example_runs():
    """The Python block of the from_callable section, as printed."""
    section = DOCS.read_text(encoding="utf-8").split("## Your own encoder")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    names: dict = {}
    exec(compile(code[1], str(DOCS), "exec"), names)
    assert names["encoder"].name == "my-encoder"
    assert tuple(names["z"].shape) == (2, names["encoder"].dim)
