"""A job: everything that ironbind evaluates of one modality of one encoder. Jobs are values, so that they travel to
worker processes and into records.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ironbind.evaluate.attack_variants import AnyAttack
from ironbind.runs.data_spec import DataSpec
from ironbind.runs.defaults import BLACK_BOX, DEFAULT_ATTACKS
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.runs.examined_defences import ExaminedDefence
from ironbind.runs.extra_tasks import ExtraTask
from ironbind.types import Attack, Budget, CalibrationRecipe, Certifier


@dataclass(frozen=True)
class TrainingSpec:
    """Calibrations to train and evaluate. `data`: what to train on (None: the data set's training split). `samples`:
    that examples are crafted on once; `steps`: of stages that train on fresh examples (None: each recipe's own).
    `shared`: those stages go over the same `samples` too, as often as it takes, rather than over fresh ones.
    """

    recipes: tuple[CalibrationRecipe, ...] = ()
    data: DataSpec | None = None
    samples: int | None = None
    steps: int | None = None
    shared: bool = False


@dataclass(frozen=True)
class CenterSpec:
    """What class centers are made of: `prompts`, a name of PROMPTS or a file of templates (None: the data set's own,
    else the modality's), or a `file` of centers instead.
    """

    prompts: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class CheckSpec:
    """The attack checks of a job. `left_out`: why they are not run, "" to run them. `black_box`: the search without
    gradients of check C17b (None: that check is skipped).
    """

    left_out: str = ""
    black_box: Attack | None = BLACK_BOX


@dataclass(frozen=True)
class CertificateSpec:
    """What is certified: by which `certifier`, at which `radii` per space name, in l2 or as a signal-to-noise ratio.
    `classes`: zero-shot classification. `extra_tasks`: what else.
    """

    certifier: Certifier
    radii: Mapping[str, tuple[Budget, ...]]
    classes: bool = True
    extra_tasks: tuple[ExtraTask, ...] = ()


@dataclass(frozen=True)
class Job:
    """One modality of one encoder on one data set: audit, calibrations (replayed and adaptive), extra tasks,
    corruptions, certificates, test-time defences, gallery.

    `spaces`: which to attack (): the default one. `budgets`: per space name; spaces without an entry get the default
    ones. `attacks`: () for none. `threat_model`, `top_k`: see `audit`. `curve`: attacks that seek nearest examples, up
    to the largest budget; accuracy is read off at all of several budgets (see `evaluate.accuracy_curve`). `corrupted`:
    accuracy under corruptions too. `certificate`: certified accuracy too. `extra_tasks`: those besides zero-shot
    classification. `gallery_items`: samples to show; they need strong examples, as replay does. `about`: facts for the
    record.
    """

    modality: str
    encoder: EncoderSpec = EncoderSpec()
    data: DataSpec = DataSpec()
    spaces: tuple[str, ...] = ()
    budgets: Mapping[str, tuple[Budget, ...]] = field(default_factory=dict)
    attacks: tuple[AnyAttack, ...] = DEFAULT_ATTACKS
    threat_model: str | None = None
    top_k: bool = False
    curve: tuple[Attack, ...] = ()
    corrupted: bool = False
    certificate: CertificateSpec | None = None
    training: TrainingSpec = TrainingSpec()
    extra_tasks: tuple[ExtraTask, ...] = ()
    centers: CenterSpec = CenterSpec()
    checks: CheckSpec = CheckSpec()
    gallery_items: int = 1
    defences: tuple[ExaminedDefence, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    batch_size: int = 64

    @property
    def label(self) -> str:
        """The name of the job in progress messages."""
        return self.modality

    @property
    def towers(self) -> EncoderSpec:
        """The encoder with every tower that this job needs."""
        proven = self.certificate.extra_tasks if self.certificate else ()
        others = [other for extra in (*self.extra_tasks, *proven) for other in extra.others]
        return self.encoder.with_towers([self.modality, *others])

    def asking(self, *extra_tasks: ExtraTask) -> "Job":
        """The same job with further tasks."""
        return replace(self, extra_tasks=(*self.extra_tasks, *extra_tasks))
