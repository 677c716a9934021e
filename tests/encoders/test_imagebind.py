"""ImageBind without its weights: names and shapes of the official file, small towers, gradients, files that are
refused.
"""

import hashlib

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812

from ironbind.encoders import load_encoder
from ironbind.encoders.imagebind.inputs import ImageBindInputs, log_mel_clips
from ironbind.encoders.imagebind.model import HUGE, TOWER_OF, ImageBindModel, TowerSize, official_name
from ironbind.encoders.shared import checkpoint
from ironbind.types import Audio, Depth, Encoder, Image, Imu, InputError, Thermal, Video

SMALL = {name: TowerSize(16, 2, 2, size.scale) for name, size in HUGE.items()}
RNG = np.random.default_rng(0)
FILES = {
    "image": Image(RNG.integers(0, 256, (90, 130, 3), dtype=np.uint8)),
    "video": Video(RNG.integers(0, 256, (20, 60, 80, 3), dtype=np.uint8), 5.0),
    "audio": Audio(RNG.uniform(-0.5, 0.5, (2, 70000)).astype(np.float32), 22050),
    "depth": Depth(RNG.uniform(0, 9, (60, 80)).astype(np.float32)),
    "thermal": Thermal(RNG.uniform(0, 1, (60, 80)).astype(np.float32)),
    "imu": Imu(RNG.normal(size=(6, 900)).astype(np.float32), 100.0),
}


def small(modalities=None, **options):
    return load_encoder("imagebind-huge", weights="random", modalities=modalities, sizes=SMALL, **options)


def manifest(model, name) -> str:
    lines = sorted(f"{official} {list(shape)}" for official, shape in checkpoint.shapes(model, name).items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def test_the_official_file_name_by_name():
    """SHA-256 (16 digits) over sorted "name [shape]" lines of the state dict that facebookresearch/ImageBind 53680b02
    saves (1311 entries).
    """
    with torch.device("meta"):
        model = ImageBindModel()
    assert len(checkpoint.shapes(model, official_name)) == len(model.state_dict()) == 1311
    assert manifest(model, official_name) == "ab93c774127ec561"
    assert sum(one.numel() for one in model.parameters()) == 1_200_781_057


def test_epsilons_and_extra_keys():
    """Too small to show in small towers, large enough to change the real ones (1e-5 of the embedding and more)."""
    for name, tower in small().model.towers.items():
        epsilons = {
            part: module.eps for part, module in tower.named_modules() if isinstance(module, torch.nn.LayerNorm)
        }
        assert epsilons.pop("stem.norm", 1e-5) == 1e-5
        assert set(epsilons.values()) == {1e-6}
        assert ("trunk.blocks.1.attn.bias_k" in tower.state_dict()) == (name not in ("vision", "text"))
        assert tower.trunk.blocks[0].mlp.activation is F.gelu


def test_every_modality_from_decoded_file_to_unit_row():
    encoder = small()
    assert isinstance(encoder, Encoder)
    assert set(encoder.inputs) == set(TOWER_OF) - {"text"}
    for modality, spec in encoder.inputs.items():
        native = spec.prepare(FILES[modality])
        assert native.shape == spec.shape
        assert native.dtype == torch.float32
        for name, space in spec.spaces.items():
            x = spec.convert(torch.stack([native, native * 0.9]), name)
            assert x.shape[1:] == spec.shape_in(name)
            assert space.low is None or x.min() >= space.low
            assert space.high is None or x.max() <= space.high
            z = encoder.embed(modality, x, space=name)
            assert z.shape == (2, encoder.dim)
            torch.testing.assert_close(z.norm(dim=-1), torch.ones(2))
            torch.testing.assert_close(
                z, encoder.embed(modality, spec.convert(torch.stack([native, native * 0.9]), spec.space.name))
            )
    assert encoder.embed_text(["a dog", "a cat"]).shape == (2, 1024)


@pytest.mark.parametrize(
    ("modality", "scale"), [("image", 1), ("audio", 20), ("depth", 5), ("thermal", 10), ("imu", 5)]
)
def test_the_network_itself_keeps_the_official_scale(modality, scale):
    encoder = small([modality])
    x = encoder.inputs[modality].prepare(FILES[modality])[None]
    found = encoder.model(modality, encoder._converters[modality, encoder.inputs[modality].space.name](x))
    torch.testing.assert_close(found.norm(), torch.tensor(float(scale)))


def test_scales_stop_at_100():
    model = small(["audio"]).model
    model.towers["audio"].log_logit_scale.fill_(10.0)
    torch.testing.assert_close(model("audio", torch.randn(1, 1, 128, 204)).norm(), torch.tensor(100.0))


def test_clips_are_averaged_after_scaling():
    model = small(["audio", "video"]).model
    x = torch.randn(2, 3, 1, 128, 204, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model("audio", x), torch.stack([model("audio", x[:, i]) for i in range(3)]).mean(0))
    assert (model("audio", x).norm(dim=-1) < 20).all()
    frames = torch.randn(2, 2, 3, 2, 224, 224, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        model("video", frames)[0], torch.stack([model("video", frames[:1, i : i + 1])[0] for i in range(2)]).mean(0)
    )


def test_an_image_is_a_video_that_stands_still():
    model = small(["image"]).model
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(model("image", x), model("video", torch.stack([x, x], dim=2)[:, None]))


def test_other_square_sizes_get_resized_positions():
    tower = small(["image"]).model.towers["vision"]
    assert tower._position(257) is tower.position
    found = tower._position(1 + 20 * 20)
    assert found.shape == (1, 401, 16)
    assert torch.equal(found[:, 0], tower.position[:, 0])
    for length in (1 + 20 * 21, 1 + 512):
        with pytest.raises(ValueError, match="another square number"):
            tower._position(length)


def test_imu_tokens_hold_eight_steps_channel_by_channel():
    tower = small(["imu"]).model.towers["imu"]
    x = torch.zeros(1, 6, 2000)
    x[0, 4, 8 * 7 + 3] = 1.0
    raw = x.unflatten(-1, (-1, 8)).transpose(1, 2).flatten(2)
    assert raw[0, 7, 4 * 8 + 3] == 1
    expected = F.layer_norm(
        tower.stem.proj.weight[:, 4 * 8 + 3], (16,), tower.stem.norm.weight, tower.stem.norm.bias, 1e-5
    )
    torch.testing.assert_close(tower.stem(x)[0, 7], expected)


def test_text_is_read_at_its_first_end_token():
    encoder = small(["text"])
    ids = torch.zeros(1, 77, dtype=torch.int64)
    ids[0, :4] = torch.tensor([49406, 320, 1929, 49407])
    changed = ids.clone()
    changed[0, 5:] = 49407
    torch.testing.assert_close(encoder.model("text", ids), encoder.model("text", changed))
    changed[0, 2] = 1930
    assert (encoder.model("text", ids) - encoder.model("text", changed)).abs().max() > 1e-6
    torch.testing.assert_close(encoder.embed_text(["x"] * 70 + ["a dog"])[-1:], encoder.embed_text(["a dog"]))


def test_audio_clips():
    """Written out: overlapping clips see the means already taken off; the filter banks read channel 0; zeros pad before
    normalising.
    """
    waveform = torch.from_numpy(RNG.normal(size=(1, 2, 48000))).float() * 0.1 + 0.3  # 3 s: clips at 0, 8000, 16000
    from ironbind.encoders.shared.fbank import fbank

    left, expected = waveform.clone(), []
    for start in (0, 8000, 16000):
        left[0, :, start : start + 32000] -= left[0, :, start : start + 32000].mean()
        mel = fbank(left[0, 0, start : start + 32000]).T
        expected.append((torch.cat([mel, torch.zeros(128, 6)], dim=1) + 4.268) / 9.138)
    torch.testing.assert_close(log_mel_clips(waveform, 3)[0], torch.stack(expected))
    other = waveform.clone()
    other[:, 1] += torch.linspace(-0.1, 0.1, 48000)
    torch.testing.assert_close(log_mel_clips(other, 1), log_mel_clips(waveform, 1), atol=1e-4, rtol=0)
    assert log_mel_clips(waveform[..., :8000], 1).shape == (1, 1, 128, 204)


def test_a_short_recording_is_filled_up_and_a_long_one_gives_its_middle():
    inputs = ImageBindInputs()
    short = inputs.prepare_audio(Audio(np.full((1, 100), 0.5, np.float32), 16000))
    assert short.shape == (1, 32000)
    assert short[0, 99] == 0.5
    assert (short[0, 100:] == 0).all()
    ramp = np.linspace(-1, 1, 80000, dtype=np.float32)[None]
    assert torch.equal(inputs.prepare_audio(Audio(ramp, 16000))[0], torch.from_numpy(ramp[0, 24000:56000]))
    assert ImageBindInputs(audio_seconds=5, audio_clips=3).prepare_audio(Audio(ramp, 16000)).shape == (1, 80000)


def test_an_upright_video_is_a_lying_one_turned():
    frames = RNG.integers(0, 256, (30, 60, 90, 3), dtype=np.uint8)
    for official in (False, True):
        inputs = ImageBindInputs(official_video=official)
        lying, upright = (
            inputs.prepare_video(Video(frames, 5.0)),
            inputs.prepare_video(Video(frames.swapaxes(1, 2), 5.0)),
        )
        assert lying.shape == inputs.specs()["video"].shape
        torch.testing.assert_close(upright, lying.transpose(-1, -2), atol=1e-6, rtol=0)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_a_video_of_a_few_frames_shows_its_first_and_last(count):
    frames = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None, None], (count, 224, 224, 3))
    found = ImageBindInputs().prepare_video(Video(frames, 10.0))
    assert found[:, 0, 0, 0].mul(255).round().tolist() == [0, count - 1]
    with pytest.raises(InputError, match="video of 0 frames"):
        ImageBindInputs().prepare_video(Video(frames[:0], 10.0))


def test_thermal_files_of_8_bits_and_finer():
    """8 bits go through 8-bit resizing (one level of rounding); finer ones keep values that 8 bits cannot hold."""
    prepare, levels = (
        ImageBindInputs().specs()["thermal"].prepare,
        RNG.integers(80, 176, (90, 120)),
    )  # no overshoot to clip
    eight = prepare(Thermal((levels / 255).astype(np.float32))) * 255
    assert torch.equal(eight, eight.round())
    low = prepare(Thermal((levels / 255 / 300).astype(np.float32)))
    assert 0 < low.max() < 1 / 255
    assert len(low.unique()) > 1000
    torch.testing.assert_close(low * 300 * 255, eight, atol=1.6, rtol=0)


def test_depth_becomes_disparity():
    inputs = ImageBindInputs(focal=500.0, baseline=0.1, disparity_unit=100.0)
    near, far, hole = (
        inputs.prepare_depth(Depth(np.full((224, 224), metres, np.float32))) for metres in (2.0, 10.0, 0.0)
    )
    torch.testing.assert_close(near, torch.full((1, 224, 224), 500 * 0.1 / 2 / 100))
    torch.testing.assert_close(far, torch.full((1, 224, 224), 500 * 0.1 / 10 / 100))
    assert (hole == 1).all()


def test_normalisation_happens_behind_the_native_units():
    convert = ImageBindInputs().converters()
    torch.testing.assert_close(
        convert["depth", "disparity"](torch.tensor([0.0418, 0.0713])), torch.tensor([0.0, 1.0]), atol=1e-5, rtol=0
    )
    assert convert["thermal", "pixels"](torch.tensor([0.0, 0.5, 1.0])).tolist() == [-1, 0, 1]
    assert ImageBindInputs(thermal_scaled=False).thermal(torch.tensor([0.25])).tolist() == [0.25]
    grey = torch.full((1, 3, 2, 2), 0.5)
    torch.testing.assert_close(
        convert["image", "pixels"](grey)[0, :, 0, 0], torch.tensor([0.06903, 0.16139, 0.33284]), atol=1e-4, rtol=0
    )
    frames = torch.rand(1, 30, 3, 4, 4)
    assert torch.equal(convert["video", "pixels"](frames)[0, 7, :, 1], convert["image", "pixels"](frames[:, 15])[0])


def test_the_imu_gives_its_middle_five_seconds():
    steps = np.arange(3000, dtype=np.float32)
    native = ImageBindInputs().prepare_imu(Imu(np.tile(steps, (6, 1)), 200.0))  # 15 s
    torch.testing.assert_close(native[0], torch.arange(2000) / 2 + (2999 - 1000) / 2, atol=1e-3, rtol=0)


@pytest.mark.parametrize("modality", list(FILES))
def test_gradient_reaches_the_raw_input(modality):
    """Along a random direction, against central differences in float64, in every space."""
    encoder = small([modality])
    encoder.model.double()
    spec = encoder.inputs[modality]
    native = spec.prepare(FILES[modality])[None].double()
    for space in spec.spaces:
        x = spec.convert(native, space).detach().requires_grad_()
        generator = torch.Generator().manual_seed(0)
        direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        target = torch.randn(1024, generator=generator, dtype=torch.float64)

        def score(x, space=space, target=target):
            return (encoder.embed(modality, x, space=space) @ target).sum()

        (gradient,) = torch.autograd.grad(score(x), x)
        step = 1e-6
        with torch.no_grad():
            numeric = (score(x + step * direction) - score(x - step * direction)) / (2 * step)
        torch.testing.assert_close((gradient * direction).sum(), numeric, rtol=1e-5, atol=1e-8)
        assert numeric.abs() > 1e-6, "a test that sees nothing"


def test_precision_and_checkpointing_change_little_and_nothing():
    x = small(["image"]).inputs["image"].prepare(FILES["image"])[None]
    exact, low = small(["image"]), small(["image"], dtype=torch.bfloat16)
    assert low.model.towers["vision"].trunk.precision == torch.bfloat16
    assert low.model.towers["vision"].stem.proj.weight.dtype == torch.float32
    cosine = (exact.embed("image", x) * low.embed("image", x)).sum()
    assert 0.999 < cosine < 1 - 1e-7

    def gradient(encoder):
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(encoder.embed("image", leaf)[0, 0], leaf)[0]

    assert torch.equal(gradient(exact), gradient(small(["image"], checkpointing=True)))


# -------------------------------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory):
    model = small().model
    state = {official_name(name): value.clone() for name, value in model.state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "imagebind_huge.pth"
    torch.save(state, path)
    return path, state


def test_one_tower_of_a_file(whole_file):
    path, _ = whole_file
    encoder = load_encoder("imagebind-huge", weights=path, modalities="audio", sizes=SMALL)
    assert set(encoder.model.towers) == {"audio"}
    assert encoder.weights_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    x = encoder.inputs["audio"].prepare(FILES["audio"])[None]
    assert torch.equal(encoder.embed("audio", x), small().embed("audio", x))
    with pytest.raises(InputError, match="'image' is not loaded in imagebind-huge; expected one of audio"):
        encoder.embed("image", x)
    with pytest.raises(InputError, match="'text' is not loaded"):
        encoder.embed_text(["x"])
    with pytest.raises(InputError, match="space 'pixels' does not exist for audio; expected one of waveform, logmel"):
        encoder.embed("audio", x, space="pixels")


@pytest.mark.parametrize("lost", ["modality_heads.imu.3.weight", "modality_trunks.vision.blocks.1.attn.in_proj_bias"])
def test_a_wrong_file_is_refused_even_where_the_tower_is_not_asked_for(whole_file, tmp_path, lost):
    _, state = whole_file
    path = tmp_path / "other.pth"
    torch.save({("visual.proj" if name == lost else name): value for name, value in state.items()}, path)
    with pytest.raises(InputError) as refusal:
        load_encoder("imagebind-huge", weights=path, modalities="audio", sizes=SMALL)
    assert (
        f"1 missing, first {lost!r}; 1 unexpected, first 'visual.proj'; expected imagebind_huge.pth from https://"
        in str(refusal.value)
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": None}, "needs its official file; get imagebind_huge.pth"),
        (
            {"weights": "random", "modalities": ["smell"]},
            "'smell' does not exist for this encoder; expected one of image",
        ),
        ({"weights": "random", "modalities": [], "dtype": torch.int8}, "dtype torch.int8; expected one of"),
        ({"weights": "random", "modalities": [], "audio_seconds": 0.01}, "shorter than one frame"),
        ({"weights": "random", "modalities": [], "audio_clips": 0}, "audio_clips=0; expected 1"),
    ],
)
def test_options_that_make_no_sense(options, words):
    with pytest.raises(InputError, match=words):
        load_encoder("imagebind-huge", **options)
