"""Adapters: the identity at birth in every port, in a copy that shares the backbone's tensors and leaves them alone;
and how few they are.
"""

import copy
from dataclasses import replace
from functools import cache, partial

import pytest
import torch
from torch import nn

from ironbind.calibration.adapters import Adapted, Adapters, Affine, share, tower_parameters
from ironbind.calibration.calibrated import Calibrated
from ironbind.calibration.low_rank import CoreUpdate, LowRank
from ironbind.calibration.purifiers import Cloud, purifier_for
from ironbind.encoders import load_encoder
from ironbind.encoders.bfloat16 import in_bfloat16
from ironbind.encoders.from_callable import from_callable
from ironbind.encoders.languagebind import encoder as languagebind
from ironbind.modalities.spaces import PIXELS, UNIT_SPHERE, WAVEFORM
from ironbind.numerics.networks import frozen, modules_of, parameter_count, sharing_copy
from ironbind.types import AdapterShape, InputError
from small_towers import LEVELS, SIZES, VARIANTS
from toys import Conv, Linear, Transformer, state_hash

SHAPE = AdapterShape(rank=2, norms=True, purifier=4)


def language_bind():
    return languagebind.assemble(
        "small", dict.fromkeys(VARIANTS, "random"), ("image", "video", "text"), variants=VARIANTS
    )


TINY = cache(partial(load_encoder, "tiny"))  # nothing below may change it
CASES = {
    "tiny image": (TINY, "image", None),
    "tiny video": (TINY, "video", None),
    "tiny waveform": (TINY, "audio", "waveform"),
    "tiny logmel": (TINY, "audio", "logmel"),
    "tiny point": (TINY, "point", None),
    "tiny thermal": (TINY, "thermal", None),
    "tiny event": (TINY, "event", None),
    "imagebind image": (
        partial(load_encoder, "imagebind-huge", weights="random", modalities=["image"], sizes=SIZES),
        "image",
        None,
    ),
    "imagebind depth": (
        partial(load_encoder, "imagebind-huge", weights="random", modalities=["depth"], sizes=SIZES),
        "depth",
        None,
    ),
    "unibind point": (
        partial(
            load_encoder, "unibind", weights="random", modalities=["point"], sizes=SIZES, levels=LEVELS, points=600
        ),
        "point",
        None,
    ),
    "languagebind video": (language_bind, "video", None),
    "toy convolutions": (Conv, "audio", "waveform"),
    "toy transformer": (Transformer, "image", None),
}


def inputs_of(encoder, modality, space, n=4):
    spec = encoder.inputs[modality]
    where = spec.space_named(space or spec.space.name)
    x = torch.rand((n, *spec.shape_in(where.name)), generator=torch.Generator().manual_seed(0))
    low, high = -0.5 if where.low is None else where.low, 0.5 if where.high is None else where.high
    return low + (high - low) * x


def shaken(adapters, seed=0):
    """Every trained tensor moved a little."""
    generator = torch.Generator().manual_seed(seed)
    for one in adapters.parts.parameters():
        one.data += 0.05 * torch.randn(one.shape, generator=generator)
    return adapters


@pytest.mark.parametrize("case", CASES)
def test_the_identity_at_birth_and_more_than_that_later(case):
    made, modality, space = CASES[case]
    encoder = made()
    before = [state_hash(one) for one in modules_of(encoder)]
    x = inputs_of(encoder, modality, space)
    with torch.no_grad():
        z = encoder.embed(modality, x, space=space)
        adapters = Adapters(encoder, modality, SHAPE)
        # a stem of one channel gets its summed weight in another memory layout, whose kernel differs in the last bit
        assert torch.allclose(adapters.embed(x, space), z, rtol=0, atol=1e-6)
        shaken(adapters)
        assert not torch.allclose(adapters.embed(x, space), z, atol=1e-3)
        assert encoder.embed(modality, x, space=space).equal(z)
    assert [state_hash(one) for one in modules_of(encoder)] == before
    assert len(adapters.parts["low_rank"]) > 1
    assert not any(one.requires_grad for one in adapters.parts.parameters())
    whole = {id(one) for network in modules_of(encoder) for one in (*network.parameters(), *network.buffers())}
    kept = {
        id(one) for network in adapters.networks for name, one in network.named_parameters() if ".part." not in name
    }
    assert kept <= whole, "the copy holds tensors of its own"


@pytest.mark.parametrize("case", ["tiny image", "toy transformer", "unibind point"])
def test_full_fine_tuning_is_of_a_copy(case):
    made, modality, space = CASES[case]
    encoder = made()
    before, x = [state_hash(one) for one in modules_of(encoder)], inputs_of(encoder, modality, space)
    adapters = Adapters(encoder, modality, AdapterShape(0, False, 0, weights=True))
    z = encoder.embed(modality, x, space=space)
    assert adapters.embed(x, space).equal(z)
    assert sum(one.numel() for one in adapters.parts.parameters()) == tower_parameters(encoder, modality)
    shaken(adapters)
    assert not torch.allclose(adapters.embed(x, space), z, atol=1e-3)
    assert [state_hash(one) for one in modules_of(encoder)] == before


def test_a_layer_in_two_places_is_adapted_in_both():
    class Twice(Linear):
        def extra(self):
            self.first = nn.Linear(16, 16)
            self.again = self.first

        def read(self, modality, x, space):
            return self.again(torch.tanh(self.first(super().read(modality, x, space))))

    encoder = Twice()
    adapters = Adapters(encoder, "image", AdapterShape(2, False, 0))
    assert list(adapters.parts["low_rank"]) == ["first"]
    (network,) = adapters.networks
    assert network.first is network.again
    assert encoder.first is encoder.again
    assert isinstance(encoder.first, nn.Linear)


@pytest.mark.parametrize("case", CASES)
def test_every_trained_parameter_takes_a_gradient_and_so_does_the_input(case):
    made, modality, space = CASES[case]
    encoder = made()
    adapters = shaken(Adapters(encoder, modality, SHAPE))
    adapters.parts.requires_grad_(True)
    x = inputs_of(encoder, modality, space).requires_grad_(True)
    z = adapters.embed(x, space)
    (z * torch.randn(z.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert (x.grad.flatten(1).abs().sum(1) > 0).all()
    assert not [name for name, one in adapters.parts.named_parameters() if one.grad is None]


@pytest.mark.parametrize("made", [TINY, Conv])
def test_a_waveform_passes_the_purifier_of_its_front(made):
    encoder = made()
    adapters = shaken(Adapters(encoder, "audio", AdapterShape(0, False, 4)))
    assert set(adapters.parts["purifier"]) == {"logmel"}
    x = 0.1 * inputs_of(encoder, "audio", "waveform")
    mel = encoder.inputs["audio"].convert(x, "logmel")
    through = adapters.embed(x)
    assert torch.allclose(through, adapters.embed(mel, "logmel"), atol=1e-6)
    assert not torch.allclose(through, encoder.embed("audio", x), atol=1e-3)


@pytest.mark.parametrize(
    ("made", "modality", "space"), [(Conv, "image", None), (Transformer, "image", None), (Conv, "audio", "waveform")]
)
def test_the_gradient_is_the_derivative(made, modality, space):
    encoder = made()
    adapters = shaken(Adapters(encoder, modality, SHAPE))
    for one in (encoder, adapters.networks, adapters.parts):
        one.double()
    x = inputs_of(encoder, modality, space, n=1).double().requires_grad_(True)
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weight = torch.randn(encoder.dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)

    def value(at):
        return float((adapters.embed(at, space) @ weight).detach())

    (gradient,) = torch.autograd.grad((adapters.embed(x, space) @ weight).sum(), x)
    step = 1e-6
    finite = (value(x + step * direction) - value(x - step * direction)) / (2 * step)
    assert finite == pytest.approx(float((gradient * direction).sum()), rel=1e-4, abs=1e-8)


def test_layers_are_called_by_their_names_in_the_shared_trunk():
    adapters = Adapters(load_encoder("tiny"), "image", SHAPE)
    trunk = {
        f"model/towers/image/trunk/blocks/{i}/{layer}"
        for i in range(2)
        for layer in ("attn/qkv", "attn/out", "mlp/fc1", "mlp/fc2")
    }
    stem = {f"model/towers/image/stem/convs/{i}" for i in range(4)}
    assert set(adapters.parts["low_rank"]) == trunk | stem | {"model/towers/image/projection"}
    norms = {f"model/towers/image/trunk/blocks/{i}/norm_{k}" for i in range(2) for k in (1, 2)}
    assert set(adapters.parts["norms"]) == norms | {"model/towers/image/norm"}
    assert set(adapters.parts["purifier"]) == {"pixels"}


LAYERS = {
    "Linear": nn.Linear(20, 30),
    "1-D": nn.Conv1d(4, 6, 5, 2, 2, bias=False),
    "dilated": nn.Conv2d(4, 6, 3, 2, 1, 2),
    "reflecting": nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    "3-D": nn.Conv3d(4, 6, (1, 3, 2), (1, 2, 2)),
    "grouped": nn.Conv2d(4, 8, 3, groups=4),
}


@pytest.mark.parametrize("form", [LowRank, CoreUpdate])
@pytest.mark.parametrize("rank", [1, 3, 50])
@pytest.mark.parametrize("name", LAYERS)
def test_a_low_rank_update_is_a_second_layer_beside(name, rank, form):
    layer = LAYERS[name]
    part = form(layer.weight, rank)
    assert not part().any()
    assert sum(one.numel() for one in part.parameters()) <= layer.weight.numel()
    torch.manual_seed(rank)
    for one in part.parameters():
        nn.init.normal_(one)
    assert torch.linalg.matrix_rank(part().flatten(1)) <= rank
    up, down = part.factors()
    assert torch.allclose((up @ down).reshape(layer.weight.shape), part(), atol=1e-6)
    beside = copy.deepcopy(layer)
    with torch.no_grad():
        beside.weight.copy_(part())
        if beside.bias is not None:
            beside.bias.zero_()
    x = torch.randn(2, 7, 20) if name == "Linear" else torch.randn(2, 4, *[12] * (layer.weight.ndim - 2))
    assert torch.allclose(Adapted(layer, part)(x), layer(x) + beside(x), atol=1e-4)
    if name == "Linear":
        assert torch.allclose(part.beside(x), beside(x), atol=1e-4)
    elif rank == 1 and name != "grouped" and form is LowRank:  # as two convolutions
        geometry = {
            key: getattr(layer, key) for key in ("kernel_size", "stride", "padding", "dilation", "padding_mode")
        }
        down, up = type(layer)(4, 1, bias=False, **geometry), type(layer)(1, layer.out_channels, 1, bias=False)
        with torch.no_grad():
            down.weight.copy_(part.down.reshape(down.weight.shape))
            up.weight.copy_(part.up.reshape(up.weight.shape))
        assert torch.allclose(up(down(x)), beside(x), atol=1e-4)


def test_a_core_lies_between_the_leading_singular_vectors_of_its_weight():
    torch.manual_seed(0)
    left, right = torch.linalg.qr(torch.randn(30, 8))[0], torch.linalg.qr(torch.randn(20, 8))[0]
    scales = torch.tensor([8.0, 7, 6, 5, 4, 3, 2, 1])
    layer = nn.Linear(20, 30)
    with torch.no_grad():
        layer.weight.copy_(left * scales @ right.T)
    part = CoreUpdate(layer.weight, 3)
    assert sum(one.numel() for one in part.parameters()) == 9
    with torch.no_grad():  # the core that takes away what these directions carry leaves the others
        part.core.copy_(-torch.diag(scales[:3]))
        rest = left[:, 3:] * scales[3:] @ right[:, 3:].T
        assert torch.allclose(layer.weight + part(), rest, atol=2e-2)  # float16's digits
        assert part.left.equal(part.left.half().float())
        wider = CoreUpdate(layer.weight, 6)
        wider.take(part)
        assert torch.allclose(wider(), part(), atol=1e-6)
        assert sum(one.numel() for one in wider.parameters()) == 36
    assert CoreUpdate(layer.weight, 50).core.shape == (20, 20)


def test_an_adapted_layer_answers_for_its_layer():
    layer = nn.Linear(20, 30)
    adapted = Adapted(layer, LowRank(layer.weight, 2))
    assert adapted.weight is layer.weight
    assert adapted.in_features == 20
    assert next(adapted.parameters()) is layer.weight
    with pytest.raises(AttributeError):
        adapted.colour  # noqa: B018


def test_a_layer_that_uses_its_weight_in_another_way_is_left_alone():
    class Scaled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    class Other(Linear):
        def extra(self):
            self.first, self.second = Scaled(16, 16), nn.Linear(16, 16)

        def read(self, modality, x, space):
            return self.second(self.first(super().read(modality, x, space)))

    assert list(Adapters(Other(), "image", SHAPE).parts["low_rank"]) == ["second"]


@pytest.mark.parametrize(
    "norm", [nn.LayerNorm((4, 5)), nn.LayerNorm(5), nn.GroupNorm(2, 4), nn.BatchNorm1d(4).eval()], ids=str
)
def test_gain_and_shift_act_where_the_norms_own_do(norm):
    x = torch.randn(3, 4, 5)
    y = norm(x)
    part = Affine(norm)
    assert part(y).equal(y)
    torch.manual_seed(0)
    nn.init.normal_(part.gain)
    nn.init.normal_(part.shift)
    merged = copy.deepcopy(norm)
    with torch.no_grad():
        merged.weight.copy_(part.gain)
        merged.bias.copy_(part.shift)
    assert torch.allclose(part(y), merged(x), atol=1e-6)  # gain and shift of the fresh norm are 1 and 0


# ---------------------------------------------------------------------------------------------------------- purifiers


@pytest.mark.parametrize(
    ("space", "shape"),
    [(PIXELS, (3, 9, 7)), (PIXELS, (4, 3, 8, 8)), (WAVEFORM, (1, 200)), (UNIT_SPHERE, (40, 3)), (PIXELS, (1, 6, 6))],
    ids=str,
)
def test_purifiers_keep_the_shape_and_are_born_silent(space, shape):
    x = torch.rand(2, *shape)
    purifier = purifier_for(space, shape, 4)
    assert purifier(x).equal(x)
    for one in purifier.parameters():
        nn.init.normal_(one, std=0.05)
    assert purifier(x).shape == x.shape
    assert not purifier(x).equal(x)
    assert torch.allclose(purifier(x[:1]), purifier(x)[:1], atol=1e-5)


def test_a_clip_is_seen_whole_and_the_clips_of_a_sound_one_by_one():
    mel = replace(PIXELS, element_axes=())
    assert purifier_for(PIXELS, (4, 3, 8, 8), 5).net.channels == 12
    assert purifier_for(mel, (3, 16, 10), 5).net.channels == 1


def test_an_attackers_change_is_seen_at_the_size_of_an_edge():
    purifier = purifier_for(PIXELS, (1, 9, 9), 1)
    seen = []
    purifier.net.first.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    x = torch.full((1, 1, 9, 9), 0.5)
    purifier(x)
    x[0, 0, 4, 4] += 8 / 255
    purifier(x)
    flat, changed = seen
    assert not flat[:, 1].any()  # nothing differs from its surroundings, at the border neither
    assert float(changed[0, 1, 4, 4]) == pytest.approx(16 * 2 * 8 / 255 * 8 / 9, rel=1e-4)


def test_clouds_do_not_feel_the_order_of_their_points():
    torch.manual_seed(0)
    purifier = purifier_for(UNIT_SPHERE, (50, 3), 6)
    for one in purifier.parameters():
        nn.init.normal_(one, std=0.3)
    x = torch.rand(2, 50, 3) * 2 - 1
    order = torch.randperm(50)
    assert torch.allclose(purifier(x)[:, order], purifier(x[:, order]), atol=1e-5)


def test_large_clouds_are_taken_in_slices(monkeypatch):
    from ironbind.calibration import purifiers

    torch.manual_seed(0)
    cloud = Cloud(3, 6, neighbours=4)
    nn.init.normal_(cloud.shift.weight)
    x = torch.rand(2, 30, 3)
    whole = cloud(x)
    monkeypatch.setattr(purifiers, "MOST_POINTS", 7)
    assert torch.allclose(cloud(x), whole, atol=1e-6)


# ------------------------------------------------------------------------------------------------- copies and counting


def test_a_sharing_copy_follows_the_weights_and_not_the_modules():
    encoder = Transformer()
    made = sharing_copy(encoder)
    x = inputs_of(encoder, "image", None)
    assert made.embed("image", x).equal(encoder.embed("image", x))
    encoder.train()
    assert not any(one.training for one in made.modules())
    made.head = nn.Identity()
    assert isinstance(encoder.head, nn.Linear)
    with torch.no_grad():
        encoder.stem.weight.mul_(2)
    assert made.stem.weight is encoder.stem.weight


def test_modalities_on_one_tower_have_adapters_of_their_own():
    encoder = load_encoder("unibind", weights="random", modalities=["image", "event"], sizes=SIZES)
    both = {one: Adapters(encoder, one, SHAPE) for one in ("image", "event")}
    hard = Calibrated(encoder, {}, "mine", None, adapters=both)
    x = inputs_of(encoder, "image", None)
    z = encoder.embed("image", x)
    shaken(both["image"])
    assert not hard.embed("image", x).equal(z)
    event = inputs_of(encoder, "event", None)
    assert hard.embed("event", event).equal(encoder.embed("event", event))
    assert hard.modalities == ("image", "event")


def test_frozen_counted_and_halved_with_the_rest():
    encoder = Transformer()
    hard = Calibrated(encoder, {}, "mine", None, adapters={"image": shaken(Adapters(encoder, "image", SHAPE))})
    assert parameter_count(hard) == parameter_count(encoder) + hard.trainable()
    hard.parts.requires_grad_(True)
    with frozen(hard):
        assert not any(one.requires_grad for module in modules_of(hard) for one in module.parameters())
    assert all(one.requires_grad for one in hard.parts.parameters())
    x = inputs_of(encoder, "image", None)
    half = in_bfloat16(hard)
    z, z_half = hard.embed("image", x), half.embed("image", x)
    assert not z_half.equal(z)
    assert nn.functional.cosine_similarity(z, z_half).min() > 0.999
    assert hard.to("cpu") is hard


def test_checkpointed_trunks_give_the_same_gradients():
    def gradients(checkpointing):
        encoder = load_encoder(
            "imagebind-huge", weights="random", modalities=["image"], sizes=SIZES, checkpointing=checkpointing
        )
        adapters = shaken(Adapters(encoder, "image", SHAPE))
        adapters.parts.requires_grad_(True)
        adapters.embed(inputs_of(encoder, "image", None))[:, 0].sum().backward()
        return [one.grad for one in adapters.parts.parameters()]

    for plain, again in zip(gradients(False), gradients(True), strict=True):
        assert torch.allclose(plain, again, atol=1e-7)


def test_a_trunk_in_bfloat16_keeps_its_precision_under_adapters():
    encoder = load_encoder("imagebind-huge", weights="random", modalities=["image"], sizes=SIZES, dtype=torch.bfloat16)
    adapters = Adapters(encoder, "image", SHAPE)
    x = inputs_of(encoder, "image", None)
    assert adapters.embed(x).equal(encoder.embed("image", x))
    assert {one.dtype for one in adapters.parts.parameters()} == {torch.float32}


def test_shares_are_counted_by_hand():
    counted = share(Transformer(), "image", AdapterShape(rank=2, norms=True, purifier=0))
    blocks = 2 * (2 * (16 + 48) + 2 * (16 + 16) + 2 * 2 * (16 + 64) + 2 * 2 * 16)  # qkv, out, fc1 and fc2, two norms
    assert counted.trained == blocks + 2 * (3 * 4 + 16) + 2 * (16 + 16)  # and the stem's convolution, the head
    assert counted.encoder == parameter_count(Transformer())
    tiny = load_encoder("tiny")
    assert {one: tower_parameters(tiny, one) for one in tiny.inputs} == {
        one: tiny.parameters_per_modality[one] for one in tiny.inputs
    }
    assert "% of the tower's 316,992" in str(share(tiny, "image", SHAPE))


def test_shares_can_be_counted_without_weights():
    with torch.device("meta"):
        from ironbind.encoders.imagebind.model import ImageBindModel

        model = ImageBindModel(["image"], SIZES)
    real = load_encoder("imagebind-huge", weights="random", modalities=["image"], sizes=SIZES)
    real_counted = share(real, "image", SHAPE)
    real.model = model
    assert share(real, "image", SHAPE) == real_counted


# -------------------------------------------------------------------------------------------------------- refusals


def test_what_cannot_be_adapted_is_one_line():
    elsewhere = Transformer()
    hidden = from_callable(
        "mine",
        {"image": lambda x: _REACHED.read("image", x, None)},
        inputs={"image": elsewhere.inputs["image"]},
        model=elsewhere,
    )
    bad = {
        "no layer that adapters could attach to": lambda: Adapters(Linear(), "image", SHAPE),
        "'mine' embeds image through no layer": lambda: Adapters(hidden, "image", SHAPE),
        "does not take modality 'point'": lambda: Adapters(Linear(), "point", SHAPE),
        "rank -1 and purifier 16 cannot be built": lambda: AdapterShape(-1),
    }
    for message, wrong in bad.items():
        with pytest.raises(InputError, match=message) as caught:
            wrong()
        assert "\n" not in str(caught.value)


_REACHED = Transformer()


def test_an_encoder_that_cannot_be_copied_is_one_line():
    import threading

    encoder = Transformer()
    encoder.lock = threading.Lock()
    with pytest.raises(InputError, match="'transformer' holds something that cannot be copied"):
        Adapters(encoder, "image", SHAPE)
