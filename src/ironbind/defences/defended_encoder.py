"""An encoder behind a test-time defence. It is an Encoder: whatever attacks or evaluates encoders takes it as it is.

Axis letters: b = batch, d = embedding width, n = number of texts.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from ironbind.defences import DEFENCES
from ironbind.defences.defence import AS_DEPLOYED, Defence, Detector, Where
from ironbind.defences.draws import SharedDraws, by_content
from ironbind.numerics.networks import device_of
from ironbind.types import Encoder, InputError, InputSpec, checked_encoder


def defend(encoder: Encoder, defence: "str | Defence", *, seed: int = 0, **knobs: Any) -> "Defended":
    """`encoder` behind a test-time defence: an Encoder again, called "tiny+ttc", which can be audited, and defended
    once more. A calibrated encoder can be defended; a defended one cannot be calibrated, as its gradients are not
    those of training: calibrate first.

    `defence`: a name of DEFENCES, with the `knobs` of its dataclass, or such a value. `seed`: of what it draws; a query
    draws by its own content, so that the same query gets the same answer. Raises UnknownName for a defence that does
    not exist, InputError for knobs that it does not have.
    """
    checked_encoder(encoder)
    if not isinstance(defence, str):
        if knobs:
            raise InputError(
                f"{defence!r} has its knobs already; expected a name of DEFENCES beside {', '.join(knobs)}"
            )
        if isinstance(defence, type) or not hasattr(defence, "answer"):
            raise InputError(f"{defence!r} is no defence; expected a name of DEFENCES, or a value such as Anchors()")
        return Defended(encoder, defence, seed)
    kind = DEFENCES[defence]
    wrong = ", ".join(sorted(set(knobs) - set(kind.__dataclass_fields__)))
    if wrong:
        raise InputError(f"defence {defence!r} has no knob {wrong}; it has {', '.join(kind.__dataclass_fields__)}")
    return Defended(encoder, kind(**knobs), seed)


class Defended:
    """`undefended` answering through `defence`. Text is embedded as it was.

    `draw`: which of many equally likely draws of a randomised defence answers (see `redrawn`). `weights_sha256` covers
    the encoder, the knobs, seed and draw.
    """

    def __init__(self, undefended: Encoder, defence: Defence, seed: int = 0, draw: int = 0) -> None:
        self.undefended = undefended
        self.defence = defence
        self.seed, self.draw = seed, draw

    @property
    def name(self) -> str:
        return f"{self.undefended.name}+{self.defence.name}"

    @property
    def dim(self) -> int:
        return self.undefended.dim

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        return self.undefended.inputs

    @property
    def device(self) -> torch.device:
        return device_of(self.undefended)

    @property
    def weights_sha256(self) -> str:
        about = f"{self.undefended.weights_sha256} {self.defence!r} {self.seed} {self.draw}"
        return hashlib.sha256(about.encode("utf-8")).hexdigest()

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        """Unit rows, as a query gets them. Where the defence rounds, codes or selects, no useful gradient comes back;
        `as_attacked` gives one. Raises InputError where the defence has no meaning.
        """
        return self.defence.answer(
            partial(self.undefended.embed, modality, space=space),
            x,
            self.place(modality, space),
            by_content(x, self.seed, self.draw),
        )

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """The text side, which is not defended."""
        return self.undefended.embed_text(texts)

    def place(self, modality: str, space: str | None, gradient: str = AS_DEPLOYED) -> Where:
        """What is embedded. Raises InputError where the defence has no meaning, or modality or space are not there."""
        if modality not in self.inputs:
            raise InputError(
                f"modality {modality!r} is not known to {self.name}; expected one of {', '.join(self.inputs)}"
            )
        spec = self.inputs[modality]
        chosen = spec.space if space is None else spec.space_named(space)
        reason = self.defence.unsuitable(modality, chosen)
        if reason:
            raise InputError(f"defence {self.defence.name!r} has no meaning for {modality} in {chosen.name}: {reason}")
        return Where(modality, chosen, gradient, self._prompts)

    @cached_property
    def _prompts(self) -> Float[Tensor, "t d"] | None:
        """What the text side makes of the texts that a defence compares with; None for one that has none."""
        texts = getattr(self.defence, "texts", ())
        return normalize(self.embed_text(texts).float(), dim=-1) if texts else None

    def redrawn(self, draw: int) -> "Defended":
        """The same defence with another, equally likely draw of all that it draws."""
        return Defended(self.undefended, self.defence, self.seed, draw)

    def as_attacked(self, gradient: str, draw: str = "0") -> "AsAttacked":
        """What an attacker who knows everything but the draws works with: see AsAttacked."""
        return AsAttacked(self, gradient, draw)

    def suspicion(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, " b"]:
        """How suspicious each row is, as the deployed detector scores it. Raises InputError for a defence that
        detects nothing.
        """
        embed = partial(self.undefended.embed, modality, space=space)
        detector = detector_of(self.defence)
        return detector.suspicion(embed, x, self.place(modality, space), by_content(x, self.seed, self.draw))


class AsAttacked:
    """A defended encoder as its attacker computes it: the same answers, differentiable in the way `gradient` (a key of
    GRADIENTS), on a draw of his own, which he names. Other draws at every step make it expectation over transformation
    (Athalye et al. 2018, arXiv 1707.07397).
    """

    def __init__(self, defended: Defended, gradient: str, draw: str = "0") -> None:
        self.defended, self.gradient, self.draw = defended, gradient, draw
        self.undefended = defended.undefended
        self.defence = defended.defence

    @property
    def name(self) -> str:
        return f"{self.defended.name} as attacked"

    @property
    def dim(self) -> int:
        return self.defended.dim

    @property
    def inputs(self) -> Mapping[str, InputSpec]:
        return self.defended.inputs

    @property
    def device(self) -> torch.device:
        return self.defended.device

    @property
    def weights_sha256(self) -> str:
        about = f"{self.defended.weights_sha256} {self.gradient} {self.draw}"
        return hashlib.sha256(about.encode("utf-8")).hexdigest()

    def _rng(self, x: Float[Tensor, "b ..."]) -> SharedDraws:
        return SharedDraws(len(x), self.defended.seed, f"attacker draw {self.draw}")

    def embed(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, "b d"]:
        """Unit rows, differentiable in `x`."""
        embed = partial(self.undefended.embed, modality, space=space)
        return self.defence.answer(embed, x, self.defended.place(modality, space, self.gradient), self._rng(x))

    def embed_text(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """The text side, which is not defended."""
        return self.defended.embed_text(texts)

    def suspicion(self, modality: str, x: Float[Tensor, "b ..."], space: str | None = None) -> Float[Tensor, " b"]:
        """How suspicious each row is on the attacker's draw, differentiable in `x`."""
        embed = partial(self.undefended.embed, modality, space=space)
        place = self.defended.place(modality, space, self.gradient)
        return detector_of(self.defence).suspicion(embed, x, place, self._rng(x))


def detector_of(defence: Defence) -> Detector:
    """The defence as a detector. Raises InputError for one that scores no input."""
    if not isinstance(defence, Detector):
        raise InputError(f"defence {defence.name!r} detects nothing; expected one with a suspicion, such as noise_gate")
    return defence
