"""What all tasks share: an encoder, data, a perturbed modality, the space it is perturbed in; and clean embeddings of
whole data sets.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from ironbind.evaluate.inputs.prepared import cached_embeddings, load_native
from ironbind.evaluate.tasks.captions import ByCaption
from ironbind.evaluate.tasks.class_centers import COINCIDE, undirected
from ironbind.numerics import ranks
from ironbind.numerics.batching import batches, padded
from ironbind.numerics.networks import device_of, frozen
from ironbind.types import Dataset, Encoder, InputError, Space

BATCH = 64  # rows per forward pass when embedding clean data


@dataclass(frozen=True, eq=False, repr=False)
class BaseTask:
    """What all tasks share: an encoder, data, a perturbed modality, a space. `limit`: attack only the first so
    many samples (a retrieval gallery stays whole)."""

    encoder: Encoder
    dataset: Dataset
    modality: str
    space: Space
    limit: int | None = None

    def __post_init__(self) -> None:
        for modality in self._needs():
            if modality not in self.encoder.inputs:
                able = ", ".join(self.encoder.inputs)
                raise InputError(f"encoder {self.encoder.name!r} does not take modality {modality!r}; it takes {able}")
            if modality not in self.dataset.modalities:
                raise InputError(
                    f"data set {self.dataset.name!r} does not hold modality {modality!r}; it holds"
                    f" {', '.join(self.dataset.modalities)}"
                )

    def _needs(self) -> tuple[str, ...]:
        return (self.modality,)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.modality} in {self.space.name}, {len(self)} samples of {self.dataset.name}, "
            f"encoder {self.encoder.name})"
        )

    def __len__(self) -> int:
        return len(self.dataset) if self.limit is None else min(self.limit, len(self.dataset))

    @property
    def device(self) -> torch.device:
        """Where this encoder computes."""
        return device_of(self.encoder)

    def load(self, indices: Sequence[int]) -> Float[Tensor, "b ..."]:
        """Inputs of these samples in the attacked space, on the encoder's device."""
        return self.bring(self.native(indices))

    def native(self, indices: Sequence[int]) -> Float[Tensor, "b ..."]:
        """The samples decoded and prepared, in the native space, on the CPU: what a forked process may do for an
        encoder on a GPU.
        """
        return load_native(self.encoder, self.dataset, self.modality, indices)

    def bring(self, native: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
        """Native inputs in the attacked space, on the encoder's device."""
        with torch.no_grad():
            converted = padded(lambda x: self.encoder.inputs[self.modality].convert(x, self.space.name))(
                native.to(self.device)
            )
        return converted.contiguous()

    def embed(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        """Unit embeddings of inputs in the attacked space, in float32."""
        return self.encoder.embed(self.modality, x, space=self.space.name).float()

    def on(self, encoder: Encoder) -> Self:
        """The same question to another encoder."""
        return replace(self, encoder=encoder)

    def over(self, dataset: Dataset) -> Self:
        """The same question about other data, all of it: a limit belongs to the data it was set for."""
        return replace(self, dataset=dataset, limit=None)

    def within(self, space: str) -> Self:
        """The same question with the perturbed modality attacked in another of its spaces."""
        return replace(self, space=self.encoder.inputs[self.modality].space_named(space))

    def clean(self, modality: str) -> Float[Tensor, "n d"]:
        """Embeddings of the whole data set in one modality, unperturbed ("text": its captions, the first of each
        sample); computed once per encoder and data set."""
        return clean_of(self.encoder, self.dataset, modality)


def clean_of(encoder: Encoder, dataset: Dataset, modality: str) -> Float[Tensor, "n d"]:
    """What `BaseTask.clean` describes; of data by caption, one row a caption."""

    def embed() -> Tensor:
        if modality != "text":
            return embed_all(encoder, dataset, modality, range(len(dataset)))
        if dataset.captions is None:
            raise InputError(
                f"data set {dataset.name!r} has no captions, which retrieval with text needs; expected a captions.csv"
            )
        return caption_embeddings(encoder, dataset)

    if isinstance(
        dataset, ByCaption
    ):  # kept with the data that they belong to, as this view of it is made anew by every task
        return cached_embeddings(encoder, dataset.source, f"{modality} by caption", embed)
    return cached_embeddings(encoder, dataset, modality, embed)


def caption_embeddings(encoder: Encoder, dataset: Dataset) -> Float[Tensor, "n d"]:
    """Embeddings of all captions. Raises InputError for one whose embedding is zero or not finite, and where captions
    that differ all get the same one.
    """
    captions = list(dataset.captions or ())
    with frozen(encoder):
        z = encoder.embed_text(captions).float()
    for row in undirected(z):
        raise InputError(
            f"encoder {encoder.name!r} reads the caption {captions[row]!r} of sample {dataset.ids[row]!r} as an"
            " embedding"
            " that is zero or not finite; expected a direction"
        )
    if len(set(captions)) > 1 and bool(((z - z[:1]).norm(dim=1) < COINCIDE).all()):
        raise InputError(
            f"encoder {encoder.name!r} gives all {len(captions)} captions of data set {dataset.name!r} the same"
            " embedding"
            f" ({captions[0]!r}, ...): words that it does not know, or a tokenizer that is missing"
        )
    return z


def embed_all(encoder: Encoder, dataset: Dataset, modality: str, indices: Sequence[int]) -> Float[Tensor, "n d"]:
    """Clean embeddings of these samples, in batches, without gradients. Raises InputError for a sample whose embedding
    is zero or not finite.
    """
    device, group = device_of(encoder), ranks.current()
    blocks = list(batches(indices, BATCH))
    parts: dict[int, Tensor] = {}
    with frozen(encoder), torch.no_grad():
        # several ranks embed a block each; one that is at work on samples of its own needs all of them now
        for number, rows in enumerate(blocks) if group.dealing else group.deal(blocks):
            z = encoder.embed(modality, load_native(encoder, dataset, modality, rows).to(device)).float()
            parts[number] = z if group.size == 1 or group.dealing else z.cpu()
    if group.size > 1 and not group.dealing:
        parts = {number: z.to(device) for share in group.gather(parts) for number, z in share.items()}
    z = torch.cat([parts[number] for number in range(len(blocks))])
    for row in undirected(z):
        raise InputError(
            f"encoder {encoder.name!r} answers {modality} sample {dataset.ids[indices[row]]!r} with an embedding that"
            " is"
            " zero or not finite; expected a direction"
        )
    return z
