"""Filter banks against a twin written out in numpy; resampling against tones whose answer is known; clip times against
exact fractions.
"""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from ironbind.encoders.shared.fbank import FLOOR, clip_times, fbank, frame_count, mel_filters, resample, sample_ranges


def twin(waveform: np.ndarray, bins: int) -> np.ndarray:
    """Kaldi's filter banks, one frame and one bin at a time, in float64."""

    def mel(hertz: float) -> float:
        return 1127 * math.log(1 + hertz / 700)

    low, step = mel(20), (mel(8000) - mel(20)) / (bins + 1)
    window = [0.5 - 0.5 * math.cos(2 * math.pi * i / 399) for i in range(400)]
    out = []
    for start in range(0, len(waveform) - 399, 160):
        frame = waveform[start : start + 400].astype(np.float64)
        frame = frame - frame.mean()
        frame = (frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])) * window
        power = np.abs(np.fft.fft(np.concatenate([frame, np.zeros(112)]))) ** 2
        row = []
        for m in range(bins):
            left, center, right = (low + (m + i) * step for i in range(3))
            weights = [
                max(0.0, min((mel(k * 31.25) - left) / (center - left), (right - mel(k * 31.25)) / (right - center)))
                for k in range(256)
            ]
            row.append(math.log(max(float(power[:256] @ weights), FLOOR)))
        out.append(row)
    return np.array(out)


@pytest.mark.parametrize("bins", [112, 128])
def test_fbank_is_kaldis(bins):
    waveform = np.random.default_rng(0).normal(size=1200) * np.linspace(0.001, 0.3, 1200) + 0.1
    found = fbank(torch.from_numpy(waveform), bins)
    assert found.shape == (frame_count(1200), bins) == (6, bins)
    np.testing.assert_allclose(found.numpy(), twin(waveform, bins), atol=2e-4)  # the triangles themselves are float32


def test_filters_leave_out_what_they_should():
    filters = mel_filters(128)
    assert filters.shape == (128, 257)
    assert (filters >= 0).all()
    assert (filters <= 1).all()
    assert (filters[:, 0] == 0).all(), "0 Hz lies below 20 Hz"
    assert (filters[:, 256] == 0).all(), "Nyquist"


def test_silence_is_the_floor_and_has_no_gradient():
    x = torch.zeros(1, 800, requires_grad=True)
    mel = fbank(x)
    assert torch.equal(mel, torch.full_like(mel, FLOOR).log())
    (gradient,) = torch.autograd.grad(mel.sum(), x)
    assert torch.equal(gradient, torch.zeros_like(x))


def test_less_than_a_frame_is_refused():
    with pytest.raises(ValueError, match="399 samples"):
        fbank(torch.zeros(399))


def test_gradient_reaches_the_waveform():
    x = torch.randn(2, 900, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: fbank(x, 8)[:, ::2], x, fast_mode=True)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000])
def test_resampling_keeps_a_tone(rate):
    seconds, hertz = 0.5, 440.0
    tone = torch.sin(2 * math.pi * hertz * torch.arange(int(rate * seconds), dtype=torch.float64) / rate).float()
    found = resample(tone[None], rate)[0]
    assert len(found) == math.ceil(16000 * len(tone) / rate)
    expected = torch.sin(2 * math.pi * hertz * torch.arange(len(found), dtype=torch.float64) / 16000).float()
    torch.testing.assert_close(found[400:-400], expected[400:-400], atol=2e-3, rtol=0)


def test_resampling_removes_what_would_alias():
    tone = torch.sin(
        2 * math.pi * 15000.0 * torch.arange(48000, dtype=torch.float64) / 48000
    ).float()  # would fold to 1 kHz
    assert resample(tone[None], 48000)[0, 400:-400].abs().max() < 0.01


def test_same_rate_is_the_same_waveform():
    x = torch.randn(2, 100)
    assert resample(x, 16000) is x


@pytest.mark.parametrize(
    ("duration", "clips", "expected"),
    [
        (1.2, 3, [0, 0, 0]),
        (2.5, 3, [0, 0.25, 0.5]),
        (7.3, 3, [0, 2.65, 5.3]),
        (7.3, 5, [0, 1.325, 2.65, 3.9749999999999996, 5.3]),
        (10.0, 1, [0]),
    ],
)
def test_clips_are_spread_from_start_to_end(duration, clips, expected):
    times = clip_times(duration, clips)
    assert [float(start) for start, _ in times] == expected
    assert all(end - start == 2 for start, end in times)
    if duration >= 2 and clips > 1:
        assert times[-1][1] == Fraction(duration)


def test_the_second_clip_of_7_3_seconds_starts_one_sample_early():
    assert sample_ranges(116800, 3) == [(0, 32000), (42399, 74399), (84799, 116799)]
