"""LanguageBind against the official code's outputs (`extract_languagebind.py` says where they come from).

Tolerances: 1e-6 on unit rows shows a tanh GELU (2.9e-5) and a LayerNorm epsilon of 1e-6 (4e-4); float16-stored pixels
are good to 1e-3.
"""

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file

from ironbind.encoders import load_encoder
from ironbind.encoders.languagebind.inputs import LanguageBindInputs
from ironbind.encoders.shared.fbank import fbank
from ironbind.types import Audio, Depth, Image, Video

GOLDEN = load_file(Path(__file__).with_name("languagebind_golden.safetensors"))
OFFICIAL_INPUT = {
    "image": (3, 224, 224),
    "video": (3, 8, 224, 224),
    "audio": (3, 112, 1036),
    "depth": (3, 224, 224),
    "thermal": (3, 224, 224),
}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("variant", ["image", "video", "video-ft", "audio", "audio-ft", "depth", "thermal"])
def test_full_size_embeddings(variant):
    encoder = load_encoder(
        f"languagebind-{variant}",
        weights="random",
        modalities=None if variant == "image" else variant.partition("-")[0],
    )
    modality = next(iter(encoder.inputs))
    x = torch.randn(2, *OFFICIAL_INPUT[modality], generator=torch.Generator().manual_seed(1234))
    with torch.no_grad():
        z = encoder.model(modality, x)
        expected = GOLDEN[f"{variant.replace('-', '_')}/embedding"]
        error = (F.normalize(z, dim=-1) - F.normalize(expected, dim=-1)).abs().max().item()
        print(f"languagebind-{variant}: {error:.2e} on unit rows, {(z - expected).abs().max():.2e} on the raw output")
        assert error <= 1e-6
        if variant == "image":
            text = encoder.model("text", GOLDEN["text/input_ids"])
            error = (F.normalize(text, dim=-1) - F.normalize(GOLDEN["text/embedding"], dim=-1)).abs().max().item()
            print(f"languagebind text: {error:.2e} on unit rows")
            assert error <= 1e-6
            scale = encoder.model.towers["image"].logit_scale.exp()
            logits = scale * F.normalize(z, dim=-1) @ F.normalize(text, dim=-1).T
            torch.testing.assert_close(logits, GOLDEN["image_text/logits_per_image"], atol=1e-5, rtol=0)
    del encoder
    gc.collect()


@pytest.mark.parametrize("antialias", [False, True])
def test_image_and_depth_preparation(antialias):
    inputs = LanguageBindInputs(antialias=antialias, clamp=False)
    image = inputs.image(inputs.prepare_image(Image(GOLDEN["image/pixels"].numpy()))[None])[0]
    torch.testing.assert_close(image[:, ::4, ::4], GOLDEN[f"image/antialias_{antialias}"].float(), atol=1e-3, rtol=0)
    metres = GOLDEN["depth/millimetres"].numpy().astype(np.float32) / 1000
    depth = inputs.image(inputs.prepare_depth(Depth(metres))[None])[0]
    torch.testing.assert_close(depth[:, ::4, ::4], GOLDEN[f"depth/antialias_{antialias}"].float(), atol=1e-3, rtol=0)


def test_video_preparation():
    inputs, first = LanguageBindInputs(), GOLDEN["image/pixels"].numpy()
    clip = Video(np.stack([np.roll(first, 7 * i, axis=1) for i in range(8)]), 25.0)
    x = inputs.video(inputs.prepare_video(clip)[None])[0]
    torch.testing.assert_close(x[:, :, ::4, ::4], GOLDEN["video/rolled"].float(), atol=1e-3, rtol=0)


def test_audio_preparation():
    """The first second of the file: the mean over the whole of it, which changes rounding only, is another; hence the
    tolerances by loudness.
    """
    inputs = LanguageBindInputs(audio_seconds=1.0)
    waveform = GOLDEN["audio/sweep"].numpy().T.astype(np.float32) / 32768
    mel = fbank(inputs.prepare_audio(Audio(waveform, 44_100)), 112)[0, :96]
    error, level = (mel - GOLDEN["audio/sweep_fbank"]).abs(), GOLDEN["audio/sweep_fbank"]
    assert error[level > -3].max() <= 2e-5
    assert error[level > -6].max() <= 1e-4
    assert error.max() <= 0.03
