"""Differentiable front ends for `transformers` models: what their processors do in numpy or PIL, as torch functions of
native tensors.

Geometry (resize, crop, resample, frame choice) happens once in `prepare`, as in the processor; rescaling, normalising,
cutting into patches and log-mel spectrograms happen inside `embed`, so that an attack sees raw units. Axis letters: b =
batch, t = frames, c = colours, h, w = rows and columns, n = waveform samples, f = spectrogram frames, p = patches.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from ironbind.encoders.shared.fbank import resample_middle
from ironbind.encoders.shared.resize import middle_of_array
from ironbind.modalities.spaces import PIXELS, WAVEFORM
from ironbind.types import Audio, InputSpec, Video


@dataclass(frozen=True)
class Pixels:
    """What an image processor's configuration says: resize the short side (`resize` an int) or both (a pair), crop the
    middle, normalise. `margins_rounded`: half a row of an odd margin goes to the nearest even number, as torchvision
    crops; else down.
    """

    resize: int | tuple[int, int]
    crop: tuple[int, int] | None
    resample: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    margins_rounded: bool = False

    @classmethod
    def read(cls, config: Mapping[str, Any], size: tuple[int, int] | None = None) -> "Pixels":
        """From `preprocessor_config.json` as a dict. `size` overrides the configured one (for models that take any
        size).
        """
        sides = config.get("size") or {}
        resize = size or (
            int(sides["shortest_edge"]) if sides.get("shortest_edge") else (int(sides["height"]), int(sides["width"]))
        )
        box = config.get("crop_size") if config.get("do_center_crop") and size is None else None
        normalise = config.get("do_normalize", True)
        return cls(
            resize,
            (int(box["height"]), int(box["width"])) if box else None,
            int(config.get("resample", PIL.Image.Resampling.BICUBIC)),
            tuple(config["image_mean"]) if normalise else (0.0, 0.0, 0.0),
            tuple(config["image_std"]) if normalise else (1.0, 1.0, 1.0),
            bool(config.get("margins_rounded", False)),
        )

    @property
    def size(self) -> tuple[int, int]:
        return self.crop or (self.resize if isinstance(self.resize, tuple) else (self.resize, self.resize))

    def prepare(self, pixels: np.ndarray) -> Float[Tensor, "3 h w"]:
        """uint8 `h w 3` -> [0, 1]; a short-side resize without a configured crop is cropped to the square that it must
        become.
        """
        if isinstance(self.resize, tuple):
            new = self.resize
        else:
            pixels = middle_of_array(pixels)
            rows, columns = pixels.shape[:2]
            scale = self.resize / min(rows, columns)
            new = (
                (self.resize, int(self.resize * columns / rows))
                if scale * rows <= scale * columns
                else (int(self.resize * rows / columns), self.resize)
            )
        image = PIL.Image.fromarray(pixels).resize(new[::-1], resample=PIL.Image.Resampling(self.resample))
        margins = [long - short for long, short in zip(new, self.size, strict=True)]
        top, left = (round(margin / 2) if self.margins_rounded else margin // 2 for margin in margins)
        image = image.crop((left, top, left + self.size[1], top + self.size[0]))
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255

    def normalise(self, x: Float[Tensor, "... 3 h w"]) -> Float[Tensor, "... 3 h w"]:
        mean, std = (
            torch.tensor(values, dtype=x.dtype, device=x.device).view(3, 1, 1) for values in (self.mean, self.std)
        )
        return (x - mean) / std

    def image_spec(self) -> InputSpec:
        return InputSpec("image", (3, *self.size), PIXELS, lambda sample: self.prepare(sample.pixels))

    def video_spec(self, frames: int) -> InputSpec:
        """`frames` frames at equal distances, the first and the last among them."""

        def prepare(sample: Video) -> Float[Tensor, "t 3 h w"]:
            shown = np.linspace(0, len(sample.frames) - 1, frames).astype(int)
            return torch.stack([self.prepare(sample.frames[i]) for i in shown])

        return InputSpec("video", (frames, 3, *self.size), PIXELS, prepare)


def patches(x: Float[Tensor, "b 3 h w"], side: int) -> Float[Tensor, "b p side*side*3"]:
    """Square patches in rows, each flattened row, column, colour (as SigLIP 2 and Gemma 4 want them)."""
    b, c, h, w = x.shape
    cut = x.reshape(b, c, h // side, side, w // side, side)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(b, (h // side) * (w // side), side * side * c)


def waveform_spec(rate: int, samples: int, repeat: bool) -> InputSpec:
    """A mono waveform of `samples` at `rate` hertz. Channels are averaged; a longer file gives its middle, a shorter
    one is filled up.

    `repeat`: filled with whole copies of itself and then silence (CLAP's "repeatpad"), otherwise with silence.
    """

    def prepare(sample: Audio) -> Float[Tensor, "1 n"]:
        channels = torch.from_numpy(np.ascontiguousarray(sample.waveform)).float()
        wave = resample_middle(channels, sample.rate, rate, samples).mean(0).clamp(-1, 1)
        if len(wave) > samples:
            start = (len(wave) - samples) // 2
            return wave[None, start : start + samples]
        if repeat:
            wave = wave.repeat(samples // len(wave))
        return F.pad(wave, (0, samples - len(wave)))[None]

    return InputSpec("audio", (1, samples), WAVEFORM, prepare)


@dataclass(frozen=True)
class Mel:
    """A mel spectrogram as a differentiable function of the waveform; filters and window are those of the library's
    feature extractor.

    "clap": centred frames, power, decibels with a floor at -100 dB. "gemma": frames that begin half a window early,
    magnitude, log(mel + floor).
    """

    kind: str
    window: Float[Tensor, " frame"] = field(repr=False)
    filters: Float[Tensor, "frequencies mel"] = field(repr=False)
    hop: int
    fft: int
    floor: float

    @classmethod
    def clap(cls, extractor: Any) -> "Mel":
        filters = extractor.mel_filters if extractor.truncation == "fusion" else extractor.mel_filters_slaney
        window = torch.hann_window(extractor.fft_window_size, periodic=True, dtype=torch.float64)
        return cls("clap", window, torch.from_numpy(filters), extractor.hop_length, extractor.fft_window_size, 1e-10)

    @classmethod
    def gemma(cls, extractor: Any) -> "Mel":
        window = torch.from_numpy(np.asarray(extractor.window, dtype=np.float64))
        return cls(
            "gemma",
            window,
            torch.from_numpy(extractor.mel_filters),
            extractor.hop_length,
            extractor.fft_length,
            float(extractor.mel_floor),
        )

    def __call__(self, x: Float[Tensor, "b 1 n"]) -> Float[Tensor, "b f mel"]:
        # the type before the device: some devices hold no float64
        window, filters = (numbers.to(x.dtype).to(x.device) for numbers in (self.window, self.filters))
        if self.kind == "clap":
            padded = F.pad(x, (len(window) // 2, len(window) // 2), mode="reflect")[:, 0]
            spectrum = torch.fft.rfft(padded.unfold(-1, len(window), self.hop) * window, n=self.fft).abs().square()
            return 10 * torch.log10((spectrum @ filters).clamp(min=self.floor))
        frames = F.pad(x[:, 0], (len(window) // 2, 0)).unfold(-1, len(window) + 1, self.hop)[..., :-1]
        return torch.log((torch.fft.rfft(frames * window, n=self.fft).abs() @ filters) + self.floor)
