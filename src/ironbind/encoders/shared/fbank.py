"""Kaldi-compatible log-mel filter banks, resampling and clip times in plain torch, differentiable to the waveform.

Compatible with torchaudio's `compliance.kaldi.fbank` and `functional.resample` (BSD-2): same formulas, same order of
float32 operations, written anew, because torchaudio cannot be imported beside every torch. Axis letters: n = samples, t
= frames, m = mel bins.
"""

import math
from fractions import Fraction
from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

RATE = 16000  # hertz, of every encoder that listens through these filters
FRAME, HOP, FFT = 400, 160, 512  # samples: 25 ms, 10 ms, next power of two
FLOOR = 1.1920928955078125e-07  # float32 epsilon: power below it counts as silence
PREEMPHASIS = 0.97


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * (1.0 + hertz / 700.0).log()


@lru_cache(maxsize=8)
def mel_filters(bins: int) -> Float[Tensor, "{bins} 257"]:
    """Triangles linear in mel = 1127 ln(1 + f/700) between 20 Hz and 8 kHz, over FFT bins 0..256 (the last, Nyquist,
    weighs 0).
    """
    low, high = (1127.0 * math.log(1.0 + hertz / 700.0) for hertz in (20.0, RATE / 2))
    step = (high - low) / (bins + 1)
    left = low + torch.arange(bins, dtype=torch.float32)[:, None] * step
    center = low + (torch.arange(bins, dtype=torch.float32)[:, None] + 1.0) * step
    right = low + (torch.arange(bins, dtype=torch.float32)[:, None] + 2.0) * step
    mel = _mel(RATE / FFT * torch.arange(FFT // 2, dtype=torch.float32))[None]
    triangles = torch.clamp(torch.minimum((mel - left) / (center - left), (right - mel) / (right - center)), min=0.0)
    return F.pad(triangles, (0, 1))


def frame_count(samples: int) -> int:
    """Frames of `samples` samples: only whole windows count."""
    return 1 + (samples - FRAME) // HOP if samples >= FRAME else 0


def fbank(waveform: Float[Tensor, "*b n"], bins: int = 128) -> Float[Tensor, "*b t {bins}"]:
    """Natural-log mel power of each 25 ms frame (hop 10 ms) of a 16 kHz waveform in [-1, 1]; t = frame_count(n).

    Per frame: remove the mean, pre-emphasis 0.97 with the first sample replicated, symmetric Hann window, |FFT 512|^2,
    mel triangles, log with floor 1.19e-7 (where the gradient is 0). No dither, no energy. Raises ValueError below 400
    samples, as the original does.
    """
    if waveform.shape[-1] < FRAME:
        raise ValueError(f"waveform of {waveform.shape[-1]} samples is shorter than one frame ({FRAME})")
    frames = waveform.unfold(-1, FRAME, HOP)  # *b t 400
    frames = frames - frames.mean(dim=-1, keepdim=True)
    before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
    frames = frames - PREEMPHASIS * before
    frames = frames * torch.hann_window(FRAME, periodic=False, dtype=waveform.dtype, device=waveform.device)
    power = torch.fft.rfft(F.pad(frames, (0, FFT - FRAME))).abs().pow(2.0)  # *b t 257
    mel = power @ mel_filters(bins).to(device=waveform.device, dtype=waveform.dtype).T
    return mel.clamp(min=FLOOR).log()


@lru_cache(maxsize=16)
def _resampling_kernel(old: int, new: int) -> tuple[Float[Tensor, "{new} 1 taps"], int]:
    """Hann-windowed sinc, 6 zero crossings, cut-off at 0.99 of the lower Nyquist rate; `old` and `new` without common
    factor.
    """
    base = 0.99 * min(old, new)
    width = math.ceil(6 * old / base)
    # float32 throughout: the original computes its kernel so, and a kernel cast from float64 differs by 2e-3 in the mel
    # at 44.1 kHz
    taps = torch.arange(-width, width + old, dtype=torch.float32)[None, None] / old
    u = torch.arange(0, -new, -1, dtype=torch.float32)[:, None, None] / new + taps
    u = (u * base).clamp(-6, 6)
    window = torch.cos(u * math.pi / 6 / 2) ** 2
    u = u * math.pi
    sinc = torch.where(u == 0, torch.tensor(1.0), u.sin() / u)
    return sinc * (window * (base / old)), width


def resample(waveform: Float[Tensor, "c n"], rate: int, to: int = RATE) -> Float[Tensor, "c new_n"]:
    """The waveform at `to` hertz, ceil(n * to / rate) samples: torchaudio's default (sinc, Hann window, width 6,
    roll-off 0.99).
    """
    if rate == to:
        return waveform
    common = math.gcd(int(rate), int(to))
    old, new = int(rate) // common, int(to) // common
    kernel, width = _resampling_kernel(old, new)
    length = waveform.shape[-1]
    padded = F.pad(waveform, (width, width + old))
    out = F.conv1d(padded[:, None], kernel.to(device=waveform.device, dtype=waveform.dtype), stride=old)  # c new frames
    return out.transpose(1, 2).reshape(waveform.shape[0], -1)[..., : math.ceil(new * length / old)]


ROOM = 2**22  # numbers: what resampling may take beyond a few times the recording itself
BLOCK = 2**20  # numbers of the matrix (samples by taps) that resampling sample by sample holds at a time


def resample_middle(waveform: Float[Tensor, "c n"], rate: int, to: int, samples: int) -> Float[Tensor, "c new_n"]:
    """`resample(waveform, rate, to)` for callers that need no more than its middle `samples`.

    Where the whole would take far more room than the recording itself, only that middle: a file of 7 kB whose header
    says 1 Hz becomes 57 million samples at 16 kHz, and rates without a common factor need a filter for every one of
    16,000 phases. The same filter then, evaluated for each sample in float64.
    """
    common = math.gcd(int(rate), int(to))
    old, new = int(rate) // common, int(to) // common
    length = math.ceil(new * waveform.shape[-1] / old)
    kernel = new * (old + 2 * math.ceil(6 * old / (0.99 * min(old, new))))
    if rate == to or (kernel <= ROOM and length <= 4 * waveform.shape[-1] + ROOM):
        return resample(waveform, rate, to)
    start = max(length - samples, 0) // 2
    return _resample_between(waveform, old, new, start, min(start + samples, length))


def _resample_between(
    waveform: Float[Tensor, "c n"], old: int, new: int, start: int, stop: int
) -> Float[Tensor, "c new_n"]:
    """Samples `start` to `stop` of the resampled waveform, some rows of a matrix (samples by taps) at a time."""
    scale = 0.99 * min(old, new) / old  # filter widths per sample of the input
    reach = math.ceil(6 / scale) + 1
    taps = torch.arange(-reach, reach + 1)
    rows = max(1, BLOCK // len(taps))
    pieces = []
    for begin in range(start, stop, rows):
        place = torch.arange(begin, min(begin + rows, stop)) * old  # in samples of the input, times `new`
        near = (place // new)[:, None] + taps  # new_n taps
        t = ((near * new - place[:, None]).double() * (scale / new)).clamp(-6, 6)
        kernel = torch.sinc(t) * torch.cos(t * (math.pi / 12)).square() * scale
        kernel = kernel * ((near >= 0) & (near < waveform.shape[-1]))
        values = waveform.cpu()[:, near.clamp(0, waveform.shape[-1] - 1)].double()  # c new_n taps
        pieces.append((values * kernel).sum(-1))
    return torch.cat(pieces, dim=-1).to(waveform.dtype).to(waveform.device)


def clip_times(duration: float | Fraction, clips: int, seconds: int | Fraction = 2) -> list[tuple[Fraction, Fraction]]:
    """Start and end, in seconds, of `clips` clips spread evenly over `duration`, the first at the start, the last at
    the end.

    Exact fractions of the *float* duration: rounding 2.65 s up instead of down moves a clip by one sample
    (pytorchvideo's ConstantClipsPerVideoSampler as ImageBind pins it; later releases divide by another number). A
    shorter file gives equal clips from 0.
    """
    length = Fraction(float(duration)) if not isinstance(duration, Fraction) else duration
    step = max(length - seconds, Fraction(0)) / max(clips - 1, 1)
    return [(i * step, i * step + seconds) for i in range(clips)]


def sample_ranges(samples: int, clips: int, seconds: int | Fraction = 2) -> list[tuple[int, int]]:
    """First and one-past-last sample of each clip of a 16 kHz waveform (the last one may reach past its end)."""
    return [(int(RATE * start), int(RATE * end)) for start, end in clip_times(samples / RATE, clips, seconds)]
