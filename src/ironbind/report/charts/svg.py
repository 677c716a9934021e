"""Just enough to write SVG by hand: every attribute and text is escaped, colours come from the page's style sheet by
class.
"""

from collections.abc import Iterable
from typing import Any

from markupsafe import Markup, escape


def element(name: str, *children: Markup | str, **attributes: Any) -> Markup:
    """`<name a="b">children</name>`; `class_` writes `class`, other underscores become hyphens, None is left out,
    floats lose their noise.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inner = "".join(escape(child) for child in children)
    return Markup(f"<{name}{written}>{inner}</{name}>")


def number(value: Any) -> str:
    """A coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def path(points: Iterable[tuple[float, float]], close: bool = False) -> str:
    """The `d` of a polyline."""
    d = "L".join(f"{number(float(x))} {number(float(y))}" for x, y in points)
    return f"M{d}{'Z' if close else ''}" if d else ""


def drawing(width: float, height: float, *children: Markup, label: str, class_: str = "") -> Markup:
    """A picture that scales with its container and carries a text alternative."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=label,
        class_=class_ or None,
    )


def mark(role: str, *title: str) -> Markup:
    """The marker of a threat model, centred at the origin. Shape and filling differ, so that colour is never needed to
    tell them apart: clean a diamond, attacked a cross, replayed a ring (it only seemed to survive), adaptive a filled
    disc, transfer a triangle, corrupted a square, certified a hexagon."""
    hover = [element("title", *title)] if title else []
    if role == "clean":
        return element("path", *hover, d="M0-5.2L5.2 0L0 5.2L-5.2 0Z", class_="mark clean")
    if role == "whitebox":
        return element("path", *hover, d="M-4.2-4.2L4.2 4.2M-4.2 4.2L4.2-4.2", class_="mark whitebox")
    if role == "transfer":
        return element("path", *hover, d="M0-5L5 4.2L-5 4.2Z", class_="mark transfer")
    if role.startswith("certified"):
        return element("path", *hover, d="M0-5.4L4.7-2.7L4.7 2.7L0 5.4L-4.7 2.7L-4.7-2.7Z", class_=f"mark {role}")
    if role.startswith("corrupted"):
        return element("path", *hover, d="M-4.2-4.2L4.2-4.2L4.2 4.2L-4.2 4.2Z", class_=f"mark {role}")
    return element("circle", *hover, r="4.6", class_=f"mark {role}")
