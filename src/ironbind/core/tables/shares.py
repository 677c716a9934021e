"""Shares as tables write them."""


def share(part: float, whole: float) -> str:
    """In percent with two significant digits, "0.52 %"; from a hundred on whole ones, "103 %", as parts beside all
    weights of a tower are more than it. "–" of nothing.
    """
    if whole <= 0:
        return "–"
    percent = 100 * part / whole
    return f"{percent:.2g} %" if percent < 99.5 else f"{percent:.0f} %"
