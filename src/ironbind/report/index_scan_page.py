"""The scan of an index for a terminal, a program and a reader: Markdown, JSON, one self-contained page."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ironbind.core.errors import InputError
from ironbind.core.markdown_tables import markdown_table
from ironbind.core.results import write_atomically
from ironbind.report.charts.svg import drawing, element
from ironbind.report.templates_env import environment

SHOWN = 20  # suspects on the terminal
ON_THE_PAGE = 200
HEAD = ("row", "score", "queries", "because of", "stability", "concepts")
WHY = {
    "frequency": "many queries find it",
    "concept": "many queries of one concept find it",
    "modality": "many queries of one modality find it",
    "spread": "queries of many concepts find it",
    "stability": "many queries find it also when they are noisy",
}


def write_index_scan(scan: Mapping[str, Any], out: Path) -> Path:
    """Writes `index.json`, `index.md` and `index.html` into `out` and returns the path of the page. `scan`: what
    `IndexScan.to_dict` gives. Raises InputError for `out` that is an audited run.
    """
    refuse_folder(out)
    write_atomically(out / "index.json", json.dumps(scan, indent=1) + "\n")
    write_atomically(out / "index.md", index_markdown(scan) + "\n")
    write_atomically(out / "index.html", index_page(scan))
    return out / "index.html"


def refuse_folder(out: Path) -> None:
    """Raises InputError for a folder that an index scan cannot be written into; makes none."""
    if (out / "result.json").exists():
        raise InputError(f"--out {out}: holds a run; expected a folder of its own")
    standing = next(place for place in (out, *out.absolute().parents) if place.exists())
    if not standing.is_dir() or not os.access(standing, os.W_OK):
        reason = "is no folder" if not standing.is_dir() else "is read-only"
        raise InputError(f"--out {out} cannot be written ({standing} {reason}); expected a folder that can be written")


def headline(scan: Mapping[str, Any]) -> str:
    """One line: how many were flagged, of how many, and from which score."""
    noun = "row" if scan["what"] == "scan" else "item"
    count = len(scan["scores"])
    flagged = len(scan["flagged"])
    named = "none is" if not flagged else "1 is" if flagged == 1 else f"{flagged} are"
    return f"{count:,} {noun}{'' if count == 1 else 's'}: {named} flagged (score of {scan['threshold']:.2f} or more)"


def facts(scan: Mapping[str, Any]) -> list[str]:
    """What was compared with what, and what was done that nobody asked for."""
    index, queries = scan["index"], scan["queries"]
    return [
        f"index: {index['source']}, {index['rows']:,} rows of {index['dim']}, compared by {index['metric']}",
        f"queries: {queries['source']}, the first {scan['k']} rows of each, {queries['concepts']} concepts, "
        f"seed {scan['seed']}",
        f"natural: calibrated on {scan['natural']}; {scan['false_alarms']:g} natural rows of the index are expected to "
        "reach the threshold",
        *scan["remarks"],
    ]


def index_markdown(scan: Mapping[str, Any]) -> str:
    """The flagged rows, then those that remain of the alert budget."""
    blocks = [f"**{headline(scan)}**", "\n".join(f"- {fact}" for fact in facts(scan))]
    flagged = set(scan["flagged"])
    named = [each for each in scan["suspects"] if each["row"] in flagged]
    rest = [each for each in scan["suspects"] if each["row"] not in flagged]
    for title, suspects in (("Flagged", named), (f"Not flagged, within {scan['alert_budget']:g} % for review", rest)):
        if suspects:
            more = f"\n\nAnd {len(suspects) - SHOWN:,} more in index.json." if len(suspects) > SHOWN else ""
            blocks.append(f"{title}:\n\n{markdown_table(HEAD, _cells(suspects[:SHOWN]))}{more}")
    return "\n\n".join(blocks)


def _cells(suspects: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            str(each["row"]) if each["key"] is None else f"{each['row']} (key {each['key']})",
            f"{each['score']:.2f}",
            f"{each['count']:,} ({100 * each['share']:.1f} %)",
            WHY[each["reason"]],
            f"{100 * each['kept']:.0f} %",
            f"{each['concepts']:.1f}",
        )
        for each in suspects
    ]


def index_page(scan: Mapping[str, Any]) -> str:
    """The whole page as text."""
    flagged = set(scan["flagged"])
    suspects = scan["suspects"][:ON_THE_PAGE]
    return (
        environment()
        .get_template("index_scan.html")
        .render(
            title="Scan of an index" if scan["what"] == "scan" else "Check of items",
            headline=headline(scan),
            facts=facts(scan),
            head=HEAD,
            rows=[(each["row"] in flagged, cells) for each, cells in zip(suspects, _cells(suspects), strict=True)],
            left_out=len(scan["suspects"]) - len(suspects),
            histogram=histogram(scan),
        )
    )


def histogram(scan: Mapping[str, Any]) -> Markup:
    """How many rows are found by how many queries, on two logarithmic axes; the flagged ones as crosses."""
    counts = {int(count): rows for count, rows in scan["frequencies"].items() if int(count)}
    suspects = {each["row"]: each["count"] for each in scan["suspects"]}
    marks = [suspects[row] for row in scan["flagged"] if suspects.get(row)]
    if not counts:
        return Markup("")
    most = max([*counts, *marks, 10])
    bins: dict[int, int] = {}
    for count, rows in counts.items():
        bins[_bin(count)] = bins.get(_bin(count), 0) + rows
    width, height, left, bottom = 680.0, 240.0, 46.0, 44.0
    across = (width - left - 12) / (_bin(most) + 1)
    tall = height - bottom - 14
    highest = math.log10(max(bins.values()) + 1)
    parts = []
    for place, rows in sorted(bins.items()):
        size = tall * math.log10(rows + 1) / highest
        title = element("title", f"{rows:,} rows are found by {_low(place):,} to {_low(place + 1) - 1:,} queries")
        parts.append(
            element("rect", title, x=left + place * across, y=height - bottom - size, width=max(1.0, across - 1),
                    height=size, fill="var(--clean)")
        )  # fmt: skip
    for count in sorted(set(marks)):
        at = left + (_bin(count) + 0.5) * across
        above = tall * math.log10(bins.get(_bin(count), 0) + 1) / highest
        parts.append(
            element("path", element("title", f"flagged: {count:,} queries"), d="M-4-4L4 4M-4 4L4-4",
                    transform=f"translate({at:.1f} {height - bottom - above - 8:.1f})", class_="mark whitebox")
        )  # fmt: skip
    for power in range(int(math.log10(most)) + 1):
        at = left + _bin(10**power) * across
        parts.append(element("text", f"{10**power:,}", x=at, y=height - bottom + 16, class_="tick"))
    for power in range(int(highest) + 1):
        y = height - bottom - tall * math.log10(10**power + 1) / highest
        parts.append(element("text", f"{10**power:,}", x=left - 6, y=y + 4, text_anchor="end", class_="tick"))
    base = height - bottom
    parts.append(element("line", x1=left, x2=width - 12, y1=base, y2=base, stroke="var(--rule-strong)"))
    parts.append(element("text", "queries that find a row", x=left, y=height - 10, class_="tick"))
    never = scan["frequencies"].get("0", 0)
    label = f"Rows by the number of queries that find them; {never:,} rows are found by none"
    return drawing(width, height, *parts, label=label)


def _bin(count: int) -> int:
    """Exact up to 8, then eight bins for each doubling."""
    return count - 1 if count <= 8 else 7 + math.floor(8 * math.log2(count / 8) + 1e-9)


def _low(place: int) -> int:
    """The smallest count of a bin."""
    return place + 1 if place < 8 else math.ceil(8 * 2 ** ((place - 7) / 8) - 1e-9)
