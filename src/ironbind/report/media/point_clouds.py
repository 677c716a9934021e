"""Point clouds as pictures: a projection as SVG, and the numbers with which the page's script turns it slowly."""

import json

import numpy as np
from markupsafe import Markup

from ironbind.core.colour_maps import colour_map
from ironbind.report.charts.svg import drawing, element

MOST_POINTS = 1024
SIDE = 240
YAW, PITCH = 0.6, 0.35  # radians; the script starts from the same view


def chosen(count: int) -> np.ndarray:
    """Which of `count` points are drawn: all, or evenly chosen ones of a large cloud."""
    return np.arange(count) if count <= MOST_POINTS else np.linspace(0, count - 1, MOST_POINTS).round().astype(int)


def projected(xyz: np.ndarray) -> np.ndarray:
    """`n 3` -> `n 3`: pixels right, pixels down, and nearness in [0, 1] under a perspective view of the unit sphere, y
    up.
    """
    sin, cos = np.sin(YAW), np.cos(YAW)
    x, z = cos * xyz[:, 0] + sin * xyz[:, 2], -sin * xyz[:, 0] + cos * xyz[:, 2]
    sin, cos = np.sin(PITCH), np.cos(PITCH)
    y, z = cos * xyz[:, 1] - sin * z, sin * xyz[:, 1] + cos * z
    zoom = 3.2 / (3.2 - z)
    half = SIDE / 2
    return np.stack([half + 0.94 * half * x * zoom, half - 0.94 * half * y * zoom, np.clip((z + 1) / 2, 0, 1)], axis=1)


def displacement_colours(clean: np.ndarray, adversarial: np.ndarray) -> tuple[list[str], float]:
    """A CSS colour per point, dark violet = stayed, yellow = moved farthest; and the farthest move."""
    moved = np.linalg.norm(adversarial - clean, axis=1)
    farthest = float(moved.max()) if len(moved) else 0.0
    rgb = colour_map("plasma", 0.15 + 0.85 * moved / (farthest or 1.0))
    return [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in rgb.tolist()], farthest


def cloud(xyz: np.ndarray, colours: list[str] | None, label: str) -> Markup:
    """One cloud, far points small and faint; white without `colours`."""
    at = projected(xyz)
    dots = [
        element(
            "circle",
            cx=float(x),
            cy=float(y),
            r=float(1.4 + 1.9 * near),
            fill=colours[index] if colours else "#dfe6ee",
            opacity=float(0.35 + 0.65 * near),
        )
        for index, (x, y, near) in _far_to_near(at)
    ]
    return drawing(SIDE, SIDE, *dots, label=label, class_="cloud")


def arrows(clean: np.ndarray, adversarial: np.ndarray, colours: list[str], factor: int, label: str) -> Markup:
    """Where each point went, `factor` times as far."""
    start, end = projected(clean), projected(clean + factor * (adversarial - clean))
    lines = [
        element(
            "line",
            x1=float(x),
            y1=float(y),
            x2=float(end[i, 0]),
            y2=float(end[i, 1]),
            stroke=colours[i],
            opacity=float(0.35 + 0.65 * near),
        )
        for i, (x, y, near) in _far_to_near(start)
    ]
    return drawing(SIDE, SIDE, element("g", *lines, stroke_width="1.1"), label=label, class_="cloud")


def turnable(kind: str, clean: np.ndarray, adversarial: np.ndarray, colours: list[str], factor: int) -> str:
    """The JSON that the page's script needs to turn a cloud: kind is "clean", "adversarial" or "arrows". Only numbers
    and colours.
    """
    scene: dict[str, object] = {"kind": kind, "yaw": YAW, "pitch": PITCH, "from": _short(clean)}
    if kind != "clean":
        scene["to"] = _short(clean + (factor if kind == "arrows" else 1) * (adversarial - clean))
        scene["colours"] = "".join(colours)
    return json.dumps(scene, separators=(",", ":"))


def _far_to_near(at: np.ndarray) -> list[tuple[int, list[float]]]:
    return [(int(index), at[index].tolist()) for index in np.argsort(at[:, 2])]


def _short(xyz: np.ndarray) -> list[float]:
    return [round(coordinate, 3) for coordinate in xyz.ravel().tolist()]
