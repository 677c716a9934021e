"""A defended encoder that says beside each embedding by how much its detector would flag the input.

Axis letters: b = batch, d = embedding width, n = number of texts.
"""

import hashlib
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ironbind.defences.defended_encoder import AsAttacked, Defended, detector_of
from ironbind.types import Encoder, InputSpec


class FlaggingEncoder:
    """`held` whose rows carry the excess of the detector's score over `threshold`, in sizes of the threshold, behind
    the embedding: above 0 the input is flagged. What is embedded: the answer of the defence, or with `bare` that of the
    undefended encoder, for an attack that means to pass the gate.
    """

    def __init__(self, held: Defended | AsAttacked, threshold: float, bare: bool = False) -> None:
        detector_of(held.defence)
        self.held, self.threshold, self.bare = held, threshold, bare
        self.undefended, self.defence = held.undefended, held.defence

    @property
    def name(self) -> str:
        return f"{self.held.name} flagging"

    @property
    def dim(self) -> int:
        return self.held.dim

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        return self.held.inputs

    @property
    def device(self) -> torch.device:
        return self.held.device

    @property
    def weights_sha256(self) -> str:
        about = f"{self.held.weights_sha256} {self.threshold!r} {self.bare}"
        return hashlib.sha256(about.encode("utf-8")).hexdigest()

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b e"]:
        """Unit rows, and the excess as one coordinate more."""
        answering: Encoder = self.undefended if self.bare else self.held
        z = answering.embed(modality, x, space=space)
        excess = (self.held.suspicion(modality, x, space) - self.threshold) / max(abs(self.threshold), 1e-6)
        return torch.cat([z, excess[:, None]], dim=1)

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """The text side, which is not defended."""
        return self.held.embed_text(texts)
