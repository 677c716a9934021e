"""Preparing a small file takes little memory, whatever its header or sides say; ordinary files become what they did."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import PIL.Image
import pytest
import torch

from ironbind.encoders.imagebind.inputs import ImageBindInputs
from ironbind.encoders.languagebind.inputs import LanguageBindInputs
from ironbind.encoders.shared import fbank, resize
from ironbind.encoders.shared.fbank import resample, resample_middle
from ironbind.encoders.tiny import encoder as tiny
from ironbind.types import Audio, Image

PREPARE = """
import resource
import numpy as np
from ironbind.encoders.hf.inputs import Pixels, waveform_spec
from ironbind.encoders.imagebind.inputs import ImageBindInputs
from ironbind.encoders.languagebind.inputs import LanguageBindInputs
from ironbind.encoders.shared import resize
from ironbind.encoders.tiny import encoder as tiny
from ironbind.types import Audio, Image, Thermal, Video

imagebind, languagebind = ImageBindInputs(), LanguageBindInputs()
clap, pixels = waveform_spec(48_000, 480_000, True), Pixels(224, None, 3, (0.0,) * 3, (1.0,) * 3)
sounds = (tiny.prepare_audio, imagebind.prepare_audio, languagebind.prepare_audio, clap.prepare)
tone = np.full((2, 3600), 0.1, np.float32)
for prepare in sounds:
    prepare(Audio(tone, 44_100))
now = int(next(line for line in open("/proc/self/status") if line.startswith("VmSize")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (now + 2**29, now + 2**29))
for rate in (1, 44_101, 2**31 - 1):
    for prepare in sounds:
        prepare(Audio(tone, rate))
for shape in ((1, 50_000), (50_000, 1)):
    image, thermal = Image(np.zeros((*shape, 3), np.uint8)), Thermal(np.zeros(shape, np.float32))
    video = Video(np.zeros((3, *shape, 3), np.uint8), 1.0)
    pixels.prepare(image.pixels)
    for prepare in (tiny.prepare_image, resize.image, languagebind.prepare_image):
        prepare(image)
    for prepare in (tiny.prepare_thermal, resize.thermal, languagebind.prepare_thermal):
        prepare(thermal)
    resize.video(video, official=True)
    for prepare in (tiny.prepare_video, imagebind.prepare_video, languagebind.prepare_video):
        prepare(video)
print("whole")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
def test_small_files_take_half_a_gigabyte_at_most():
    done = subprocess.run([sys.executable, "-c", PREPARE], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("whole\n", 0), done.stderr


@pytest.mark.parametrize(
    ("rate", "to"), [(44_100, 16_000), (8000, 16_000), (48_000, 44_100), (96_000, 16_000), (1000, 16_000)]
)
def test_the_middle_alone_is_that_of_the_whole(monkeypatch, rate, to):
    sound = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (2, 1501)).astype(np.float32))
    whole = resample(sound, rate, to)
    assert torch.equal(resample_middle(sound, rate, to, 200), whole), "an ordinary recording is resampled as a whole"
    monkeypatch.setattr(fbank, "ROOM", -(10**9))
    monkeypatch.setattr(fbank, "BLOCK", 5000)  # so that several blocks are joined
    part = resample_middle(sound, rate, to, 200)
    start = (whole.shape[1] - 200) // 2
    assert part.shape == (2, 200)
    torch.testing.assert_close(part, whole[:, start : start + 200], atol=1e-4, rtol=0)
    everything = resample_middle(sound, rate, to, 10**6)
    torch.testing.assert_close(everything, whole, atol=1e-4, rtol=0)


def test_a_recording_at_a_rate_without_common_factor_keeps_its_tone():
    rate = 44_101
    times = np.arange(rate) / rate
    sound = Audio(np.sin(2 * np.pi * 440 * times)[None].astype(np.float32) / 2, rate)
    for prepare, to in ((ImageBindInputs(audio_seconds=0.5).prepare_audio, 16_000), (tiny.prepare_audio, 8000)):
        wave = prepare(sound)[0].double().numpy()
        spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
        assert spectrum.argmax() * to / len(wave) == pytest.approx(440, abs=to / len(wave))
        assert np.abs(wave).max() == pytest.approx(0.5, abs=0.01)
    channels = LanguageBindInputs(audio_seconds=0.5).prepare_audio(sound)
    assert channels.shape == (1, 8000)
    assert channels.abs().max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("rate", [44_100, 16_000, 4000])
@pytest.mark.parametrize("seconds", [0.02, 1, 2.3])
def test_the_built_in_encoder_takes_the_same_samples_from_the_window_as_from_the_whole(rate, seconds):
    count = int(rate * seconds)
    sound = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (1, count)).astype(np.float32))
    whole = tiny._resample(sound, rate, 0, int(count * Fraction(8000, rate)))
    spare = whole.shape[1] - tiny.SAMPLES
    expected = whole[:, spare // 2 :][:, : tiny.SAMPLES] if spare > 0 else torch.nn.functional.pad(whole, (0, -spare))
    assert torch.equal(tiny.prepare_audio(Audio(sound.numpy(), rate)), expected)


@pytest.mark.parametrize("shape", [(40, 40 * 16), (40 * 16, 40), (30, 50)])
def test_pictures_up_to_16_times_as_long_as_wide_are_resized_as_a_whole(shape):
    x = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    np.testing.assert_array_equal(resize.middle_of_array(x), x)
    assert resize.middle(torch.zeros(3, *shape)).shape == (3, *shape)


@pytest.mark.parametrize("shape", [(10, 1000), (1000, 10)])
def test_of_longer_pictures_the_middle_is_the_same(shape):
    """The crop that encoders take lies far from where the picture is cut: its pixels differ by rounding alone."""
    x = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    height, width = (int(224 * length / 10) for length in shape)
    whole = PIL.Image.fromarray(x).resize((width, height), PIL.Image.Resampling.BICUBIC)
    left, top = (width - 224) // 2, (height - 224) // 2
    expected = np.array(whole.crop((left, top, left + 224, top + 224))).astype(int)
    levels = resize.image(Image(x)).permute(1, 2, 0).numpy() * 255
    assert np.abs(levels - expected).max() <= 1 + 1e-3
