"""The face of `core`: the nouns of ironbind in one import. Everybody may use it."""

from ironbind.core.attack import Attack, Attacked, Embed, Goal, SampleRandom, StagedAttack
from ironbind.core.budget import (
    L1,
    L2,
    NORMS,
    SNR,
    Budget,
    EventShare,
    Linf,
    PointwiseL2,
    Space,
    budget_of,
)
from ironbind.core.calibration import (
    PARTS,
    AdapterShape,
    AdversarialTraining,
    CalibrationRecipe,
    Objective,
    Stage,
    Views,
)
from ironbind.core.encoder import CalibratedEncoder, ClassCenters, Encoder, FrontEnd, InputSpec, Modality
from ironbind.core.epsilon import Epsilon
from ironbind.core.errors import InputError
from ironbind.core.samples import Audio, Decoded, Depth, Events, Image, Imu, Points, Remark, Thermal, Video
from ironbind.core.task import AttackFactory, Dataset, Task

__all__ = [
    "AdapterShape",
    "AdversarialTraining",
    "Attack",
    "AttackFactory",
    "Attacked",
    "Audio",
    "Budget",
    "CalibratedEncoder",
    "CalibrationRecipe",
    "ClassCenters",
    "Dataset",
    "Decoded",
    "Depth",
    "Embed",
    "Encoder",
    "Epsilon",
    "EventShare",
    "Events",
    "FrontEnd",
    "Goal",
    "Image",
    "Imu",
    "InputError",
    "InputSpec",
    "L1",
    "L2",
    "Linf",
    "Modality",
    "NORMS",
    "Objective",
    "PARTS",
    "Points",
    "PointwiseL2",
    "Remark",
    "SNR",
    "SampleRandom",
    "Space",
    "Stage",
    "StagedAttack",
    "Task",
    "Thermal",
    "Video",
    "Views",
    "budget_of",
]
