"""What ImageBind's and UniBind's towers are fed: decoded files -> native tensors, native tensors -> the official input
tensors, differentiably.

Axis letters: b = batch, s = clips, t = video frames, c = audio channels, n = samples at 16 kHz, h, w = rows and
columns.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from jaxtyping import Float
from torch import Tensor

from ironbind.encoders.shared import resize as preparation
from ironbind.encoders.shared.fbank import FLOOR, FRAME, RATE, fbank, resample_middle, sample_ranges
from ironbind.modalities.spaces import PIXELS, WAVEFORM
from ironbind.types import Audio, Depth, FrontEnd, Imu, InputError, InputSpec, Space, Video

SIDE = preparation.SIDE
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
BINS, SPECTROGRAM = 128, 204  # mel bins and frames of one official audio clip; 2 s fill 198 frames, the rest is padding
CLIP_SAMPLES = 2 * RATE
AUDIO_MEAN, AUDIO_SCALE = -4.268, 9.138
# no waveform in [-1, 1] has a mel power above this: Parseval over half the spectrum, samples at most 2 after
# pre-emphasis, energy of the window
LOUDEST = 256 * 2.0**2 * 149.7
NEAREST, FARTHEST = 0.01, 50.0  # metres; holes of a depth map, stored as 0, count as nearest
DEPTH_MEAN, DEPTH_STD = 0.0418, 0.0295
IMU_STEPS, IMU_SECONDS = 2000, 5.0

# in float32, as silence itself is computed
SILENCE = float((torch.tensor(FLOOR).log() - AUDIO_MEAN) / AUDIO_SCALE)

LOG_MEL = Space(
    "logmel", "normalised log-mel, (ln mel power + 4.268) / 9.138",
    SILENCE, (math.log(LOUDEST) - AUDIO_MEAN) / AUDIO_SCALE,
    explain=lambda radius: f"{radius * AUDIO_SCALE * 10 / math.log(10):.2f} dB per time-frequency bin",
)  # fmt: skip
IMU = Space("imu", "the file's own units: m/s^2 (accelerometer), rad/s (gyroscope)", element_axes=(-2,))


def clip_normalise(x: Float[Tensor, "*b 3 h w"]) -> Float[Tensor, "*b 3 h w"]:
    mean, std = (torch.tensor(values, dtype=x.dtype, device=x.device).view(3, 1, 1) for values in (CLIP_MEAN, CLIP_STD))
    return (x - mean) / std


def log_mel_clips(waveform: Float[Tensor, "b c n"], clips: int = 3) -> Float[Tensor, "b {clips} 128 204"]:
    """The official audio input without its channel axis: 2-second clips spread over a 16 kHz waveform (one clip: the
    middle one of three).

    Per clip: remove the mean over all channels, filter banks of channel 0, pad with zeros (*before* normalising) or cut
    to 204 frames, normalise. The mean is taken from the waveform itself, clip after clip, as in the original: where
    clips overlap, the later one sees a small step.
    """
    ranges = sample_ranges(waveform.shape[-1], clips) if clips > 1 else sample_ranges(waveform.shape[-1], 3)[1:2]
    spectrograms = []
    for start, end in ranges:
        clip = waveform[..., start:end]
        clip = clip - clip.mean(dim=(1, 2), keepdim=True)
        waveform = torch.cat([waveform[..., :start], clip, waveform[..., end:]], dim=-1)
        mel = fbank(clip[:, 0], BINS).transpose(1, 2)[..., :SPECTROGRAM]  # b 128 frames
        spectrograms.append(F.pad(mel, (0, SPECTROGRAM - mel.shape[-1])))
    return (torch.stack(spectrograms, dim=1) - AUDIO_MEAN) / AUDIO_SCALE


@dataclass(frozen=True)
class ImageBindInputs:
    """The choices in preprocessing, and the InputSpecs and converters by modality.

    `official_video`: all fifteen crops of a video (native `30 3 224 224`) instead of the middle one of them (`2 3 224
    224`). `audio_clips`, `audio_seconds`: clips per waveform and its length. The official code takes three clips of a
    file of any length; so does `audio_clips=3` when `audio_seconds` is the length of the files (5 for ESC-50). By
    default one clip, the middle one of those three. A shorter file is filled up with silence (officially with zeros in
    the *spectrogram*, which `audio_seconds` below 2 reproduces). `thermal_scaled`: (x - 0.5) / 0.5 as UniBind does,
    False for x itself (which of them ImageBind used is not published). `focal`, `baseline`, `disparity_unit`: metres of
    depth -> disparity focal * baseline / depth in pixels, as a share of `disparity_unit`. ImageBind's depth input is
    not published: mean, standard deviation and disparity are the community's, the focal length is Kinect's, and the
    unit of 75 pixels is ours, the one under which the mean of 0.0418 is plausible indoors.
    """

    official_video: bool = False
    audio_clips: int = 1
    audio_seconds: float = 2.0
    thermal_scaled: bool = True
    focal: float = 518.858
    baseline: float = 0.075
    disparity_unit: float = 75.0

    def __post_init__(self) -> None:
        if self.samples < FRAME:
            raise InputError(f"audio_seconds={self.audio_seconds} is shorter than one frame of 0.025 s")
        if self.audio_clips < 1:
            raise InputError(f"audio_clips={self.audio_clips}; expected 1 (the middle clip) or more (3 officially)")

    @property
    def samples(self) -> int:
        return round(self.audio_seconds * RATE)

    # ------------------------------------------------------------------------------ decoded file -> native tensor

    def prepare_video(self, decoded: Video) -> Float[Tensor, "t 3 224 224"]:
        return preparation.video(decoded, self.official_video)

    def prepare_audio(self, decoded: Audio) -> Float[Tensor, "1 n"]:
        """The first channel at 16 kHz (the official filter banks read no other), its middle or filled up; resampling
        overshoot is cut off.
        """
        first = torch.from_numpy(np.ascontiguousarray(decoded.waveform[:1])).float()
        waveform = resample_middle(first, decoded.rate, RATE, self.samples).clamp(-1, 1)
        spare = waveform.shape[-1] - self.samples
        if spare <= 0:
            return F.pad(waveform, (0, -spare))
        start = sample_ranges(waveform.shape[-1], 3, Fraction(self.samples, RATE))[1][0]
        return waveform[:, start : start + self.samples]

    def prepare_depth(self, decoded: Depth) -> Float[Tensor, "1 224 224"]:
        disparity = self.focal * self.baseline / decoded.metres.clip(NEAREST, FARTHEST)
        return preparation.plane((disparity / self.disparity_unit).clip(0, 1)).clamp(0, 1)

    def prepare_imu(self, decoded: Imu) -> Float[Tensor, "6 2000"]:
        """The middle five seconds at 400 Hz, linearly interpolated; a shorter recording is held at its ends."""
        count = decoded.signal.shape[1]
        seconds = max((count - 1) / decoded.rate - IMU_SECONDS, 0) / 2 + np.arange(IMU_STEPS) * IMU_SECONDS / IMU_STEPS
        rows = [np.interp(seconds * decoded.rate, np.arange(count), row) for row in decoded.signal]
        return torch.from_numpy(np.stack(rows)).float()

    # ----------------------------------------------------------------------- native tensor -> official input tensor

    def video(self, x: Float[Tensor, "b t 3 h w"]) -> Float[Tensor, "b s 3 2 h w"]:
        return clip_normalise(x).unflatten(1, (-1, preparation.FRAMES)).transpose(2, 3)

    def log_mel(self, x: Float[Tensor, "b 1 n"]) -> Float[Tensor, "b s 128 204"]:
        return log_mel_clips(x, self.audio_clips)

    def audio(self, x: Float[Tensor, "b 1 n"]) -> Float[Tensor, "b s 1 128 204"]:
        return self.log_mel(x)[:, :, None]

    def audio_from_log_mel(self, x: Float[Tensor, "b s 128 204"]) -> Float[Tensor, "b s 1 128 204"]:
        return x[:, :, None]

    def thermal(self, x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        return (x - 0.5) / 0.5 if self.thermal_scaled else x

    def depth(self, x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b 1 h w"]:
        return (x - DEPTH_MEAN) / DEPTH_STD

    def imu(self, x: Float[Tensor, "b 6 2000"]) -> Float[Tensor, "b 6 2000"]:
        return x

    # --------------------------------------------------------------------------------------------------- the tables

    def specs(self) -> dict[str, InputSpec]:
        """How every modality is entered."""
        frames = preparation.FRAMES * (
            preparation.OFFICIAL_CLIPS * preparation.OFFICIAL_CROPS if self.official_video else 1
        )
        disparity = Space(
            "disparity", f"share of {self.disparity_unit:g} pixels of disparity", 0.0, 1.0,
            explain=lambda radius: f"{radius * self.disparity_unit:.3g} pixels of disparity",
        )  # fmt: skip
        mel = FrontEnd(LOG_MEL, (self.audio_clips, BINS, SPECTROGRAM), self.log_mel)
        return {
            "image": InputSpec("image", (3, SIDE, SIDE), PIXELS, preparation.image),
            "video": InputSpec("video", (frames, 3, SIDE, SIDE), PIXELS, self.prepare_video),
            "audio": InputSpec(
                "audio",
                (1, self.samples),
                WAVEFORM,
                self.prepare_audio,
                fronts={LOG_MEL.name: mel},
                attack_space=LOG_MEL.name,
            ),
            "depth": InputSpec("depth", (1, SIDE, SIDE), disparity, self.prepare_depth),
            "thermal": InputSpec("thermal", (1, SIDE, SIDE), PIXELS, preparation.thermal),
            "imu": InputSpec("imu", (6, IMU_STEPS), IMU, self.prepare_imu),
        }

    def converters(self) -> dict[tuple[str, str], Callable[[Tensor], Tensor]]:
        """(modality, space) -> native tensors to official input tensors."""
        return {
            ("image", "pixels"): clip_normalise,
            ("video", "pixels"): self.video,
            ("audio", "waveform"): self.audio,
            ("audio", "logmel"): self.audio_from_log_mel,
            ("depth", "disparity"): self.depth,
            ("thermal", "pixels"): self.thermal,
            ("imu", "imu"): self.imu,
        }
