"""The built-in encoder: its contract, its files, and that the shipped weights reach the figures they ship with."""

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ironbind.encoders import load_encoder
from ironbind.encoders.tiny.encoder import UNKNOWN, WEIGHTS, TinyEncoder, tokenize
from ironbind.encoders.tiny.model import FRAMES, MEL_FLOOR, POINTS, SAMPLES, SIDE
from ironbind.types import Audio, Encoder, Events, Image, InputError, Points, Thermal, Video

MODALITIES = ("image", "video", "audio", "point", "thermal", "event")


@pytest.fixture(scope="module")
def encoder() -> TinyEncoder:
    return load_encoder("tiny")


def native(encoder: TinyEncoder, modality: str, n: int, space: str | None = None) -> torch.Tensor:
    spec = encoder.inputs[modality]
    shape = spec.shape if space is None else spec.shape_in(space)
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(5)) * 0.8 + 0.1


def test_is_an_encoder(encoder: TinyEncoder) -> None:
    assert isinstance(encoder, Encoder)
    assert encoder.dim == 128
    assert set(encoder.inputs) == set(MODALITIES)
    assert not encoder.model.training
    assert not any(p.requires_grad for p in encoder.model.parameters())
    assert set(encoder.parameters_per_modality) == {*MODALITIES, "text"}
    assert WEIGHTS.stat().st_size <= 5e6


@pytest.mark.parametrize("modality", MODALITIES)
def test_unit_rows_with_a_gradient(encoder: TinyEncoder, modality: str) -> None:
    x = native(encoder, modality, 4).requires_grad_(True)
    z = encoder.embed(modality, x)
    assert z.shape == (4, 128)
    assert z.dtype == torch.float32
    assert torch.allclose(z.norm(dim=1), torch.ones(4), atol=1e-6)
    (gradient,) = torch.autograd.grad(z[:, 0].sum(), x)
    assert torch.isfinite(gradient).all()
    assert gradient.flatten(1).abs().sum(1).min() > 0


@pytest.mark.bits
@pytest.mark.parametrize(("modality", "space"), [*((one, None) for one in MODALITIES), ("audio", "logmel")])
def test_a_row_does_not_depend_on_its_batch(encoder: TinyEncoder, modality: str, space: str | None) -> None:
    x = native(encoder, modality, 32, space)
    whole = encoder.embed(modality, x, space)
    for size in (8, 16):
        assert all(
            torch.equal(encoder.embed(modality, x[i : i + size], space), whole[i : i + size])
            for i in range(0, 32, size)
        )


def test_the_gradient_is_the_slope(encoder: TinyEncoder) -> None:
    """Finite differences along one direction, in float64, per modality."""
    model = copy.deepcopy(encoder.model).double()
    for modality in MODALITIES:
        x = native(encoder, modality, 4).double().requires_grad_(True)
        way = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 1e-6
        score = lambda at, name=modality: model(name, at)[:, :5].sum()  # noqa: E731
        (gradient,) = torch.autograd.grad(score(x), x)
        with torch.no_grad():
            rise = float(score(x + way) - score(x - way)) / 2
        assert float((gradient * way).sum()) == pytest.approx(rise, rel=2e-2, abs=1e-9), modality


def test_logmel_is_a_door_to_the_same_embedding(encoder: TinyEncoder) -> None:
    spec = encoder.inputs["audio"]
    wav = native(encoder, "audio", 4) - 0.5
    mel = spec.convert(wav, "logmel")
    assert spec.attack_space == "logmel"
    assert tuple(mel.shape[1:]) == spec.shape_in("logmel")
    assert mel.min() >= 0
    assert mel.max() <= 1
    assert torch.equal(encoder.embed("audio", wav), encoder.embed("audio", mel, space="logmel"))
    assert spec.space_named("logmel").describe(4 / 255) == f"{-MEL_FLOOR * 4 / 255:.2f} dB per time-frequency bin"


def test_logmel_levels_are_decibels(encoder: TinyEncoder) -> None:
    t = torch.arange(SAMPLES) / SAMPLES
    full, quiet = (
        encoder.inputs["audio"].convert((level * torch.sin(2 * torch.pi * 1000 * t))[None, None], "logmel")
        for level in (1.0, 0.1)
    )
    loudest = full[0, 0, :, 10].argmax()
    assert full[0, 0, loudest, 10] == pytest.approx(1.0, abs=0.05)
    assert float(full[0, 0, loudest, 10] - quiet[0, 0, loudest, 10]) * -MEL_FLOOR == pytest.approx(20, abs=1.5)


@pytest.mark.parametrize(
    ("modality", "shape", "space", "said"),
    [
        ("depth", (1, 1, 32, 32), None, "modality 'depth'"),
        ("image", (1, 3, 224, 224), None, "image of shape"),
        ("audio", (1, 1, 40, 32), None, "audio of shape"),
        ("audio", (1, 1, 8000), "logmel", "audio of shape"),
        ("image", (1, 3, 32, 32), "logmel", "space 'logmel'"),
    ],
)
def test_what_does_not_fit_is_one_line(
    encoder: TinyEncoder, modality: str, shape: tuple[int, ...], space: str | None, said: str
) -> None:
    with pytest.raises(InputError, match=said) as caught:
        encoder.embed(modality, torch.zeros(shape), space)
    assert "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


def test_words() -> None:
    numbers = tokenize(["A small BALL, upright.", "a zyzzyva", ""])
    assert (numbers[0] > UNKNOWN).sum() == 5
    assert (numbers[1] == UNKNOWN).sum() == 1
    assert not numbers[2].any()
    assert torch.equal(numbers[0], tokenize(["a small ball , upright"])[0])


def test_texts(encoder: TinyEncoder) -> None:
    z = encoder.embed_text(["a ball.", "a cube.", "blorp", ""])
    assert z.shape == (4, 128)
    assert torch.allclose(z.norm(dim=1), torch.ones(4), atol=1e-6)
    assert torch.equal(encoder.embed_text(["a cube."]), z[1:2])


def test_other_peoples_files_are_prepared(encoder: TinyEncoder) -> None:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (90, 120, 3), dtype=np.uint8)
    t = np.sort(rng.random(300)) * 4 + 100
    samples = {
        "image": Image(picture),
        "video": Video(np.stack([picture] * 3), 25.0),
        "audio": Audio(rng.uniform(-1, 1, (2, 44100)).astype(np.float32), 44100),
        "point": Points(rng.normal(5, 30, (2000, 3)).astype(np.float32)),
        "thermal": Thermal(rng.random((64, 80), np.float32)),
        "event": Events(rng.integers(0, 346, 300), rng.integers(0, 260, 300), t, rng.integers(0, 2, 300), 346, 260),
    }
    for modality, decoded in samples.items():
        spec = encoder.inputs[modality]
        x = spec.prepare(decoded)
        assert (tuple(x.shape), x.dtype) == (spec.shape, torch.float32), modality
        assert spec.space.low <= x.min() <= x.max() <= spec.space.high, modality
        assert torch.equal(x, spec.prepare(decoded))


def test_a_world_sized_picture_is_taken_as_it_is(encoder: TinyEncoder) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    assert np.array_equal(
        (encoder.inputs["image"].prepare(Image(picture)) * 255).round().numpy().transpose(1, 2, 0), picture
    )


def test_resampling_keeps_a_tone(encoder: TinyEncoder) -> None:
    def tone(rate: int) -> np.ndarray:
        return (0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.float32)[None]

    prepare = encoder.inputs["audio"].prepare
    for rate in (16000, 44100, 6000):
        there = prepare(Audio(tone(rate), rate))
        assert torch.allclose(there[:, 200:-200], prepare(Audio(tone(8000), 8000))[:, 200:-200], atol=5e-3), rate
    too_high = (0.5 * np.sin(2 * np.pi * 7000 * np.arange(44100) / 44100)).astype(np.float32)[None]
    assert prepare(Audio(too_high, 44100))[:, 200:-200].abs().max() < 0.01  # no alias


def test_short_sounds_and_few_points_are_filled(encoder: TinyEncoder) -> None:
    short = encoder.inputs["audio"].prepare(Audio(np.ones((1, 10), np.float32), 8000))
    assert short.shape == (1, SAMPLES)
    assert float(short.sum()) == 10
    few = encoder.inputs["point"].prepare(Points(np.eye(3, dtype=np.float32)))
    assert few.shape == (POINTS, 3)
    assert len(few.unique(dim=0)) == 3
    assert float(few.norm(dim=1).max()) == pytest.approx(1)
    assert len(encoder.inputs["video"].prepare(Video(np.zeros((1, 8, 8, 3), np.uint8), 1.0))) == FRAMES
    assert not encoder.inputs["event"].prepare(Events(*[np.zeros(0)] * 4, 32, 32)).any()


def test_time_surfaces_are_last_times_and_continuous(encoder: TinyEncoder) -> None:
    at = np.array([0, 1, 1, 2])
    surface = encoder.inputs["event"].prepare(
        Events(at, at, np.array([0.0, 0.3, 0.7, 1.0]), np.array([1, 1, 1, 0]), 32, 32)
    )
    assert surface[1, 1, 1] == pytest.approx(0.7)
    assert surface[0, 2, 2] == 1
    assert surface.count_nonzero() == 2


@pytest.mark.parametrize(
    "decoded",
    [Video(np.zeros((0, 8, 8, 3), np.uint8), 1.0), Audio(np.zeros((1, 0), np.float32), 8000), Points(np.zeros((0, 3)))],
)
def test_nothing_inside_is_one_line(encoder: TinyEncoder, decoded: Video | Audio | Points) -> None:
    modality = {Video: "video", Audio: "audio", Points: "point"}[type(decoded)]
    with pytest.raises(InputError, match="expected at least one"):
        encoder.inputs[modality].prepare(decoded)


# ------------------------------------------------------------------------------------------------------------ files


def test_weights_that_were_changed_are_refused(tmp_path: Path) -> None:
    for suffix in (".safetensors", ".json"):
        shutil.copy(WEIGHTS.with_suffix(suffix), tmp_path / f"mine{suffix}")
    mine = tmp_path / "mine.safetensors"
    assert load_encoder("tiny", weights=mine).weights_sha256 == load_encoder("tiny").weights_sha256
    held = bytearray(mine.read_bytes())
    held[-1] ^= 1
    mine.write_bytes(held)
    with pytest.raises(InputError, match="not the one in mine.json"):
        load_encoder("tiny", weights=mine)


def test_unusable_weights_are_one_line(tmp_path: Path) -> None:
    short = tmp_path / "short.safetensors"
    short.write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(InputError, match="truncated or corrupt"):
        load_encoder("tiny", weights=short)
    with pytest.raises(InputError, match="cannot be read"):
        load_encoder("tiny", weights=tmp_path / "missing.safetensors")
    for content, said in (
        (b"", "an empty file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a git-lfs pointer"),
    ):
        short.write_bytes(content)
        with pytest.raises(InputError, match=said):
            load_encoder("tiny", weights=short)
    short.with_suffix(".json").write_text("{", encoding="utf-8")
    short.write_bytes(WEIGHTS.read_bytes())
    with pytest.raises(InputError, match=r"short\.json cannot be read"):
        load_encoder("tiny", weights=short)
    short.with_suffix(".json").unlink()
    from safetensors.torch import save_file

    save_file({"something": torch.zeros(3)}, short)
    with pytest.raises(InputError, match="do not fit tiny") as caught:
        load_encoder("tiny", weights=short)
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------- the figures of the shipped weights


def top1(encoder: TinyEncoder, modality: str, n: int) -> float:
    from ironbind.data import load_dataset

    world = load_dataset("world", n=n)
    rows = torch.stack(
        [encoder.embed_text([one.format(name) for one in world.templates]).mean(0) for name in world.classes]
    )
    hits = 0
    for begin in range(0, n, 50):
        x = torch.stack(
            [encoder.inputs[modality].prepare(one) for one in world.decode(modality, range(begin, begin + 50))]
        )
        hits += int(
            (
                (encoder.embed(modality, x) @ torch.nn.functional.normalize(rows, dim=1).T).argmax(1).numpy()
                == world.labels[begin : begin + 50]
            ).sum()
        )
    return 100 * hits / n


def published(modality: str) -> dict:
    return json.loads(WEIGHTS.with_suffix(".json").read_text())["results"]["zero_shot"][modality]["test"]


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_small_sample_is_recognised(encoder: TinyEncoder, modality: str) -> None:
    """100 samples: within 12 points of the published figure (three standard errors are 12 at 80 %)."""
    assert top1(encoder, modality, 100) == pytest.approx(published(modality)["top1"], abs=12)


@pytest.mark.slow
@pytest.mark.parametrize("modality", MODALITIES)
def test_published_accuracy_is_recomputed(encoder: TinyEncoder, modality: str) -> None:
    low, high = published(modality)["interval"]
    assert low <= top1(encoder, modality, 1000) <= high
