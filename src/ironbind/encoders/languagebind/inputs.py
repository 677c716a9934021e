"""What LanguageBind's towers are fed: decoded files -> native tensors (`prepare`), native tensors -> the official input
tensors, differentiably.

Axis letters: b = batch, t = video frames, c = channels, h, w = rows and columns, n = waveform samples, f = spectrogram
frames. The official transforms are random in two places (every second clip is mirrored, long audio is cut anywhere);
here only when `random` is given.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from ironbind.encoders.imagebind.inputs import LOUDEST, clip_normalise
from ironbind.encoders.shared.fbank import FLOOR, RATE, fbank, frame_count, resample_middle
from ironbind.encoders.shared.resize import middle
from ironbind.encoders.unibind.inputs import event_picture
from ironbind.modalities.spaces import PIXELS, WAVEFORM
from ironbind.types import Audio, Depth, Events, FrontEnd, Image, InputError, InputSpec, Space, Thermal, Video

SIDE, FRAMES = 224, 8
BINS, SPECTROGRAM = 112, 1036  # mel bins and frames of the official input
FULL = 400 + 160 * (SPECTROGRAM - 1)  # samples that fill the spectrogram exactly: 10.375 s
AUDIO_MEAN, AUDIO_SCALE = -4.2677393, 2 * 4.5689974
VIA = {"event": "image"}  # modalities without a tower of their own -> the one they go through
NEAREST = 0.01  # metres; holes of a depth map, stored as 0, end here too


def _normalised(mel: float) -> float:
    return float((torch.tensor(mel).log() - AUDIO_MEAN) / AUDIO_SCALE)  # in float32, as silence itself is computed


LOG_MEL = Space(
    "logmel", "normalised log-mel, (ln mel power + 4.268) / 9.138", _normalised(FLOOR), _normalised(LOUDEST),
    explain=lambda radius: f"{radius * AUDIO_SCALE * 10 / math.log(10):.2f} dB per time-frequency bin",
)  # fmt: skip


def depth_space(max_depth: float) -> Space:
    """Depth as a share of the farthest distance that the encoder tells apart."""
    return Space(
        "depth",
        f"share of {max_depth:g} m",
        NEAREST / max_depth,
        1.0,
        explain=lambda radius: f"{100 * radius * max_depth:.3g} cm",
    )


def resize_short_side(
    x: Float[Tensor, "... h w"], side: int, mode: str, antialias: bool = False
) -> Float[Tensor, "... h2 w2"]:
    """The shorter side to `side`, the longer one in proportion, rounded down. Bicubic interpolation overshoots."""
    h, w = x.shape[-2:]
    size = (side, int(side * w / h)) if h <= w else (int(side * h / w), side)
    return F.interpolate(
        x.reshape(-1, 1, h, w), size=size, mode=mode, align_corners=False, antialias=antialias
    ).reshape(*x.shape[:-2], *size)


def center_crop(x: Float[Tensor, "... h w"], side: int) -> Float[Tensor, "... {side} {side}"]:
    top, left = (round((length - side) / 2) for length in x.shape[-2:])
    return x[..., top : top + side, left : left + side]


def chunk_starts(frames: int, random: np.random.RandomState | None = None) -> tuple[int, int, int]:
    """Where the three channels of a long spectrogram begin: the middle of each third of all possible places
    (officially: anywhere in it).
    """
    thirds = np.array_split(np.arange(frames - SPECTROGRAM + 1), 3)
    first, second, third = (
        0 if not len(third) else int(third[len(third) // 2] if random is None else random.choice(third))
        for third in thirds
    )  # fmt: skip
    return first, second, third


def spectrogram_channels(
    mel: Float[Tensor, "b 112 f"], starts: Sequence[int] | None = None
) -> Float[Tensor, "b 3 112 1036"]:
    """A spectrogram of any length as the official input: tiled along time when short, three chunks of it when long."""
    frames = mel.shape[-1]
    if frames > SPECTROGRAM:
        return torch.stack([mel[..., i : i + SPECTROGRAM] for i in (starts or chunk_starts(frames))], dim=1)
    return mel.repeat(1, 1, SPECTROGRAM // frames + 1)[:, None, :, :SPECTROGRAM].expand(-1, 3, -1, -1)


@dataclass(frozen=True)
class LanguageBindInputs:
    """The choices in LanguageBind's preprocessing, and its InputSpecs and converters by modality.

    `antialias`: how tensors are shrunk; False with the torchvision that the authors pinned, True since 0.17 (other
    pixels, other embeddings). `clamp`: cut the overshoot of bicubic interpolation and of resampling off, so that
    natives stay within their bounds (officially it stays). `audio_seconds`: length of the native waveform. The official
    code takes files of any length, tiles the spectrogram of short ones and takes three chunks of long ones; the same
    happens here when this is the length of the files (5 for ESC-50). By default it is what fills the spectrogram
    (10.375 s): longer files then give their middle, shorter ones are repeated as waveforms, which differs from the
    official tiling by two frames per seam. `max_depth`: metres. `random`: do as the official code does: mirror every
    second clip, cut long audio anywhere.
    """

    antialias: bool = False
    clamp: bool = True
    audio_seconds: float | None = None
    max_depth: float = 10.0
    random: np.random.RandomState | None = None

    def __post_init__(self) -> None:
        if frame_count(self.samples) < 1:
            raise InputError(f"audio_seconds={self.audio_seconds} is shorter than one frame of 0.025 s")

    @property
    def samples(self) -> int:
        return FULL if self.audio_seconds is None else round(self.audio_seconds * RATE)

    # ------------------------------------------------------------------------------ decoded file -> native tensor

    def _square(self, x: Float[Tensor, "c h w"], low: float = 0.0) -> Float[Tensor, "c 224 224"]:
        x = center_crop(resize_short_side(middle(x), SIDE, "bicubic", self.antialias), SIDE)
        return x.clamp(low, 1.0) if self.clamp else x

    def prepare_image(self, sample: Image) -> Float[Tensor, "3 224 224"]:
        return self._square(torch.from_numpy(sample.pixels).permute(2, 0, 1).float() / 255)

    def prepare_event(self, sample: Events | Image) -> Float[Tensor, "3 224 224"]:
        """A recording drawn as a picture (see `event_picture`), or a picture of one. How the authors of the audited
        paper did it is not known.
        """
        return self.prepare_image(event_picture(sample) if isinstance(sample, Events) else sample)

    def prepare_thermal(self, sample: Thermal) -> Float[Tensor, "1 224 224"]:
        return self._square(torch.from_numpy(sample.intensity)[None].float())

    def prepare_depth(self, sample: Depth) -> Float[Tensor, "1 224 224"]:
        share = torch.from_numpy(sample.metres)[None].float().clamp(NEAREST, self.max_depth) / self.max_depth
        return self._square(share, NEAREST / self.max_depth)

    def prepare_video(self, sample: Video) -> Float[Tensor, "8 3 224 224"]:
        chosen = sample.frames[np.linspace(0, len(sample.frames) - 1, FRAMES, dtype=int)]
        x = torch.from_numpy(chosen).permute(0, 3, 1, 2).float() / 255
        x = center_crop(resize_short_side(middle(x), SIDE, "bilinear"), SIDE)
        return x.flip(-1) if self.random is not None and self.random.random_sample() < 0.5 else x

    def prepare_audio(self, sample: Audio) -> Float[Tensor, "1 n"]:
        """At 16 kHz, the first channel, as in the official filter bank, which reads no other, less the mean over all
        channels.

        That mean changes rounding only, since the filter bank removes each frame's own; with it the spectrogram is the
        official one, bit for bit.
        """
        channels = torch.from_numpy(np.ascontiguousarray(sample.waveform)).float()
        channels = resample_middle(channels, sample.rate, RATE, self.samples)
        wave = channels[0] - channels.mean()
        if self.clamp:
            wave = wave.clamp(-1.0, 1.0)
        if len(wave) < self.samples:
            wave = wave.repeat(-(-self.samples // len(wave)))[: self.samples]
        start = (len(wave) - self.samples) // 2
        return wave[None, start : start + self.samples]

    # ----------------------------------------------------------------------- native tensor -> official input tensor

    def image(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 3 h w"]:
        """Pictures, and maps of one channel (thermal, depth), which the official loaders repeat three times."""
        return clip_normalise(x.expand(-1, 3, -1, -1))

    def video(self, x: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b 3 t h w"]:
        return clip_normalise(x).transpose(1, 2)

    def log_mel(self, x: Float[Tensor, "b 1 n"]) -> Float[Tensor, "b 1 112 f"]:
        """Waveforms -> normalised spectrograms, before tiling and cutting: what the log-mel space holds."""
        return (fbank(x, BINS).transpose(2, 3) - AUDIO_MEAN) / AUDIO_SCALE

    def audio(self, x: Float[Tensor, "b 1 n"]) -> Float[Tensor, "b 3 112 1036"]:
        return self.audio_from_log_mel(self.log_mel(x))

    def audio_from_log_mel(self, x: Float[Tensor, "b 1 112 f"]) -> Float[Tensor, "b 3 112 1036"]:
        frames = x.shape[-1]
        return spectrogram_channels(x[:, 0], chunk_starts(frames, self.random) if frames > SPECTROGRAM else None)

    # --------------------------------------------------------------------------------------------------- the tables

    def specs(self) -> dict[str, InputSpec]:
        """InputSpecs of every modality that LanguageBind may have a tower for."""
        mel = FrontEnd(LOG_MEL, (1, BINS, frame_count(self.samples)), self.log_mel)
        return {
            "image": InputSpec("image", (3, SIDE, SIDE), PIXELS, self.prepare_image),
            "video": InputSpec("video", (FRAMES, 3, SIDE, SIDE), PIXELS, self.prepare_video),
            "audio": InputSpec(
                "audio", (1, self.samples), WAVEFORM, self.prepare_audio, fronts={"logmel": mel}, attack_space="logmel"
            ),
            "depth": InputSpec("depth", (1, SIDE, SIDE), depth_space(self.max_depth), self.prepare_depth),
            "thermal": InputSpec("thermal", (1, SIDE, SIDE), PIXELS, self.prepare_thermal),
            "event": InputSpec("event", (3, SIDE, SIDE), PIXELS, self.prepare_event),
        }

    def converters(self) -> dict[tuple[str, str], Callable[[Tensor], Tensor]]:
        """(modality, space) -> native tensors to official input tensors."""
        return {
            ("image", "pixels"): self.image,
            ("video", "pixels"): self.video,
            ("audio", "waveform"): self.audio,
            ("audio", "logmel"): self.audio_from_log_mel,
            ("depth", "depth"): self.image,
            ("thermal", "pixels"): self.image,
            ("event", "pixels"): self.image,
        }
