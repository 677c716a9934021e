"""The tables of `grid_tables` as Markdown, LaTeX (booktabs) and HTML; all rows as CSV with the data set in front."""

from collections.abc import Sequence
from typing import Any

from ironbind.core.results import COLUMNS, THREAT_MODELS, Check, row_cells
from ironbind.core.tables.csv_text import csv_text
from ironbind.report.markdown import table as markdown_table
from ironbind.report.markdown import text
from ironbind.report.number_format import cell, interval, norm_name
from ironbind.report.paper_grid.grid_tables import Cell, Column, Table, Value, grid_tables, subject_of
from ironbind.report.pivots import calibration_label
from ironbind.report.stored_runs import Run, failures
from ironbind.report.templates_env import environment

FAILED = "†"
_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
_SIGNS = {
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "→": r"$\rightarrow$",
    "∞": r"$\infty$",
    "ε": r"$\varepsilon$",
    "†": r"$^\dagger$",
    "≤": r"$\le$",
}


def written(value: Value) -> str:
    """A number with one decimal and its flag, or why there is none."""
    return value.why if value.row is None else cell(value.row) + (FAILED if value.failed else "")


def note(table: Table) -> str:
    """What a reader must know of a table: where and how inputs were perturbed, samples, intervals."""
    attacked = [column for column in table.columns if column.norm != "none"]
    spaces = list(dict.fromkeys(f"{norm_name(column.norm)} in {column.space}" for column in attacked))
    counts = [n for column in table.columns for n in column.n]
    samples = f"n = {min(counts):,}" if min(counts) == max(counts) else f"n = {min(counts):,} to {max(counts):,}"
    perturbed = f"Perturbed: {', '.join(spaces)}. " if spaces else ""
    return f"{perturbed}{samples}; 95 % intervals reach at most {table.half_width:.1f} points from the value."


def _heading(column: Column, table: Table) -> str:
    """A data set's title, with the space and norm where the table has it in several."""
    twins = [other for other in table.columns if other.data == column.data]
    return (
        column.title
        if len(twins) == 1
        else f"{column.title} ({column.space}{', ' + norm_name(column.norm) if column.norm != 'none' else ''})"
    )


# ------------------------------------------------------------------------------------------------------------ Markdown


def grid_markdown(runs: Sequence[Run], title: str) -> str:
    """All tables as GitHub Markdown; a calibrated cell reads "replayed / **adaptive**"."""
    blocks = [f"# {text(title)}"]
    blocks += [
        f"> **Check failed in {text(where)}: {text(check.code)} {text(check.name)}** "
        f"{text(check.detail)} {text(check.scope)}"
        for where, check in _failed(runs)
    ]
    for table in grid_tables(runs):
        head = [
            "",
            *(f"{_heading(column, table)}: {name}" for column in table.columns for name in ("clean", *column.eps)),
        ]
        lines = ["| " + " | ".join(text(name) for name in head) + " |", "|---" * len(head) + "|"]
        for group in table.groups:
            lines.append(f"| **{text(calibration_label(group.calibration))}** |" + " |" * (len(head) - 1))
            for line in group.lines:
                cells = [piece for cell_ in line.cells for piece in _pieces(cell_, group.calibration)]
                lines.append("| " + " | ".join([text(line.encoder), *cells]) + " |")
        blocks += [f"## {text(table.title)}", "\n".join(lines), text(note(table))]
    return "\n\n".join([*blocks, _key(), _origins(runs)]) + "\n"


def _failed(runs: Sequence[Run]) -> list[tuple[str, Check]]:
    """Every check that failed, with the run it failed in."""
    return [(run.result.name, check) for run in runs for check in failures([run])]


def _pieces(cell_: Cell, calibration: str) -> list[str]:
    if calibration == "none":
        return [written(cell_.clean), *(written(robust.whitebox) for robust in cell_.robust)]
    return [
        written(cell_.clean),
        *(_pair(written(robust.replayed), written(robust.adaptive)) for robust in cell_.robust),
    ]


def _pair(replayed: str, adaptive: str) -> str:
    return (
        replayed
        if replayed == adaptive == "n/a"
        else f"{replayed} / {adaptive if adaptive in ('-', 'n/a') else f'**{adaptive}**'}"
    )


def _key() -> str:
    kinds = "\n".join(f"- *{name}*: {THREAT_MODELS[name]}." for name in ("whitebox", "replayed", "adaptive"))
    cells = "Uncalibrated encoders: white-box. Calibrated ones: replayed / **adaptive**. `-`: nobody ran it."
    return f"{cells} `n/a`: the encoder has no such tower. {FAILED}: a check of this number failed.\n\n{kinds}"


def _origins(runs: Sequence[Run]) -> str:
    head = ("run", "encoder", "data", "date", "command")
    rows = []
    for run in runs:
        about, record = subject_of(run), run.result.record
        rows.append((run.result.name, about.encoder, about.title, record.get("date", ""), record.get("command", "")))
    return "## Runs\n\n" + markdown_table(head, rows)


# --------------------------------------------------------------------------------------------------------------- LaTeX


def latex_text(value: object) -> str:
    """Anything as LaTeX text that means itself."""
    return "".join(_LATEX.get(sign, _SIGNS.get(sign, sign)) for sign in str(value))


def grid_latex(runs: Sequence[Run], title: str) -> str:
    """All tables for \\usepackage{booktabs}; each data set has a clean column and, per radius, a replayed and an
    adaptive one.
    """
    parts = [f"% {title}", "% needs \\usepackage{booktabs}"]
    parts += [_latex(table, number) for number, table in enumerate(grid_tables(runs), start=1)]
    return "\n\n".join(parts) + "\n"


def _latex(table: Table, number: int) -> str:
    widths = [1 + 2 * len(column.eps) for column in table.columns]
    starts = [2 + sum(widths[:at]) for at in range(len(widths))]
    heads: list[list[str]] = [[""], [""], [""]]
    rules, finer = [], []
    for column, start, width in zip(table.columns, starts, widths, strict=True):
        heads[0].append(f"\\multicolumn{{{width}}}{{c}}{{{latex_text(_heading(column, table))}}}")
        heads[1] += ["clean", *(f"\\multicolumn{{2}}{{c}}{{{latex_text(eps)}}}" for eps in column.eps)]
        heads[2] += ["", *(["repl.", "adapt."] * len(column.eps))]
        rules.append(f"\\cmidrule(lr){{{start}-{start + width - 1}}}")
        finer += [f"\\cmidrule(lr){{{start + 1 + 2 * at}-{start + 2 + 2 * at}}}" for at in range(len(column.eps))]
    body = []
    for group in table.groups:
        name = latex_text(calibration_label(group.calibration))
        body.append(f"\\midrule\n\\multicolumn{{{1 + sum(widths)}}}{{l}}{{\\textit{{{name}}}}} \\\\")
        for line in group.lines:
            cells = [latex_text(line.encoder)]
            for cell_ in line.cells:
                cells.append(_latex_value(cell_.clean))
                for robust in cell_.robust:
                    if group.calibration == "none":
                        cells.append(f"\\multicolumn{{2}}{{c}}{{{_latex_value(robust.whitebox)}}}")
                    else:
                        cells += [_latex_value(robust.replayed), _latex_value(robust.adaptive)]
            body.append(" & ".join(cells) + r" \\")
    return "\n".join(
        [
            "\\begin{table}", "\\centering",
            f"\\caption{{{latex_text(table.title)}. {latex_text(note(table))} Uncalibrated encoders: white-box.}}",
            f"\\label{{tab:grid-{number}}}", f"\\begin{{tabular}}{{l{'r' * sum(widths)}}}", "\\toprule",
            " & ".join(heads[0]) + r" \\", " ".join(rules), " & ".join(heads[1]) + r" \\", " ".join(finer),
            " & ".join(heads[2]) + r" \\", *body, "\\bottomrule", "\\end{tabular}", "\\end{table}",
        ]
    )  # fmt: skip


def _latex_value(value: Value) -> str:
    return "--" if written(value) == "-" else latex_text(written(value))


# ---------------------------------------------------------------------------------------------------------- HTML, CSV


def grid_html(runs: Sequence[Run], title: str) -> str:
    """All tables as one page that needs nothing else."""
    templates = environment(
        calibration_label=calibration_label, heading=_heading, interval=interval, note=note, written=written
    )
    about: list[tuple[Run, Any]] = [(run, subject_of(run)) for run in runs]
    return templates.get_template("grid.html").render(
        title=title,
        tables=grid_tables(runs),
        failed=_failed(runs),
        about=about,
        threat_models=THREAT_MODELS,
        mark=FAILED,
    )


def grid_csv(runs: Sequence[Run], title: str) -> str:
    """Every row of every run, with the data set and the encoder's title in front."""
    subjects = [(run, subject_of(run)) for run in runs]
    return csv_text(
        ("data", "model", *COLUMNS),
        ([about.data, about.encoder, *row_cells(row)] for run, about in subjects for row in run.result.rows),
    )
