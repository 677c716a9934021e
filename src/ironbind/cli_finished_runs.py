"""The commands that read finished runs: report, gate, leaderboard, evidence. `cli` registers them."""

from pathlib import Path
from typing import Annotated

import typer

from ironbind.cli_progress import Screen


def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the combined report (several runs).")] = None,
) -> None:
    """Write one self-contained page (and Markdown, CSV) from stored results; of several runs the tables of a paper
    (Markdown, LaTeX, HTML, CSV).
    """
    from ironbind.report import combine, write_report

    finished = [folder for folder in runs if (folder / "result.json").exists() or not folder.is_dir()] or runs
    for folder in runs:
        if folder not in finished:
            typer.echo(f"left out: {folder} holds no result.json", err=True)
    page = write_report(finished[0], out) if len(finished) == 1 else combine(finished, out or Path("runs/combined"))
    typer.echo(f"report: {page}")


def gate(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    require: Annotated[
        list[str] | None,
        typer.Option("--require", help='A threshold, as "image 4/255 adaptive >= 40". Repeatable.'),
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="An earlier run on the same samples (with --max-drop).")
    ] = None,
    max_drop: Annotated[float | None, typer.Option("--max-drop", help="Points that may be lost since then.")] = None,
    compare: Annotated[
        str | None,
        typer.Option("--compare", help="interval (default: its unfavourable end) or value (as measured)."),
    ] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Where to write the report as JSON.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Where to write it as JUnit XML.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Where to write it as a comment for a pull request.")
    ] = None,
) -> None:
    """Compare a run with thresholds and with an earlier run. What is left out is read from [tool.ironbind.gate] of
    pyproject.toml. Exit code 1 where something is not met or a check failed, 2 for bad input.
    """
    from ironbind.gate.gate import gate as judge
    from ironbind.gate.renderings import text, write
    from ironbind.gate.settings import settings

    report = judge(run, settings(require or (), baseline, max_drop, compare))
    write(report, json, junit, markdown)
    typer.echo(text(report))
    raise typer.Exit(0 if report.met else 1)


def leaderboard(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path, typer.Option("--out", help="The folder for index.html and leaderboard.json.")],
) -> None:
    """Rank the encoders of many runs on one static page; entries whose checks failed are shown apart."""
    from ironbind.report.leaderboard import write_leaderboard

    typer.echo(f"leaderboard: {write_leaderboard(runs, out)}")


def evidence(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write: new, empty, or an earlier pack.")],
    modality: Annotated[
        str | None, typer.Option("--modality", help="One modality, or several separated by commas.")
    ] = None,
    eps: Annotated[
        str | None, typer.Option("--eps", help="Radii of the run (default: the headline one of each space).")
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Examples of each number.")] = 8,
) -> None:
    """Write adversarial examples of a run as files, each with its clean twin, and its numbers as model hubs read them.
    Examples that the run did not store are crafted again.
    """
    from ironbind.core.epsilon import radii
    from ironbind.evidence.pack import write_pack

    names = [part.strip() for part in (modality or "").split(",") if part.strip()]
    screen = Screen()
    with screen:
        found = write_pack(
            run, out, modalities=names, eps=radii(eps or ""), samples=samples, progress=screen.count("evidence")
        )
    for each in found:
        typer.echo(each.line)
    typer.echo(f"examples: {out / 'examples.csv'}")
