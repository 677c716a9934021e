"""The model card of a calibrated encoder: what it is, both protocols' numbers side by side, what it was trained with,
whose weights it needs.
"""

import json
from collections.abc import Sequence

from ironbind.core.index_results import ITSELF, index_results
from ironbind.core.markdown_tables import markdown_table
from ironbind.core.results import UNCHECKED, CalibrationRecord, Row
from ironbind.core.tables.shares import share

TAGS = ("ironbind", "adversarial-robustness", "multimodal", "embeddings")
CAVEAT = (
    "A *replayed* number comes from examples made for the encoder without these parts: it says how an attacker fares "
    "who does not know\nof them, and is no security claim. The *adaptive* number is the claim: the attacker looks "
    "through everything that runs. Both hold for the data,\nattack and budget of their line and for no others; "
    "whatever has no line was not measured."
)


def model_card(
    *, name: str, backbone: str, sha256: str, licence: str, calibration: str, modalities: Sequence[str],
    records: Sequence[CalibrationRecord], rows: Sequence[Row], made_by: str,
) -> str:  # fmt: skip
    """The card as Markdown with the Hub's YAML header. `licence`: of the backbone's weights, `made_by`: a command; ""
    where unknown.
    """
    licence_name = json.dumps(licence or "unknown")  # a JSON string is a YAML one
    header = [
        "---",
        "library_name: ironbind",
        "license: other",
        f"license_name: {licence_name}",
        f"base_model: {json.dumps(backbone)}",
    ]
    header += ["tags:", *(f"- {tag}" for tag in TAGS), "---"]
    blocks = [
        "\n".join(header),
        f"# {name}",
        f"Parts that `{calibration}` trained for {', '.join(modalities)} of **{backbone}**, "
        "whose weights are not in here and are not changed: "
        f"these files fit only those with sha256 `{sha256}`. Weights of {backbone}: "
        f"{licence or 'licence unknown to ironbind'}; what is derived from "
        "them may fall under the same terms.",
        "## What survives, and what only seems to",
        _protocols(rows, calibration),
    ]
    compatibility = _compatibility(rows, calibration)
    blocks += ["## In the place of the original", compatibility] if compatibility else []
    blocks += [
        "## What trained",
        _records(records),
        "## Use",
        _use(name, backbone),
        "## Made by",
        f"    {made_by or 'the Python API of ironbind'}",
    ]
    return "\n\n".join(blocks) + "\n"


def _use(name: str, backbone: str) -> str:
    return "\n".join(
        [
            "```python",
            "import ironbind as ib",
            "",
            f'encoder = ib.load_encoder("{backbone}")  # with weights= where they are not built in',
            f'hard = ib.from_pretrained("{name if "/" in name else "DIR"}", encoder)'
            "  # an encoder again; hard.backbone is the way back",
            "```",
        ]
    )


def _protocols(rows: Sequence[Row], calibration: str) -> str:
    """One line per input, task and budget that was attacked: clean and attacked before, clean, replayed and adaptive
    after.
    """
    cells: dict[tuple[str, ...], Row] = {
        (row.modality, row.space, row.task, row.metric, row.calibration, row.threat_model, row.norm, row.eps): row
        for row in rows
    }
    adaptive = [
        row
        for row in rows
        if row.calibration == calibration
        and row.threat_model == "adaptive"
        and row.metric in ("top1", "R@1", "resists")
    ]
    if not adaptive:
        return "Not measured yet: `ironbind audit world --heads <this folder>` does, replayed and adaptive."
    lines = []
    for row in adaptive:
        where = (row.modality, row.space, row.task, row.metric)

        def cell(who: str, model: str, where: tuple[str, ...] = where, row: Row = row) -> str:
            spent = ("none", "0") if model == "clean" else (row.norm, row.eps)
            cell = cells.get((*where, who, model, *spent))
            return "–" if cell is None else f"{cell.value:.1f}"

        before = f"{cell('none', 'clean')} / {cell('none', 'whitebox')}"
        after = (
            cell(calibration, "clean"),
            cell(calibration, "replayed"),
            f"**{row.value:.1f}** ({row.ci_low:.1f}–{row.ci_high:.1f})",
        )
        checks = {"": "all passed", UNCHECKED: "not run"}.get(row.checks, row.checks)
        lines.append(
            (
                f"{row.modality} ({row.space})",
                f"{row.task}, {row.metric}",
                f"{row.norm} {row.eps}",
                row.attack,
                before,
                *after,
                row.n,
                checks,
            )
        )
    head = (
        "input",
        "task",
        "budget",
        "attack",
        "original: clean / attacked",
        "clean",
        "replayed",
        "adaptive (95 %)",
        "n",
        "checks",
    )
    return f"{markdown_table(head, lines)}\n\n{CAVEAT}"


def _compatibility(rows: Sequence[Row], calibration: str) -> str:
    """Recall in an index of the original encoder's embeddings; "" where that was not measured."""
    lines = []
    for index in index_results(rows):
        if index.calibration != calibration:
            continue
        if index.cosine:
            itself = f"{index.modality}->{index.modality}"
            lines.append((itself, "cosine", "–", f"{index.cosine.value:.3f}", index.cosine.n))
        for search in index.searches:
            other = index.modality if search.gallery == ITSELF else search.gallery
            before = f"{search.before.value:.1f}" if search.before else "–"
            lines.append(
                (f"{index.modality}->{other}", search.after.metric, before, f"{search.after.value:.1f}", search.after.n)
            )
    if not lines:
        return ""
    said = (
        "New queries in an index of old embeddings; cosine: of the new to the old embedding of the same input, on "
        "average."
    )
    return f"{markdown_table(('query -> old index', 'metric', 'old queries', 'new queries', 'n'), lines)}\n\n{said}"


def _records(records: Sequence[CalibrationRecord]) -> str:
    head = (
        "input",
        "parts",
        "parameters",
        "of its tower",
        "of the encoder",
        "objective",
        "trained against",
        "samples seen",
        "CPU s",
    )
    return markdown_table(
        head,
        [
            (
                f"{record.modality} ({record.space})",
                record.parts,
                f"{record.trainable:,}",
                share(record.trainable, record.tower_parameters),
                share(record.trainable, record.encoder_parameters),
                record.objective,
                f"{record.attack}, {record.eps}",
                f"{record.samples_seen or record.train_samples * record.epochs:,}",
                f"{record.cpu_seconds:.0f}",
            )
            for record in records
        ],
    )
