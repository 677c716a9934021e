"""An encoder of two classes on either side of a hyperplane: probabilities under noise and radii are known exactly."""

import math
from statistics import NormalDist

import torch

from ironbind.evaluate.tasks.zero_shot import ZeroShot
from ironbind.modalities.spaces import PIXELS
from ironbind.types import ClassCenters, InputSpec
from toys import SHAPES, ToyData, prepare_image


class HalfSpace:
    """z = (s, 1) / |(s, 1)| with s = w . x - offset; class "above" where s > 0. `rows` counts what it embedded."""

    name, dim, weights_sha256 = "half_space", 2, "w"

    def __init__(self, seed: int = 0) -> None:
        self.w = torch.randn(math.prod(SHAPES["image"]), generator=torch.Generator().manual_seed(seed))
        self.offset = 0.5 * float(self.w.sum())
        self.inputs = {"image": InputSpec("image", SHAPES["image"], PIXELS, prepare_image)}
        self.rows = 0

    def score(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ self.w - self.offset

    def embed(self, modality: str, x: torch.Tensor, space: str | None = None) -> torch.Tensor:
        self.rows += len(x)
        s = self.score(x)
        return torch.nn.functional.normalize(torch.stack([s, torch.ones_like(s)], dim=1), dim=1)

    def embed_text(self, texts):
        raise NotImplementedError

    def radius(self, x: torch.Tensor) -> torch.Tensor:
        """The exact distance to the boundary: that of the smoothed encoder too."""
        return self.score(x).abs() / self.w.norm()

    def probability(self, x: torch.Tensor, sigma: float) -> list[float]:
        """That a sample stays on its side under noise."""
        return [NormalDist().cdf(float(radius) / sigma) for radius in self.radius(x)]


class TwoSides(ToyData):
    """Toy images, labelled by the side that `encoder` sees them on; of every `mislabelled`-th the other one."""

    def __init__(self, encoder: HalfSpace, n: int = 12, mislabelled: int = 0) -> None:
        super().__init__(n, modalities=("image",))
        self.classes = ("above", "below")
        self._images = super().decode("image", range(n))  # what toys look like follows from their labels
        x = torch.stack([prepare_image(image) for image in self._images])
        self.labels = [int(score <= 0) for score in encoder.score(x)]
        if mislabelled:
            self.labels = [1 - label if i % mislabelled == 0 else label for i, label in enumerate(self.labels)]

    def decode(self, modality, indices):
        return [self._images[index] for index in indices]


def half_space_task(n: int = 12, mislabelled: int = 0) -> ZeroShot:
    encoder = HalfSpace()
    centers = ClassCenters(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.arange(2), ("above", "below"))
    return ZeroShot(encoder, TwoSides(encoder, n, mislabelled), "image", PIXELS, given_centers=centers)
