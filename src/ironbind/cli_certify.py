"""The command `ironbind certify`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ironbind.cli_progress import ProgressForm, Screen


def certify(
    recipe: Annotated[str, typer.Argument(help="Whose data: world, folder (class folders) or data (any layout).")],
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Run folder: table.csv, report.html, kept draws. An existing one is continued."),
    ] = None,
    encoder: Annotated[
        str, typer.Option("--encoder", help="Which encoder (see `ironbind ls encoders`), or your own: FILE.py:load.")
    ] = "tiny",
    weights: Annotated[str | None, typer.Option("--weights", help="The encoder's official weights file.")] = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps.")] = None,
    heads: Annotated[
        str | None,
        typer.Option("--heads", help="Certify trained parts too: a folder, org/name on the Hub, or shipped."),
    ] = None,
    data: Annotated[str | None, typer.Option("--data", help="Folder or file with the data.")] = None,
    layout: Annotated[
        str | None, typer.Option("--layout", help="Which layout the data have (see `ironbind ls datasets`).")
    ] = None,
    data_option: Annotated[
        list[str] | None, typer.Option("--data-option", help="What the layout takes further: fold=1, ... Repeatable.")
    ] = None,
    modality: Annotated[
        str | None, typer.Option("--modality", help="One modality, or several separated by commas.")
    ] = None,
    space: Annotated[str | None, typer.Option("--space", help="Where noise is added, e.g. waveform or logmel.")] = None,
    sigma: Annotated[
        float | None,
        typer.Option("--sigma", help="Standard deviation of the noise, in units of the space (0.25; waveform 0.1)."),
    ] = None,
    draws: Annotated[int, typer.Option("--draws", min=1, help="Of the noise, that certificates rest on.")] = 1000,
    confidence: Annotated[float, typer.Option("--confidence", help="Of every certificate.")] = 0.999,
    norm: Annotated[str, typer.Option("--norm", help="Of the radii in --eps: l2, or snr (waveform).")] = "l2",
    eps: Annotated[
        str | None,
        typer.Option("--eps", help="Radii to report (0.125 to 1.0; of a waveform also 20 to 40 dB)."),
    ] = None,
    retrieval: Annotated[
        bool, typer.Option("--retrieval", help="Certify retrieval with the captions too, in both directions.")
    ] = False,
    no_attack: Annotated[
        bool, typer.Option("--no-attack", help="Leave out the attack on the encoder without smoothing.")
    ] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Certify only so many samples.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of data, noise and attack.")] = 0,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Draws embedded at once; does not change results.")
    ] = 64,
    workers: Annotated[int, typer.Option("--workers", min=1, help="Modalities side by side, one process each.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget verdicts stored in the run folder.")] = False,
    progress: Annotated[
        ProgressForm,
        typer.Option("--progress", help="terminal, or json: one JSON object a line on stderr, for programs."),
    ] = ProgressForm.terminal,
) -> None:
    """Prove, by randomised smoothing, within which radius nothing that is added changes the answer: certified accuracy
    per radius, a table, a report.
    """
    from ironbind.cli_events import JsonLines
    from ironbind.core.epsilon import given_radii
    from ironbind.recipes.certificates import certificates
    from ironbind.recipes.request import AuditRequest
    from ironbind.report.terminal import summary
    from ironbind.runs.encoder_spec import EncoderSpec
    from ironbind.runs.run_jobs import run_jobs

    names = tuple(part.strip() for part in (modality or "").split(",") if part.strip())
    request = AuditRequest(
        EncoderSpec(encoder, weights, device, heads=heads),
        modalities=names,
        data=data,
        layout=layout,
        data_options=tuple(data_option or ()),
        space=space,
        norm=norm,
        eps=given_radii(eps),
        limit=limit,
        seed=seed,
        batch_size=batch_size,
    )
    knobs: dict[str, Any] = {"sigma": sigma, "draws": draws, "confidence": confidence, "retrieval": retrieval}
    jobs = certificates(request, recipe, **knobs, attacked=not no_attack)
    folder = out or Path("runs") / "-".join(["certify", recipe, Path(encoder.partition(":")[0]).stem, *names])
    listener = JsonLines() if progress is ProgressForm.json else Screen()
    listener.expect(len(jobs))
    devices = {job.encoder.device for job in jobs}  # one device must not wait for another
    with listener:
        page = run_jobs(jobs, folder, workers=max(workers, len(devices)), fresh=fresh, listener=listener)
    typer.echo(summary(folder))
    typer.echo(f"report: {page}")
