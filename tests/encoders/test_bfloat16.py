"""The bfloat16 copy: near the original in embeddings and gradients, sharing nothing with it, for every port that has a
trunk.
"""

from functools import partial

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ironbind.calibration.calibrated import Calibrated
from ironbind.encoders import load_encoder
from ironbind.encoders.bfloat16 import in_bfloat16, products
from ironbind.encoders.from_callable import from_callable
from ironbind.encoders.languagebind import encoder as languagebind
from ironbind.encoders.shared.trunk import Trunk, causal_mask
from ironbind.numerics.networks import modules_of
from ironbind.types import Encoder, InputError
from small_towers import LEVELS, SIZES, VARIANTS
from toys import Conv, Transformer, state_hash


def language_bind():
    return languagebind.assemble(
        "small", dict.fromkeys(VARIANTS, "random"), ("image", "video", "text"), variants=VARIANTS
    )


CASES = {
    "tiny image": (partial(load_encoder, "tiny"), "image", None),
    "tiny point": (partial(load_encoder, "tiny"), "point", None),
    "tiny logmel": (partial(load_encoder, "tiny"), "audio", "logmel"),
    "imagebind": (
        partial(load_encoder, "imagebind-huge", weights="random", modalities=["depth"], sizes=SIZES),
        "depth",
        None,
    ),
    "unibind": (
        partial(
            load_encoder, "unibind", weights="random", modalities=["point"], sizes=SIZES, levels=LEVELS, points=600
        ),
        "point",
        None,
    ),
    "languagebind": (language_bind, "video", None),
    "calibrated": (
        lambda: Calibrated(Transformer(), {"image": torch.nn.Linear(16, 16)}, "mine", "linear"),
        "image",
        None,
    ),
    "calibrated closure": (lambda: Calibrated(language_bind(), {}, "mine", "linear"), "image", None),
}


def inputs_of(encoder, modality, space):
    spec = encoder.inputs[modality]
    where = spec.space_named(space or spec.space.name)
    x = torch.rand((4, *spec.shape_in(where.name)), generator=torch.Generator().manual_seed(0))
    low, high = -0.5 if where.low is None else where.low, 0.5 if where.high is None else where.high
    return low + (high - low) * x


def answer(encoder, modality, x, space):
    """Embeddings, and the gradient of a fixed functional of them."""
    at = x.clone().requires_grad_(True)
    z = encoder.embed(modality, at, space=space)
    weight = torch.randn(z.shape, generator=torch.Generator().manual_seed(1))
    return z.detach(), torch.autograd.grad((z * weight).sum(), at)[0]


@pytest.mark.parametrize("case", CASES)
def test_near_the_original_and_apart_from_it(case):
    made, modality, space = CASES[case]
    encoder = made()
    before = [state_hash(one) for one in modules_of(encoder)]
    half = in_bfloat16(encoder)
    x = inputs_of(encoder, modality, space)
    (z, gradient), (z_half, gradient_half) = answer(encoder, modality, x, space), answer(half, modality, x, space)
    assert z_half.dtype == gradient_half.dtype == torch.float32
    assert not z_half.equal(z), "nothing was rounded: the trunk did not run in bfloat16"
    assert F.cosine_similarity(z, z_half).min() > 0.9999
    alike = F.cosine_similarity(gradient.flatten(1), gradient_half.flatten(1))
    if case == "unibind":  # its maxima over tokens have kinks: where two tokens nearly tie, rounding picks the other
        assert alike.median() > 0.9
    else:
        assert alike.min() > 0.99

    assert isinstance(half, Encoder)
    assert half.weights_sha256 != encoder.weights_sha256
    assert half.name == f"{encoder.name}-bf16"
    with torch.no_grad():
        for parameter in half.model.parameters():
            parameter.zero_()
    assert [state_hash(one) for one in modules_of(encoder)] == before
    assert answer(encoder, modality, x, space)[0].equal(z)
    assert not answer(half, modality, x, space)[0].equal(z_half), "the copy's functions run on the copy's weights"


def test_every_trunk_and_nothing_else_is_halved():
    half = in_bfloat16(load_encoder("tiny"))
    inside = {id(one) for part in half.model.modules() if isinstance(part, Trunk) for one in part.parameters()}
    kinds = {(id(one) in inside, one.dtype) for one in half.model.parameters()}
    assert kinds == {(True, torch.bfloat16), (False, torch.float32)}
    assert not any(one.requires_grad for one in half.model.parameters())


def test_texts_too():
    encoder = load_encoder("tiny")
    words = ["a red ball", "a photo of a chair"]
    assert F.cosine_similarity(encoder.embed_text(words), in_bfloat16(encoder).embed_text(words)).min() > 0.999


def test_rows_do_not_feel_their_neighbours():
    half = in_bfloat16(load_encoder("tiny"))
    x = inputs_of(half, "image", None).repeat(3, 1, 1, 1)
    whole = half.embed("image", x)
    assert torch.cat([half.embed("image", some) for some in x.split(4)]).equal(whole)


@pytest.mark.parametrize("mask", [None, causal_mask(7)], ids=["all", "causal"])
def test_products_are_attention(mask):
    query, key, value = (
        torch.randn(2, 3, 7, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(i)) for i in range(3)
    )
    mask = None if mask is None else mask.double()
    torch.testing.assert_close(
        products(query, key, value, mask), F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    )


def test_refused():
    with pytest.raises(InputError, match="'conv' holds no trunk"):
        in_bfloat16(Conv())
    already = Transformer()
    already.trunk.to(torch.bfloat16)
    with pytest.raises(InputError, match=r"holds a trunk in torch\.bfloat16; expected float32"):
        in_bfloat16(already)


elsewhere = Transformer()


def test_a_network_in_a_global_variable_is_refused():
    """Its function would go on running in float32 while claiming otherwise."""
    spec = {"image": elsewhere.inputs["image"]}

    def hidden(x):
        return elsewhere.read("image", x, None)

    with pytest.raises(InputError, match="its function for image holds no trunk that can be copied"):
        in_bfloat16(from_callable("mine", {"image": hidden}, inputs=spec, model=elsewhere))
    bound = from_callable("mine", {"image": partial(elsewhere.read, "image", space=None)}, inputs=spec, model=elsewhere)
    x = inputs_of(bound, "image", None)
    assert not in_bfloat16(bound).embed("image", x).equal(bound.embed("image", x))
