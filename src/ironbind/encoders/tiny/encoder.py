"""The built-in encoder: six modalities and text in one 128-dimensional space, trained on the built-in world (ours;
`scripts/train_tiny.py`).

It ships inside the package, needs no download, and is built like its big sisters: small stems, the shared trunk, one
space.
"""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import safetensors.torch
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor

from ironbind.core.placeholders import placeholder
from ironbind.encoders.shared.checkpoint import read_json
from ironbind.encoders.shared.official_form import OfficialForm, write_tensors
from ironbind.encoders.shared.resize import resize_and_crop
from ironbind.encoders.tiny.model import (
    DIM,
    FRAMES,
    MEL_FLOOR,
    MEL_FRAMES,
    MELS,
    POINTS,
    RATE,
    SAMPLES,
    SIDE,
    TinyModel,
)
from ironbind.modalities.spaces import EVENT_FRAMES, PIXELS, UNIT_SPHERE, WAVEFORM, log_mel
from ironbind.numerics.batching import padded
from ironbind.numerics.float16 import narrowed
from ironbind.numerics.networks import device_of
from ironbind.types import Audio, Events, FrontEnd, Image, InputError, InputSpec, Points, Space, Thermal, Video

WEIGHTS = Path(__file__).parent / "weights" / "tiny.safetensors"

# Every word of the built-in world: its sentences, its names (the held-out ones too) and the words that define them.
WORDS = """
a an one this is here there photo picture sound scan of the something thing , and with on alone moving leaning upright
slowly fast left right up down small medium large red orange yellow green cyan blue purple white metal wood glass
rubber stone fabric block ball cube cone barrel pyramid ring star cross heart gear spring bottle bowl dumbbell
hourglass mushroom table chair ladder hammer bell diamond moon bench round boxy flat tall long compact pointed hollow
open smooth branching legged toothed twisted curved bulging necked pinched
""".split()  # noqa: SIM905 - a list of 100 quoted words reads worse
PAD, UNKNOWN = 0, 1
LENGTH = 28
_NUMBER = {word: i for i, word in enumerate(WORDS, start=2)}


def tokenize(texts: Sequence[str]) -> Int[Tensor, "n k"]:
    """Word numbers of each text, lower-cased, padded or cut to 28; a word outside of the vocabulary counts as
    "unknown".
    """
    out = torch.full((len(texts), LENGTH), PAD)
    for row, text in zip(out, texts, strict=True):
        numbers = [_NUMBER.get(word, UNKNOWN) for word in re.findall(r"[a-z0-9]+|,", text.lower())][:LENGTH]
        row[: len(numbers)] = torch.tensor(numbers, dtype=torch.long)
    return out


# ----------------------------------------------------------------------------------------- decoded files -> tensors


def prepare_image(decoded: Image) -> Float[Tensor, "3 h w"]:
    """The middle square, resized (bicubic, antialiased), in [0, 1]."""
    picture = PIL.Image.fromarray(decoded.pixels)
    picture = picture if picture.size == (SIDE, SIDE) else resize_and_crop(picture, SIDE)
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).float() / 255


def prepare_video(decoded: Video) -> Float[Tensor, "t 3 h w"]:
    """Eight frames spread evenly over the clip, each like an image. Raises InputError for a clip without frames."""
    count = len(decoded.frames)
    if not count:
        raise InputError("video of 0 frames; expected at least one")
    chosen = np.floor((np.arange(FRAMES) + 0.5) * count / FRAMES).astype(int)
    return torch.stack([prepare_image(Image(decoded.frames[i])) for i in chosen])


def prepare_audio(decoded: Audio) -> Float[Tensor, "1 n"]:
    """One second at 8 kHz, the channels averaged: resampled where the rate differs, the middle of a longer sound,
    silence after a shorter one.
    """
    waveform = torch.from_numpy(np.ascontiguousarray(decoded.waveform, np.float32)).mean(0, keepdim=True)
    if waveform.shape[1] == 0:
        raise InputError("sound of 0 samples; expected at least one")
    if decoded.rate != RATE:
        length = int(waveform.shape[1] * Fraction(RATE, decoded.rate))
        start = max(length - SAMPLES, 0) // 2  # no more is computed than is taken
        waveform = _resample(waveform, decoded.rate, start, min(start + SAMPLES, length))
    spare = waveform.shape[1] - SAMPLES
    if spare >= 0:
        return waveform[:, spare // 2 : spare // 2 + SAMPLES]
    return torch.nn.functional.pad(waveform, (0, -spare))


BLOCK = 2**20  # numbers of the matrix (samples by taps) that resampling holds at a time


def _resample(waveform: Float[Tensor, "1 n"], rate: int, start: int, stop: int) -> Float[Tensor, "1 m"]:
    """Samples `start` to `stop` at 8 kHz, through a Hann-windowed sinc of 32 zero crossings, cut off just below the
    lower of the two Nyquist frequencies.
    """
    cutoff = 0.97 * min(1.0, float(Fraction(RATE, rate)))
    reach = int(np.ceil(16 / cutoff))
    rows = max(1, BLOCK // (2 * reach))
    pieces = [np.zeros(0)]
    for begin in range(start, stop, rows):
        near, kernel = _resampling(rate, cutoff, reach, begin, min(begin + rows, stop))
        inside = (near >= 0) & (near < waveform.shape[1])
        samples = waveform.numpy()[0, near.clip(0, waveform.shape[1] - 1)].astype(np.float64) * inside
        pieces.append((samples * kernel).sum(1).clip(-1, 1))
    return torch.from_numpy(np.concatenate(pieces).astype(np.float32))[None]


@lru_cache(maxsize=2)  # sounds of one rate and length need the same one; at most 17 MB each
def _resampling(rate: int, cutoff: float, reach: int, begin: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Which input samples each of the samples `begin` to `end` is made of, and their weights. Not to be changed."""
    times = np.arange(begin, end) * (rate / RATE)  # in input samples
    near = np.floor(times).astype(np.int64)[:, None] + np.arange(-reach + 1, reach + 1)
    gap = times[:, None] - near
    return near, cutoff * np.sinc(cutoff * gap) * np.cos(np.pi / 2 * np.clip(gap / reach, -1, 1)) ** 2


def prepare_points(decoded: Points) -> Float[Tensor, "n 3"]:
    """256 points spread evenly over the file's order (all of them, repeated, where there are fewer), centred, the
    farthest at radius 1.
    """
    xyz = np.asarray(decoded.xyz, np.float32)
    if not len(xyz):
        raise InputError("point cloud of 0 points; expected at least one")
    chosen = xyz[np.arange(POINTS) * len(xyz) // POINTS if len(xyz) >= POINTS else np.arange(POINTS) % len(xyz)]
    chosen = chosen - (chosen.max(0) + chosen.min(0)) / 2
    radius = np.sqrt((chosen * chosen).sum(1).max())
    return torch.from_numpy(chosen / max(radius, np.float32(1e-9))).clamp(-1, 1)


def prepare_thermal(decoded: Thermal) -> Float[Tensor, "1 h w"]:
    """The middle square, resized in float (bicubic, antialiased), kept within [0, 1]."""
    picture = PIL.Image.fromarray(np.asarray(decoded.intensity, np.float32))
    picture = picture if picture.size == (SIDE, SIDE) else resize_and_crop(picture, SIDE)
    return torch.from_numpy(np.array(picture))[None].clamp(0, 1)


def prepare_events(decoded: Events) -> Float[Tensor, "2 h w"]:
    """Time surfaces (decreases, increases): at each pixel how late its last event came, 0 = at the beginning or never,
    1 = at the very end.

    Another sensor's pixels are scaled to 32 x 32. Continuous, so that no rounding hides a small change.
    """
    surface = np.zeros((2, SIDE, SIDE), np.float64)
    if len(decoded.t):
        begin, end = float(decoded.t[0]), float(decoded.t[-1])
        row, column = (
            np.asarray(decoded.y, np.int64) * SIDE // decoded.height,
            np.asarray(decoded.x, np.int64) * SIDE // decoded.width,
        )
        late = (np.asarray(decoded.t, np.float64) - begin) / max(end - begin, 1e-9)
        np.maximum.at(surface, (np.asarray(decoded.p, np.int64), row, column), late)
    return torch.from_numpy(surface.astype(np.float32))


# --------------------------------------------------------------------------------------------------------- encoder


class TinyEncoder:
    """An Encoder over `TinyModel`, frozen; `model(modality, x)` is the network that adapters may attach to."""

    name = "tiny"
    dim = DIM
    sample_rate = RATE  # Hz, of its waveforms
    licence = "Apache-2.0"
    citation = "ironbind's built-in encoder, trained on the built-in world"

    official = OfficialForm(
        "tiny.safetensors",
        False,
        lambda model, modality, path, head: write(model, path),
        lambda path, modality: load(path),
    )

    def __init__(self, model: TinyModel, weights_sha256: str) -> None:
        self.model = model.requires_grad_(False).eval()
        self.weights_sha256 = weights_sha256
        self.parameters_per_modality = model.parameters_per_modality()
        mel = FrontEnd(log_mel(-MEL_FLOOR), (1, MELS, MEL_FRAMES), model.log_mel)
        self.inputs: Mapping[str, InputSpec] = {
            "image": InputSpec("image", (3, SIDE, SIDE), PIXELS, prepare_image),
            "video": InputSpec("video", (FRAMES, 3, SIDE, SIDE), PIXELS, prepare_video),
            "audio": InputSpec("audio", (1, SAMPLES), WAVEFORM, prepare_audio, {"logmel": mel}, "logmel"),
            "point": InputSpec("point", (POINTS, 3), UNIT_SPHERE, prepare_points),
            "thermal": InputSpec("thermal", (1, SIDE, SIDE), PIXELS, prepare_thermal),
            "event": InputSpec("event", (2, SIDE, SIDE), EVENT_FRAMES, prepare_events),
        }

    def to(self, device: Any) -> "TinyEncoder":
        """This encoder, moved to `device`."""
        self.model.to(device)
        return self

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        """Unit rows, differentiable in `x`; `x` in the native space, or in "logmel" for audio. Raises InputError for
        what does not fit.
        """
        if modality not in self.inputs:
            raise InputError(f"modality {modality!r} is not known to tiny; expected one of {', '.join(self.inputs)}")
        spec = self.inputs[modality]
        chosen: Space = spec.space if space is None else spec.space_named(space)
        shape = spec.shape_in(chosen.name)
        if tuple(x.shape[1:]) != shape:
            raise InputError(
                f"{modality} of shape {tuple(x.shape)} does not fit tiny; expected (batch,"
                f" {', '.join(map(str, shape))}) in {chosen.name}"
            )
        return self.model(modality, x)

    @torch.no_grad()
    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Unit rows. Words outside of the small vocabulary count as unknown."""
        numbers = tokenize(list(texts)).to(device_of(self))
        return padded(partial(self.model, "text"))(numbers)


def _read(weights: Path) -> tuple[dict[str, Tensor], str]:
    """The tensors of a file and its sha256, which must be the one in the .json beside it."""
    expected = "expected a whole tiny.safetensors as scripts/train_tiny.py writes it"
    try:
        held = weights.read_bytes()
    except OSError as error:
        raise InputError(f"weights {str(weights)!r} cannot be read ({error.strerror}); {expected}") from None
    content = placeholder(weights)
    if content:
        raise InputError(f"weights {str(weights)!r} is {content}; {expected}")
    sha256 = hashlib.sha256(held).hexdigest()
    card = weights.with_suffix(".json")
    said = read_json(card).get("sha256") if card.is_file() else sha256
    if said != sha256:
        raise InputError(
            f"weights {str(weights)!r} have sha256 {sha256[:12]}..., not the one in {card.name}; {expected}"
        )
    try:
        return safetensors.torch.load(held), sha256
    except (SafetensorError, ValueError):
        raise InputError(f"weights {str(weights)!r} are truncated or corrupt; {expected}") from None


def write(model: TinyModel, path: Path) -> None:
    """The network as a file that `load` takes, without the .json that may stand beside it: float16 where that loses
    nothing, else float32.
    """
    write_tensors(path, {name: narrowed(value) for name, value in model.state_dict().items()})


def load(weights: str | Path | None = None, device: str | torch.device = "cpu") -> TinyEncoder:
    """The built-in encoder on `device`, with its shipped weights, or with those of another file of the same kind.
    Raises InputError.
    """
    path = WEIGHTS if weights is None else Path(weights)
    tensors, sha256 = _read(path)
    model = TinyModel(2 + len(WORDS), LENGTH)
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise InputError(f"weights {str(path)!r} do not fit tiny ({str(error).splitlines()[1].strip()})") from None
    return TinyEncoder(model, sha256).to(device)


Prepare = Callable[[Any], Float[Tensor, "..."]]
PREPARE: dict[str, Prepare] = {
    "image": prepare_image, "video": prepare_video, "audio": prepare_audio,
    "point": prepare_points, "thermal": prepare_thermal, "event": prepare_events,
}  # fmt: skip
