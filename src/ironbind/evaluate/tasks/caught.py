"""Zero-shot classification by an encoder that may refuse: an input counts as answered right where it is flagged."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Float
from torch import Tensor

from ironbind.goals.unless_caught import UnlessCaught
from ironbind.types import ClassCenters, Dataset, Encoder, Space


@dataclass(frozen=True, eq=False, repr=False)
class Caught:
    """`task` on an encoder whose rows end in its detector's excess (`defences.flagging_encoder`), asked for "caught or
    right".
    """

    task: Any

    metrics = (("caught_or_right", 1),)

    @property
    def name(self) -> str:
        return f"caught:{self.task.name}"

    @property
    def question(self) -> str:
        return f"caught or right: {self.task.question}"

    @property
    def encoder(self) -> Encoder:
        encoder: Encoder = self.task.encoder
        return encoder

    @property
    def dataset(self) -> Dataset:
        dataset: Dataset = self.task.dataset
        return dataset

    @property
    def modality(self) -> str:
        return str(self.task.modality)

    @property
    def space(self) -> Space:
        space: Space = self.task.space
        return space

    @property
    def centers(self) -> ClassCenters:
        centers: ClassCenters = self.task.centers
        return centers

    @property
    def device(self) -> Any:
        return self.task.device

    def __len__(self) -> int:
        return len(self.task)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b ..."]:
        """As the task's."""
        loaded: Tensor = self.task.load(indices)
        return loaded

    def native(self, indices: Sequence[int]) -> Float[Tensor, "b ..."]:
        """As the task's."""
        native: Tensor = self.task.native(indices)
        return native

    def bring(self, native: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """As the task's."""
        brought: Tensor = self.task.bring(native)
        return brought

    def embed(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b e"]:
        """Embeddings, the excess behind each."""
        z: Tensor = self.task.embed(x)
        return z

    def goal(self, indices: Sequence[int], k: int = 1) -> UnlessCaught:
        """Keep the true class out of the top k without being flagged."""
        return UnlessCaught(self.task.goal(indices, k))

    def paired(self, indices: Sequence[int]) -> dict[str, Float[Tensor, "b d"]]:
        """As the task's."""
        paired: dict[str, Tensor] = self.task.paired(indices)
        return paired

    def on(self, encoder: Encoder) -> "Caught":
        """The same question to another encoder."""
        return replace(self, task=self.task.on(encoder))

    def over(self, dataset: Dataset) -> "Caught":
        """The same question about other data."""
        return replace(self, task=self.task.over(dataset))
