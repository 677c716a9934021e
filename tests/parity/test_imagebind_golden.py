"""ImageBind and UniBind against the official code's outputs (`extract_imagebind.py` says where they come from).

Tolerance of embeddings: 1e-6 of their norm. That shows a LayerNorm epsilon of the wrong size (1.5e-5), a tanh GELU
(2.1e-5), a missing bias_kv (1.9e-4); looser ones do not. Mel: exact at 16 kHz up to 1e-6. Video pixels were stored in
float16.
"""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from ironbind.encoders import load_encoder
from ironbind.encoders.imagebind.inputs import ImageBindInputs, clip_normalise, log_mel_clips
from ironbind.encoders.shared import resize as preparation
from ironbind.encoders.shared.clip_tokens import tokenize
from ironbind.encoders.shared.fbank import resample
from ironbind.encoders.shared.point_sampling import farthest_points, nearest_points, take
from ironbind.encoders.unibind.center_files import load_centers
from ironbind.types import Image, Thermal, Video

HERE = Path(__file__).parent
GOLDEN = load_file(HERE / "imagebind_golden.safetensors")
PREPROCESSING = load_file(HERE / "imagebind_preprocessing.safetensors")
# name of the golden value -> modality, distribution, shape
VISION, FRAMES = (2, 3, 224, 224), (2, 2, 3, 2, 224, 224)
INPUTS = {
    "image": ("image", torch.randn, VISION),
    "image280": ("image", torch.randn, (1, 3, 280, 280)),
    "video": ("video", torch.randn, FRAMES),
    "event": ("event", torch.rand, VISION),
    "audio": ("audio", torch.randn, (2, 3, 1, 128, 204)),
    "depth": ("depth", torch.rand, (2, 1, 224, 224)),
    "thermal": ("thermal", torch.rand, (2, 1, 224, 224)),
    "imu": ("imu", torch.randn, (2, 6, 2000)),
    "point": ("point", torch.randn, (2, 8192, 3)),
}


def official_input(name: str) -> torch.Tensor:
    if name == "text":
        return GOLDEN["text_ids"]
    _, draw, shape = INPUTS[name]
    x = draw(shape, generator=torch.Generator().manual_seed(1234))
    if name == "point":
        x = x - x.mean(dim=1, keepdim=True)
        x = x / x.norm(dim=-1).amax(dim=1)[:, None, None]
    return x


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("encoder", "names"),
    [
        *(("imagebind-huge", (name,)) for name in ("depth", "imu", "thermal", "audio", "text")),
        ("imagebind-huge", ("image", "image280", "video")),
        *(("unibind", (name,)) for name in ("point", "thermal", "audio", "text")),
        ("unibind", ("image", "event", "video")),
    ],
)
def test_full_size_embeddings(encoder, names, tmp_path):
    modalities = ["text" if name == "text" else INPUTS[name][0] for name in names]
    model = load_encoder(encoder, weights="random", modalities=modalities).model
    for name, modality in zip(names, modalities, strict=True):
        expected = GOLDEN[f"{encoder.removesuffix('-huge')}/{name}"]
        with torch.no_grad():
            found = model(modality, official_input(name))
        error = (found - expected).abs().max().item() / expected.norm(dim=-1).mean().item()
        print(f"{encoder} {name}: {error:.2e} of the embedding's norm")
        assert error <= 1e-6, name
    if names == ("point",):
        xyz = official_input("point")
        for i, level in enumerate(model.point.encoder.levels):
            centers = take(xyz, farthest_points(xyz, level.size.groups))
            members = nearest_points(xyz, centers, level.size.points) + torch.arange(2)[:, None, None] * xyz.shape[1]
            assert torch.equal(members.sum(-1).flatten(), GOLDEN[f"point/group{i}_idx_sorted_sum"])
            xyz = centers
    del model
    gc.collect()


def test_zero_shot_with_semantic_centers(tmp_path):
    import pickle

    generator = torch.Generator().manual_seed(1234)
    path = tmp_path / "center_embeddings.pkl"
    path.write_bytes(
        pickle.dumps({label: torch.randn(50, 1024, generator=generator) for label in ("dog", "car", "bird", "chair")})
    )
    centers = load_centers(path)
    similarity = GOLDEN["unibind/image"] @ centers.z.T
    torch.testing.assert_close(similarity.softmax(dim=-1), GOLDEN["zeroshot/probs"], atol=1e-8, rtol=0)
    assert torch.equal(similarity.argmax(dim=-1), GOLDEN["zeroshot/top1_index"])
    assert [centers.names[centers.label[i]] for i in similarity.argmax(dim=-1)] == ["chair", "chair"]


def test_farthest_points_and_neighbours():
    points = GOLDEN["points/points"]
    picked = farthest_points(points, 24)
    assert torch.equal(picked, GOLDEN["points/fps_index"].long())
    centers = take(points, picked)
    assert torch.equal(centers, GOLDEN["points/centers"])
    members = nearest_points(points, centers, 8)
    assert torch.equal(members, GOLDEN["points/knn_index"].long())
    torch.testing.assert_close(
        (take(points, members) - centers[:, :, None]).norm(dim=-1), GOLDEN["points/knn_dist"], atol=1e-7, rtol=0
    )


@pytest.mark.parametrize("name", ["landscape", "portrait", "small"])
def test_image_preparation(name):
    x = clip_normalise(preparation.image(Image(PREPROCESSING[f"image_{name}.input_u8"].numpy())))
    assert torch.equal(x[:, ::8, ::8], PREPROCESSING[f"image_{name}.output_sub8"])


def test_thermal_preparation():
    import PIL.Image

    grey = np.array(PIL.Image.fromarray(PREPROCESSING["image_landscape.input_u8"].numpy()).convert("L"))
    x = ImageBindInputs().thermal(preparation.thermal(Thermal(grey.astype(np.float32) / 255)))
    assert torch.equal(x[:, ::4, ::4], PREPROCESSING["thermal_landscape.output_sub4"])


def test_video_preparation():
    inputs = ImageBindInputs(official_video=True)
    frames = PREPROCESSING["video_raw.input_small_u8"].numpy().repeat(10, axis=1).repeat(10, axis=2)
    x = inputs.video(inputs.prepare_video(Video(frames, 7.5))[None])[0]
    assert x.shape == (15, 3, 2, 224, 224)
    torch.testing.assert_close(x[..., ::16, ::16], PREPROCESSING["video_raw.output_sub16"].float(), atol=2e-3, rtol=0)
    middle = ImageBindInputs().prepare_video(Video(frames, 7.5))
    assert torch.equal(ImageBindInputs().video(middle[None])[0, 0], x[7]), "one clip is the middle one of fifteen"


@pytest.mark.parametrize(
    ("name", "rate", "tolerance"),
    [("mono16k_1p2s", 16000, 1e-6), ("mono16k_5s", 16000, 1e-6), ("mono48k_2p5s", 48000, 1e-3)],
)
def test_audio_preparation(name, rate, tolerance):
    waveform = PREPROCESSING[f"audio_{name}.input_i16"].float().T / 32768
    x = log_mel_clips(resample(waveform, rate)[None])[0, :, None]
    torch.testing.assert_close(x[..., ::3], PREPROCESSING[f"audio_{name}.output_sub3"], atol=tolerance, rtol=0)


def test_resampling_of_44100_hertz():
    waveform = PREPROCESSING["audio_stereo44k.input_i16"].float().T / 32768
    torch.testing.assert_close(
        resample(waveform, 44100)[:, :400], PREPROCESSING["audio_stereo44k.resampled_head"], atol=1e-6, rtol=0
    )


def test_token_ids():
    with safe_open(HERE / "imagebind_preprocessing.safetensors", framework="pt") as file:
        texts = json.loads(file.metadata()["texts"])
    assert torch.equal(tokenize(texts), PREPROCESSING["text.imagebind_ids"])
    assert torch.equal(tokenize(texts, keep_end=False), PREPROCESSING["text.unibind_ids"])
