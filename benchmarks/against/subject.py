"""What is attacked: the built-in encoder's towers as classifiers of the built-in world."""

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from against.meter import Classifier
from ironbind.data import load_dataset
from ironbind.encoders import load_encoder
from ironbind.encoders.tiny.encoder import TinyEncoder
from ironbind.encoders.tiny.model import MEL_FLOOR
from ironbind.evaluate.tasks.zero_shot import fingerprint, zero_shot
from ironbind.goals.misclassify import Misclassify
from ironbind.numerics.batching import in_full_batches
from ironbind.types import ClassCenters, Embed, Space

# The built-in log-mel is scaled to [0, 1], where a library's clamp to [0, 1] happens to be right. In decibels, as many
# keep spectrograms, it is not.
DECIBELS = Space("logmel_db", "dB re a full-scale sine", float(MEL_FLOOR), 0.0)


@dataclass(frozen=True, eq=False)
class Subject:
    """Samples `x` in `space` with their labels, and how they are embedded and judged."""

    name: str
    space: Space
    x: Tensor
    label: Tensor
    ids: tuple[str, ...]
    embed: Embed = field(repr=False)
    centers: ClassCenters = field(repr=False)
    network: nn.Module = field(repr=False)
    weights: str = ""

    def classifier(self, frozen: bool = True) -> Classifier:
        """A fresh classifier with its counters at zero. `frozen`: whether its parameters take part in no gradient."""
        self.network.requires_grad_(not frozen)
        return Classifier(self.network, self.embed, self.centers).eval()

    def goal(self) -> Misclassify:
        return Misclassify(self.centers, self.label)

    @torch.no_grad()
    def fallen(self, y: Tensor, batch: int = 64) -> Tensor:
        """Whether each row of `y` is misclassified: the one verdict for everybody, in a pass that nobody is charged
        for.
        """
        goal = self.goal()
        parts = [torch.arange(len(y))[first : first + batch] for first in range(0, len(y), batch)]
        return torch.cat([goal[rows].reached(in_full_batches(self.embed)(y[rows])) for rows in parts])

    @property
    def identity(self) -> str:
        """Changes with the weights, the centers and the samples."""
        labels = hashlib.sha256(self.label.numpy().tobytes()).hexdigest()[:8]
        return f"{self.weights[:12]}-{fingerprint(self.centers.z)}-{fingerprint(self.x)}-{labels}"


def subject(modality: str, samples: int, space: str | None = None) -> Subject:
    """`samples` of the built-in world in one modality; `space` "logmel_db" is the audio tower entered in decibels."""
    encoder = load_encoder("tiny")
    assert isinstance(encoder, TinyEncoder)
    data = load_dataset("world", n=samples)
    decibels = space == DECIBELS.name
    task = zero_shot(encoder, data, modality, space="logmel" if decibels else space)
    x = torch.cat([task.load(range(first, min(first + 64, samples))) for first in range(0, samples, 64)])
    label = torch.tensor([data.labels[i] for i in range(samples)])
    rest = (label, tuple(data.ids[:samples]))
    if decibels:
        return Subject(
            "log-mel, dB",
            DECIBELS,
            (1 - x) * MEL_FLOOR,
            *rest,
            lambda x: task.embed(1 - x / MEL_FLOOR),
            task.centers,
            encoder.model,
            encoder.weights_sha256,
        )
    return Subject(
        f"{modality} {task.space.name}",
        task.space,
        x,
        *rest,
        task.embed,
        task.centers,
        encoder.model,
        encoder.weights_sha256,
    )
