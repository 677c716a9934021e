"""The threat model's types: the space that is perturbed, and the budget of the perturbation. Torch-free; `types`
re-exports them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from ironbind.core.epsilon import Epsilon
from ironbind.core.errors import InputError


@dataclass(frozen=True)
class Space:
    """The space that an attacker perturbs: a coordinate system with a unit and valid bounds.

    `low`/`high` bound every coordinate (None: unbounded). `element_axes` are the axes of one sample, counted from the
    end, that form one element (the colour channels of a pixel, the xyz of a point); () means that every coordinate
    is an element. `unordered`: the elements are a set (a point cloud), so that neighbours are found by distance and not
    by index. `explain(radius)` says what a radius means to a person, e.g. "4/255 = 1.3 dB".
    """

    name: str
    unit: str
    low: float | None = None
    high: float | None = None
    element_axes: tuple[int, ...] = ()
    unordered: bool = False
    explain: Callable[[float], str] | None = field(default=None, compare=False, repr=False)

    def describe(self, radius: float) -> str:
        """One phrase: what `radius` means in this space."""
        return self.explain(radius) if self.explain else f"{radius:.5g} ({self.unit})"


# norm -> what its radius bounds, for listings and error messages
NORMS = {
    "linf": "the largest change of a coordinate",
    "l2": "the Euclidean length of the whole perturbation of a sample",
    "l1": "the sum of the absolute changes of a sample",
    "snr": "noise over signal, as a signal-to-noise ratio in dB (audio)",
    "pointwise_l2": "the distance that any one element (a point, a pixel's colour) may move",
    "event_share": "the share of a recording's events that may be added, moved or dropped",
}


@dataclass(frozen=True)
class Budget:
    """A norm and a radius in units of a space. `written` keeps the radius as the user wrote it ("4/255", "30 dB").

    `space` is optional; when given, the budget is refused in any other space, so that a radius meant for a waveform is
    never applied to a spectrogram. Make one with `Linf("4/255")`, `L2("0.5", space="unit_sphere")`, `SNR("30 dB")`,
    ... A larger radius always allows more: of an SNR it is the ratio of amplitudes, 10^(-dB/20).
    """

    norm: str
    radius: float
    written: str
    space: str | None = None

    def __post_init__(self) -> None:
        if self.norm not in NORMS:
            raise InputError(f"norm {self.norm!r} is not known; expected one of {', '.join(NORMS)}")
        if not (self.radius >= 0 and math.isfinite(self.radius)):
            raise InputError(f"epsilon {self.written!r} is not a finite radius >= 0")

    def check(self, space: Space | None) -> None:
        """Raises InputError unless this budget applies in `space`."""
        if space is None:
            raise InputError(
                f"epsilon {self.written!r} without a space has no meaning; name one (pixels, waveform, "
                "logmel, unit_sphere, ...)"
            )
        if self.space is not None and self.space != space.name:
            raise InputError(
                f"epsilon {self.written!r} was given for space {self.space!r}, but the attack runs in {space.name!r}"
            )
        if self.norm == "pointwise_l2" and not space.element_axes:
            raise InputError(
                f"norm 'pointwise_l2' needs elements of several coordinates, which space {space.name!r} has "
                "not; use linf or l2"
            )
        if self.norm == "event_share" and space.name != "event_frames":
            raise InputError(
                f"norm 'event_share' counts events, and space {space.name!r} holds none; expected event_frames"
            )
        if self.norm == "snr" and space.name != "waveform":
            raise InputError(
                f"norm 'snr' compares noise with the sound itself, and space {space.name!r} holds no sound; "
                "expected waveform"
            )

    def check_plausible(self, space: Space) -> None:
        """`check`, and raises InputError for a radius in linf that is wider than the space: mostly grey levels that
        were meant as "8/255".
        """
        self.check(space)
        if self.norm == "linf" and space.low is not None and space.high is not None:
            width = space.high - space.low
            if self.radius > width:
                meant = f"; did you mean {self.written}/255?" if self.written.isdigit() and self.radius < 255 else ""
                raise InputError(
                    f"epsilon {self.written!r} is wider than {space.name} itself, which reaches from {space.low:g} to "
                    f"{space.high:g}: every sample could become any other{meant}"
                )

    @property
    def epsilon(self) -> Epsilon:
        """The radius and how it is written."""
        return Epsilon(self.radius, self.written)

    def __str__(self) -> str:
        return f"{self.norm} {self.written}"


def Linf(radius: str | float | int, space: str | None = None) -> Budget:  # noqa: N802 - reads as the noun it makes
    """A budget on the largest change of any coordinate."""
    return _budget("linf", Epsilon.parse(radius), space)


def L2(radius: str | float | int, space: str | None = None) -> Budget:  # noqa: N802
    """A budget on the Euclidean length of a sample's whole perturbation."""
    return _budget("l2", Epsilon.parse(radius), space)


def L1(radius: str | float | int, space: str | None = None) -> Budget:  # noqa: N802
    """A budget on the sum of a sample's absolute changes."""
    return _budget("l1", Epsilon.parse(radius), space)


def SNR(decibels: str | float | int, space: str | None = "waveform") -> Budget:  # noqa: N802
    """A budget on noise relative to the sound: the perturbation's Euclidean length stays `decibels` below the sound's
    own. "30 dB", 30.
    """
    return _budget("snr", Epsilon.parse_decibels(decibels), space)


def PointwiseL2(radius: str | float | int, space: str | None = None) -> Budget:  # noqa: N802
    """A budget on the distance that any one element may move: a point in space, a pixel in colour."""
    return _budget("pointwise_l2", Epsilon.parse(radius), space)


def EventShare(share: str | float | int, space: str | None = "event_frames") -> Budget:  # noqa: N802
    """A budget on the share of a recording's events that are added, moved in time or dropped: cells of its event frames
    that change, over cells that hold an event. "5 %", 0.05. Raises InputError above 1."""
    epsilon = Epsilon.parse(share)
    if epsilon.value > 1:
        raise InputError(
            f"share of events {share!r} is more than all of them; expected between 0 and 1, or a percentage"
        )
    return _budget("event_share", epsilon, space)


def _budget(norm: str, epsilon: Epsilon, space: str | None) -> Budget:
    """Raises InputError for a percentage of anything but events: it is not said of what."""
    if epsilon.written.endswith("%") and norm != "event_share":
        raise InputError(
            f"epsilon {epsilon.written!r} is a percentage, of which norm {norm!r} knows no whole; expected a "
            "radius in units of the space, such as 4/255 or 0.5"
        )
    return Budget(norm, epsilon.value, epsilon.written, space)


MAKERS: dict[str, Callable[..., Budget]] = {
    "linf": Linf, "l2": L2, "l1": L1, "snr": SNR, "pointwise_l2": PointwiseL2, "event_share": EventShare,
}  # fmt: skip


def budget_of(norm: str, radius: str | float | int) -> Budget:
    """The budget of a norm by name, with the radius as a user writes it. Raises InputError for an unknown norm or a
    radius that is none.
    """
    if norm not in MAKERS:
        raise InputError(f"norm {norm!r} is not known; expected one of {', '.join(NORMS)}")
    return MAKERS[norm](radius)
