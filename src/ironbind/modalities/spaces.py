"""The standard spaces that adversaries perturb. An encoder may declare its own; these are what most of them share."""

import math

from ironbind.types import Space

PIXELS = Space(
    "pixels", "intensity, 0 = black, 1 = white", 0.0, 1.0, element_axes=(-3,),
    explain=lambda radius: f"{255 * radius:.3g} of 255 grey levels",
)  # fmt: skip

WAVEFORM = Space(
    "waveform", "amplitude, 1 = full scale", -1.0, 1.0,
    explain=lambda radius: (
        f"{20 * math.log10(radius):.1f} dB below full scale at the loudest".replace("-", "")
        if radius > 0
        else "silence"
    ),
)  # fmt: skip

UNIT_SPHERE = Space(
    "unit_sphere", "radii of the object's bounding sphere", -1.0, 1.0, element_axes=(-1,), unordered=True,
    explain=lambda radius: f"{100 * radius:.2f} % of the object's radius",
)  # fmt: skip

EVENT_FRAMES = Space(
    "event_frames", "recency of the last event per pixel and polarity, 0 = never, 1 = just now", 0.0, 1.0,
    element_axes=(-3,),
    explain=lambda radius: f"{100 * radius:.2f} % of the time window per pixel and polarity",
)  # fmt: skip


def log_mel(decibels: float) -> Space:
    """A log-mel spectrogram scaled so that [0, 1] spans `decibels` (built-in encoder) -- each encoder states its own
    range.
    """
    return Space(
        "logmel", f"log-mel level, [0, 1] spans {decibels:g} dB", 0.0, 1.0,
        explain=lambda radius: f"{decibels * radius:.2f} dB per time-frequency bin",
    )  # fmt: skip
