"""A data set and encoders small enough to reason about: nothing is loaded, everything follows from a seed.

An instance is a latent vector: its class's direction plus some of its own. Every modality renders that vector through
an orthonormal frame, and the encoders read it back through the same frame, with or without a non-linear part, so that
they are good when clean and fragile when attacked. Captions name class and instance; the text side knows both latents.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
import torch
from torch import nn
from torch.nn.functional import normalize

from ironbind import api
from ironbind.attacks import PGD, Ensemble
from ironbind.encoders.shared.trunk import Trunk
from ironbind.evaluate.evaluator import Evaluator
from ironbind.evaluate.protocols.corruption import UnderCorruption
from ironbind.evaluate.protocols.nearest_example import NearestExample
from ironbind.evaluate.protocols.replay import Replay
from ironbind.evaluate.protocols.white_box import WhiteBox
from ironbind.evaluate.run_context import RunContext
from ironbind.evaluate.store.verdict_store import VerdictStore
from ironbind.modalities.spaces import PIXELS, WAVEFORM, log_mel
from ironbind.numerics.sample_random import PerSample, seed_of
from ironbind.types import Audio, FrontEnd, Image, InputSpec, Thermal

CLASSES = ("ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen")
LATENT = 16
SHAPES = {"image": (3, 8, 8), "audio": (1, 64), "thermal": (1, 6, 6)}
GAIN = {"image": 0.35, "audio": 0.25, "thermal": 0.2}
CENTER = {"image": 0.5, "audio": 0.0, "thermal": 0.5}


def _normal(*parts: object, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed_of(*parts)))


@cache  # a decomposition for every decoded sample would cost more than the encoders; whoever changes it copies it
def frame(name: str) -> torch.Tensor:
    """Orthonormal columns: samples of modality `name` x LATENT, or a rotation of the flattened audio for "mel"."""
    size = 64 if name == "mel" else int(np.prod(SHAPES[name]))
    width = size if name == "mel" else LATENT
    return torch.linalg.qr(_normal("frame", name, shape=(size, width))).Q


@cache
def class_latent(name: str) -> torch.Tensor:
    """The unit direction of a class."""
    return normalize(_normal("class", name, shape=(LATENT,)), dim=0)


@cache
def instance_latent(name: str, sample: str) -> torch.Tensor:
    """Class direction plus what is this instance's own."""
    return normalize(class_latent(name) + 0.7 * normalize(_normal("instance", sample, shape=(LATENT,)), dim=0), dim=0)


class ToyData:
    """`n` instances in memory; sample i of class i mod 8. `corrupt` maps a modality to what its sample 0 decodes to
    instead.
    """

    def __init__(
        self,
        n: int = 24,
        seed: int = 0,
        captions: bool = True,
        modalities: Sequence[str] = ("image", "audio", "thermal"),
        corrupt=None,
    ):
        self.name = "toys"
        self.modalities = tuple(modalities)
        self.classes = CLASSES
        self.ids = [f"{seed}-{i}" for i in range(n)]
        self.labels = [i % len(CLASSES) for i in range(n)]
        self.captions = (
            [f"{CLASSES[label]} #{sample}" for label, sample in zip(self.labels, self.ids, strict=True)]
            if captions
            else None
        )
        self.templates = None
        self.fingerprint = f"toys-{n}-{seed}"
        self.corrupt = corrupt or {}
        self.decoded = 0

    def __len__(self) -> int:
        return len(self.ids)

    def split(self, name: str, samples: int) -> "ToyData":
        return ToyData(samples, seed=seed_of(name, self.ids[0]) % 1000 + 1, modalities=self.modalities)

    def decode(self, modality: str, indices: Sequence[int]) -> list:
        self.decoded += len(indices)
        return [
            self.corrupt[modality]
            if index == 0 and modality in self.corrupt
            else rendered(modality, CLASSES[self.labels[index]], self.ids[index])
            for index in indices
        ]


@cache
def rendered(modality: str, label: str, sample: str) -> Image | Audio | Thermal:
    """An instance as a modality sees it."""
    flat = (
        CENTER[modality]
        + GAIN[modality] * frame(modality) @ instance_latent(label, sample)
        + 0.01 * _normal(sample, modality, shape=(len(frame(modality)),))
    )
    native = flat.reshape(SHAPES[modality]).numpy()
    if modality == "image":
        return Image((255 * native.clip(0, 1)).round().astype(np.uint8).transpose(1, 2, 0))
    if modality == "audio":
        return Audio(native.clip(-1, 1).astype(np.float32), 16000)
    return Thermal(native[0].clip(0, 1).astype(np.float32))


def prepare_image(decoded: Image) -> torch.Tensor:
    return torch.from_numpy(decoded.pixels.transpose(2, 0, 1).copy()).float() / 255


def prepare_audio(decoded: Audio) -> torch.Tensor:
    return torch.from_numpy(decoded.waveform.copy())


def prepare_thermal(decoded: Thermal) -> torch.Tensor:
    return torch.from_numpy(decoded.intensity.copy())[None]


class Linear(nn.Module):
    """z = normalise(F^T (x - center)), one frame F per modality: margins and their optima have closed forms."""

    def __init__(self, **knobs):
        super().__init__()
        self.name = type(self).__name__.lower()
        self.dim = LATENT
        for modality in SHAPES:
            self.register_parameter(modality, nn.Parameter(frame(modality).clone()))
        self.inputs = {
            "image": InputSpec("image", SHAPES["image"], PIXELS, prepare_image),
            "audio": InputSpec("audio", SHAPES["audio"], WAVEFORM, prepare_audio),
            "thermal": InputSpec("thermal", SHAPES["thermal"], PIXELS, prepare_thermal),
        }
        self.extra(**knobs)
        self.requires_grad_(False).eval()

    def extra(self) -> None: ...

    @cached_property
    def weights_sha256(self) -> str:
        return state_hash(self)

    def embed(self, modality, x, space=None):
        return normalize(self.read(modality, x, space), dim=-1)

    def read(self, modality, x, space):
        return (x - CENTER[modality]).flatten(1) @ self.get_parameter(modality)

    def embed_text(self, texts):
        """Reads a class, or a class and an instance, off the end: "a photo of a fox.", "fox #3"."""
        words = [text.rstrip(".").split() for text in texts]
        return torch.stack(
            [
                instance_latent(word[-2], word[-1][1:]) if word[-1][0] == "#" else class_latent(word[-1])
                for word in words
            ]
        )


class Conv(Linear):
    """`Linear` plus a convolutional part; audio can also be entered as a "logmel" of shape 1 8 8."""

    def extra(self) -> None:
        torch.manual_seed(seed_of("conv"))
        self.of = nn.ModuleDict({"image": self.tower(3), "logmel": self.tower(1), "thermal": self.tower(1, 3)})
        self.register_buffer("rotation", frame("mel").clone())
        mel = FrontEnd(log_mel(80.0), (1, 8, 8), self.mel)
        self.inputs["audio"] = InputSpec(
            "audio", SHAPES["audio"], WAVEFORM, prepare_audio, fronts={"logmel": mel}, attack_space="logmel"
        )

    @staticmethod
    def tower(channels: int, side: int = 4) -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(channels, 8, 3, 2, 1),
            nn.GELU(),
            nn.Conv2d(8, 12, 3, 1, 1),
            nn.GELU(),
            nn.Flatten(),
            nn.Linear(12 * side * side, LATENT),
        )

    def mel(self, x):
        return 0.5 + 0.5 * torch.tanh(4 * x.flatten(1) @ self.rotation).reshape(-1, 1, 8, 8)

    def read(self, modality, x, space):
        if modality != "audio":
            return super().read(modality, x, space) + 0.3 * self.of[modality](x)
        mel = x if space == "logmel" else self.mel(x)
        return (2 * mel - 1).flatten(1) @ (self.rotation.T @ self.audio) + 0.2 * self.of["logmel"](mel)


class Transformer(Linear):
    """`Linear` plus the encoders' shared trunk over patches; images only."""

    def extra(self) -> None:
        torch.manual_seed(seed_of("transformer"))
        self.stem = nn.Conv2d(3, 16, 2, 2)
        self.trunk = Trunk(16, 2, 2)
        self.head = nn.Linear(16, LATENT)

    def read(self, modality, x, space):
        tokens = self.stem(x - 0.5).flatten(2).transpose(1, 2)
        return super().read(modality, x, space) + 0.3 * self.head(self.trunk(tokens)[:, 0])


class Leaky(Linear):
    """`Linear` for images plus a layer that reads, `gain` times too loudly, what no sample holds: directions orthogonal
    to the frame.

    Clean inputs never touch it; an attacker finds nothing better. It leaks into all of the embedding, so that no head
    can shut it out, and a low-rank update of the layer can.
    """

    def extra(self, gain: float = 2.0) -> None:
        torch.manual_seed(seed_of("leak"))
        own = frame("image")
        loose = _normal("leak", shape=(len(own), LATENT))
        self.leak = nn.Linear(len(own), LATENT, bias=False)
        with torch.no_grad():
            self.leak.weight.copy_(gain * torch.linalg.qr(loose - own @ (own.T @ loose)).Q.T)

    def read(self, modality, x, space):
        return super().read(modality, x, space) + (self.leak((x - 0.5).flatten(1)) if modality == "image" else 0.0)


class Brightness(Linear):
    """Sees nothing but the mean brightness m, as the angle `turn` m: an linf budget of eps moves it by exactly `turn`
    eps, no further.
    """

    def extra(self, turn: float = 3.0) -> None:
        self.turn = turn

    def read(self, modality, x, space):
        angle = self.turn * x.flatten(1).mean(dim=1, keepdim=True)
        return torch.cat([angle.cos(), angle.sin(), torch.zeros(len(x), LATENT - 2)], dim=1)


class NotANumber(Linear):
    """`Linear`, but a sample whose first coordinate exceeds `above` has an embedding of nan."""

    def extra(self, above: float = -10.0) -> None:
        self.above = above

    def read(self, modality, x, space):
        bad = x.flatten(1)[:, :1] > self.above
        return torch.where(bad, torch.nan, super().read(modality, x, space))


class Constant(Linear):
    """The same embedding for everything, with a gradient that is zero."""

    def read(self, modality, x, space):
        return 0 * super().read(modality, x, space) + class_latent("ant")


class Counting:
    """An encoder that writes down how many rows each of its passes had."""

    def __init__(self, inner) -> None:
        self.inner = inner
        self.rows: list[int] = []

    def __getattr__(self, name):
        return getattr(self.__dict__["inner"], name)

    def embed(self, modality, x, space=None):
        self.rows.append(len(x))
        return self.inner.embed(modality, x, space)


@dataclass(frozen=True)
class Scorer:
    """A goal over "embeddings" that are the inputs themselves: loss w . z, reached above `threshold`."""

    w: torch.Tensor  # b d
    threshold: float = torch.inf

    def loss(self, z):
        return (self.w * z).sum(dim=1)

    def reached(self, z):
        return self.loss(z) > self.threshold

    def using(self, loss):
        return self

    def rivals(self, z, count):
        return torch.empty((len(z), 0), dtype=torch.long)

    def against(self, rival):
        return self

    def __getitem__(self, rows):
        return Scorer(self.w[rows], self.threshold)


def state_hash(module: nn.Module) -> str:
    """A hash of every parameter and buffer."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode() + value.contiguous().numpy().tobytes())
    return digest.hexdigest()


def rng(n: int, seed: int = 0, purpose: str = "test") -> PerSample:
    """Per-sample randomness for samples "0", "1", ..."""
    return PerSample.of(seed, [str(i) for i in range(n)], purpose)


def shortened(attack, **most: int):
    """The attack with at most so many steps, queries, ...; an ensemble with stages cut down alike."""
    if isinstance(attack, Ensemble):
        return replace(attack, stages=tuple(shortened(stage, **most) for stage in attack.stages))
    knobs = {name: min(getattr(attack, name), limit) for name, limit in most.items() if hasattr(attack, name)}
    return replace(attack, **knobs)


# ----------------------------------------------------------------------------------------------- evaluations of a toy


def audit(task, attack, budget, **options):
    """`ironbind.audit` without the black-box search, which costs more than most toys are worth."""
    return api.audit(task, attack, budget, **{"black_box": None, **options})


def curve(task, attack, largest, radii=None, **options):
    """`ironbind.curve` without the black-box search."""
    return api.curve(task, attack, largest, radii, **{"black_box": None, **options})


def white_box(task, attacks, budgets, store=None, threat_model="whitebox", *, seed=0, batch_size=64, **options):
    """An evaluator of white-box attacks."""
    context = RunContext(store or VerdictStore(), seed, batch_size)
    return Evaluator(task, WhiteBox(tuple(attacks), tuple(budgets), threat_model, **options), context)


def replay(task, source, store=None):
    """An evaluator of the examples that another one keeps."""
    return Evaluator(task, Replay(source), RunContext(store or VerdictStore()))


def nearest(task, attacks, largest, store=None, *, seed=0, batch_size=64, **options):
    """An evaluator of nearest examples."""
    context = RunContext(store or VerdictStore(), seed, batch_size)
    return Evaluator(task, NearestExample(tuple(attacks), largest, **options), context)


def corrupted(task, corruptions, store=None, *, seed=0, batch_size=64):
    """An evaluator of corruptions."""
    return Evaluator(task, UnderCorruption(tuple(corruptions)), RunContext(store or VerdictStore(), seed, batch_size))


class Noted:
    """A training attack that notes within what it is asked, and for which goal."""

    name = "noted"

    def __init__(self) -> None:
        self.budgets, self.goals = [], []
        self.attack = PGD(steps=1, step_size=1.25, loss="ce", stop_when_reached=False)

    def __call__(self, embed, x, goal, space, budget, rng):
        self.budgets.append((budget.norm, budget.written, round(budget.radius, 6)))
        self.goals.append(goal)
        return self.attack(embed, x, goal, space, budget, rng)
