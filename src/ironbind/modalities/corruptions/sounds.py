"""Waveforms, inertial recordings and spectrograms. Letters: b = batch, c = channels, n = samples, f = mel bins, t =
frames.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.modalities.corruptions.kind import Kind, window
from ironbind.numerics.norms import in_float64, per_row
from ironbind.types import SampleRandom, Space


def is_signal(modality: str, space: Space) -> bool:
    return space.name in ("waveform", "imu")


def is_spectrogram(modality: str, space: Space) -> bool:
    return space.name == "logmel"


def _length(x: Float[Tensor, "b c n"]) -> Float[Tensor, "b c 1"]:
    """Of each channel, as an accelerometer and a gyroscope have units of their own."""
    return torch.linalg.vector_norm(in_float64(x), dim=-1, keepdim=True).to(x.dtype).to(x.device)


def white_noise(x: Float[Tensor, "b c n"], decibels: float, space: Space, rng: SampleRandom) -> Tensor:
    """`decibels` below the sound itself."""
    noise = rng.normal("white_noise", tuple(x.shape[1:])).to(x)
    return x + noise * (10 ** (-decibels / 20) * _length(x) / _length(noise).clamp_min(1e-30))


def clipping(x: Float[Tensor, "b c n"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    """Everything above a share of the channel's own peak is cut off."""
    limit = share * x.abs().amax(dim=-1, keepdim=True)
    return torch.minimum(torch.maximum(x, -limit), limit)


def time_shift(x: Float[Tensor, "b c n"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    """Earlier or later, which way by chance, by a share of the length; what moves out is lost, silence moves in."""
    n = x.shape[-1]
    way = torch.where(rng.uniform("time_shift", ()) < 0.5, -1, 1).to(x.device)
    source = torch.arange(n, device=x.device) - way[:, None] * max(1, round(share * n))
    silent = (source < 0) | (source >= n)
    return x.gather(-1, source.clamp(0, n - 1)[:, None, :].expand_as(x)).masked_fill(silent[:, None, :], 0.0)


def low_pass(x: Float[Tensor, "b c n"], cutoff: float, space: Space, rng: SampleRandom) -> Tensor:
    """Fourth-order Butterworth gain without its phase; `cutoff` (3 dB down) as a share of half the sampling rate."""
    spectrum = torch.fft.rfft(x)
    frequency = torch.linspace(0, 1, spectrum.shape[-1], device=x.device, dtype=x.dtype)
    return torch.fft.irfft(spectrum / (1 + (frequency / cutoff) ** 8).sqrt(), n=x.shape[-1])


def _silence(x: Float[Tensor, "b c f t"], space: Space) -> Float[Tensor, "b 1 1 1"]:
    """What silence looks like: the lower bound, or each sample's own minimum where there is none."""
    low = x.flatten(1).amin(dim=1) if space.low is None else torch.full_like(x.flatten(1)[:, 0], space.low)
    return per_row(low, x)


def time_mask(x: Float[Tensor, "b c f t"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    gone = window(x.shape[-1], max(1, round(share * x.shape[-1])), rng.uniform("time_mask", ()).to(x))
    return torch.where(gone[:, None, None, :], _silence(x, space), x)


def frequency_mask(x: Float[Tensor, "b c f t"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    gone = window(x.shape[-2], max(1, round(share * x.shape[-2])), rng.uniform("frequency_mask", ()).to(x))
    return torch.where(gone[:, None, :, None], _silence(x, space), x)


def gain(x: Float[Tensor, "b c f t"], share: float, space: Space, rng: SampleRandom) -> Tensor:
    """Louder or quieter by a share of the span between the sound's own quietest and loudest bin (a level is
    logarithmic: gain adds).
    """
    span = x.flatten(1).amax(dim=1) - x.flatten(1).amin(dim=1)
    sign = torch.where(rng.uniform("gain", ()) < 0.5, -1.0, 1.0).to(x)
    return x + per_row(share * sign * span, x)


WHITE_NOISE = Kind(is_signal, (20, 15, 10, 5, 0), white_noise, "{:g} dB below the signal")
CLIPPING = Kind(is_signal, (0.5, 0.3, 0.2, 0.1, 0.05), clipping, "at {:g} of the peak")
TIME_SHIFT = Kind(is_signal, (0.05, 0.1, 0.2, 0.3, 0.5), time_shift, "by {:g} of the length")
LOW_PASS = Kind(is_signal, (0.5, 0.35, 0.25, 0.15, 0.1), low_pass, "3 dB down at {:g} of half the sampling rate")
TIME_MASK = Kind(is_spectrogram, (0.1, 0.2, 0.3, 0.4, 0.5), time_mask, "{:g} of the frames")
FREQUENCY_MASK = Kind(is_spectrogram, (0.1, 0.2, 0.3, 0.4, 0.5), frequency_mask, "{:g} of the bins")
GAIN = Kind(is_spectrogram, (0.05, 0.1, 0.2, 0.3, 0.4), gain, "by {:g} of the span")
