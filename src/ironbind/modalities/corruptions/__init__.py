"""CORRUPTIONS: name -> what wear, weather and bad microphones do to a kind of input, without an adversary and without a
budget; severity 1 to 5.

Kin: ImageNet-C and CIFAR-10-C (Hendrycks and Dietterich 2019, arXiv 1903.12261) for pictures, PointCloud-C (Ren et al.
2022, arXiv 2202.03377) for points, SpecAugment (Park et al. 2019, arXiv 1904.08779) for spectrograms; a strength that
is not said to be theirs is ours. Everything works on tensors in a space, so that one table serves every encoder. Adding
one is one function, one `Kind`, and one line here.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from ironbind.core.registry import Table
from ironbind.modalities.corruptions.kind import SMALL as SMALL
from ironbind.modalities.corruptions.kind import Kind as Kind
from ironbind.numerics.norms import into_bounds
from ironbind.types import InputError, SampleRandom, Space

SEVERITIES = (1, 2, 3, 4, 5)

CORRUPTIONS = Table(
    "corruption",
    {
        "gaussian_noise": "ironbind.modalities.corruptions.pictures:GAUSSIAN_NOISE",
        "gaussian_blur": "ironbind.modalities.corruptions.pictures:GAUSSIAN_BLUR",
        "brightness": "ironbind.modalities.corruptions.pictures:BRIGHTNESS",
        "contrast": "ironbind.modalities.corruptions.pictures:CONTRAST",
        "pixelate": "ironbind.modalities.corruptions.pictures:PIXELATE",
        "occlusion": "ironbind.modalities.corruptions.pictures:OCCLUSION",
        "frame_drop": "ironbind.modalities.corruptions.pictures:FRAME_DROP",
        "frame_freeze": "ironbind.modalities.corruptions.pictures:FRAME_FREEZE",
        "white_noise": "ironbind.modalities.corruptions.sounds:WHITE_NOISE",
        "clipping": "ironbind.modalities.corruptions.sounds:CLIPPING",
        "time_shift": "ironbind.modalities.corruptions.sounds:TIME_SHIFT",
        "low_pass": "ironbind.modalities.corruptions.sounds:LOW_PASS",
        "time_mask": "ironbind.modalities.corruptions.sounds:TIME_MASK",
        "frequency_mask": "ironbind.modalities.corruptions.sounds:FREQUENCY_MASK",
        "gain": "ironbind.modalities.corruptions.sounds:GAIN",
        "jitter": "ironbind.modalities.corruptions.points:JITTER",
        "dropout": "ironbind.modalities.corruptions.points:DROPOUT",
        "rotation": "ironbind.modalities.corruptions.points:ROTATION",
        "outliers": "ironbind.modalities.corruptions.points:OUTLIERS",
        "event_drop": "ironbind.modalities.corruptions.events:EVENT_DROP",
        "hot_pixels": "ironbind.modalities.corruptions.events:HOT_PIXELS",
        "time_jitter": "ironbind.modalities.corruptions.events:TIME_JITTER",
    },
)


@dataclass(frozen=True)
class CommonCorruption:
    """One row of CORRUPTIONS at one severity. No Attack: it knows neither goal nor encoder, and its strength is not a
    distance.

    Raises UnknownName for an unknown corruption, InputError for an unknown severity.
    """

    name: str
    severity: int = 3

    def __post_init__(self) -> None:
        CORRUPTIONS[self.name]  # raises with near misses
        if self.severity not in SEVERITIES:
            raise InputError(f"severity {self.severity!r} is not known; expected 1 (slight) to 5 (severe)")

    @property
    def norm(self) -> str:
        """What stands for the norm in tables: a severity is none."""
        return "severity"

    @property
    def written(self) -> str:
        """The severity as it stands in tables."""
        return str(self.severity)

    def describe(self, shape: tuple[int, ...]) -> str:
        """What the severity means for samples of a shape: "gaussian_noise, standard deviation 0.08"."""
        return f"{self.name}, {CORRUPTIONS[self.name].describe(self.severity, shape)}"

    def corrupt(
        self, x: Float[Tensor, "b ..."], modality: str, space: Space, rng: SampleRandom
    ) -> Float[Tensor, "b ..."]:
        """`x` corrupted, row by row at random, within the bounds of the space. The same rng corrupts alike at every
        severity, only more or less.

        What has nothing to lose stays as it is: silence under `white_noise` and `clipping`, one grey under `contrast`,
        `gaussian_blur` and `pixelate`, white under `brightness`, a still clip under `frame_freeze`, a clip of one frame
        under `frame_drop`. Severities that come to the same count (of frames, of coarse pixels) on a small input
        corrupt the same. Raises InputError where the corruption makes no sense.
        """
        kind = CORRUPTIONS[self.name]
        if not kind.suits(modality, space):
            fitting = ", ".join(names_for(modality, space)) or "nothing, as none is made for it"
            raise InputError(f"corruption {self.name!r} does not suit {modality} in {space.name}; expected {fitting}")
        return into_bounds(kind.apply(x, kind.strength(self.severity, tuple(x.shape[1:])), space, rng), space)


def names_for(modality: str, space: Space) -> tuple[str, ...]:
    """The names of those that make sense for a modality in a space."""
    return tuple(name for name in CORRUPTIONS if CORRUPTIONS[name].suits(modality, space))


def corruptions_for(modality: str, space: Space) -> tuple[CommonCorruption, ...]:
    """All that make sense for a modality in a space, each at every severity in rising order; () where none is made for
    it.
    """
    return tuple(CommonCorruption(name, severity) for name in names_for(modality, space) for severity in SEVERITIES)
