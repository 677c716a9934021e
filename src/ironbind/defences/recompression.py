"""Inputs written to a lossy code and read back: JPEG for pictures (Guo et al. 2018, arXiv 1711.00117; Das et al. 2018,
arXiv 1802.06816), 8-bit mu-law behind a low pass for sound (ours, in place of MP3, for which no library is asked).

Letters: b = batch, d = embedding width.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from ironbind.defences.defence import Passes, Where, refuse_odd_knobs
from ironbind.defences.stand_ins import prepared
from ironbind.types import Embed, InputError, SampleRandom, Space

MU = 255.0  # ITU-T G.711
PICTURES = ("pixels", "event_frames")


@dataclass(frozen=True)
class Recompression:
    """`quality` of the JPEG (75, as Guo et al.), each frame a picture of its own; where a sample has not three
    channels, each channel (event polarities, thermal) is a grey picture. Of a waveform: frequencies above `cutoff` of
    half the sampling rate are taken out, the rest is rounded to the 8 bits of mu-law. The code is a real one, without
    a gradient; which bits JPEG gives is up to the installed library.
    """

    quality: int = 75
    cutoff: float = 0.8

    name = "recompression"
    gradients = ("straight_through",)

    def __post_init__(self) -> None:
        refuse_odd_knobs(self)
        if not 1 <= self.quality <= 95 or not 0 < self.cutoff <= 1:
            raise InputError(f"{self} cannot compress; expected quality 1 to 95 and a cutoff above 0 up to 1")

    def unsuitable(self, modality: str, space: Space) -> str:
        if space.name in PICTURES or space.name == "waveform":
            return ""
        if space.name == "logmel":
            return "codecs work on the sound itself; defend it in waveform"
        if space.unordered:
            return "codecs of point clouds round coordinates, which is the defence quantisation"
        return "no lossy code is in use for it"

    def randomised(self, modality: str, space: Space) -> bool:
        return False

    def passes(self, modality: str, space: Space) -> Passes:
        return Passes(1)

    def answer(self, embed: Embed, x: Float[Tensor, "b ..."], where: Where, rng: SampleRandom) -> Float[Tensor, "b d"]:
        with torch.no_grad():
            coded = self._sounds(x.detach()) if where.space.name == "waveform" else self._pictures(x.detach())
        return embed(prepared(coded, x, where))

    def _pictures(self, x: Float[Tensor, "b ... c h w"]) -> Float[Tensor, "b ... c h w"]:
        grey = x.shape[-3] != 3
        flat = x.reshape(-1, *x.shape[-2:])[:, None] if grey else x.reshape(-1, *x.shape[-3:])
        levels = (255 * flat.cpu()).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        back = np.stack([self._jpeg(picture[:, :, 0] if grey else picture) for picture in levels])
        pictures = torch.from_numpy(back).float() / 255
        return (pictures if grey else pictures.permute(0, 3, 1, 2)).reshape(x.shape).to(x)

    def _jpeg(self, picture: np.ndarray) -> np.ndarray:
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=self.quality)
        return np.array(Image.open(buffer))

    def _sounds(self, x: Float[Tensor, "b c n"]) -> Float[Tensor, "b c n"]:
        spectrum = torch.fft.rfft(x)
        frequency = torch.linspace(0, 1, spectrum.shape[-1], device=x.device)
        sound = torch.fft.irfft(spectrum * (frequency <= self.cutoff), n=x.shape[-1]).clamp(-1, 1)
        level = sound.sign() * torch.log1p(MU * sound.abs()) / math.log1p(MU)
        level = (127 * level).round() / 127
        return level.sign() * torch.expm1(level.abs() * math.log1p(MU)) / MU
