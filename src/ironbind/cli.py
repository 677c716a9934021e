"""The command line. Every command loads what it needs when it runs, so that `--help` answers at once."""

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from ironbind.errors import InputError

app = typer.Typer(
    name="ironbind",
    help="Audit and harden unified multi-modal encoders against adversarial perturbations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
world_app = typer.Typer(help="The built-in procedural six-modality world.", no_args_is_help=True)
app.add_typer(world_app, name="world")

Out = Annotated[Path | None, typer.Option("--out", help="Run folder: verdicts, table.csv, report.html. An existing one is continued.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of data, attacks and training.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget verdicts stored in the run folder.")]
Workers = Annotated[int, typer.Option("--workers", min=1, help="Modalities to work on side by side, one process each.")]
EncoderName = Annotated[str, typer.Option("--encoder", help="Which encoder (see `ironbind ls encoders`).")]
Weights = Annotated[str | None, typer.Option("--weights", help="The encoder's official weights file.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1 (encoders that take one).")]
Dtype = Annotated[str | None, typer.Option("--dtype", help="Precision of the frozen weights: float32 or bfloat16.")]
Modalities = Annotated[str | None, typer.Option("--modality", help="One modality, or several separated by commas.")]
Data = Annotated[str | None, typer.Option("--data", help="Folder with the data: DIR/<class>/<file>.")]
Split = Annotated[str, typer.Option("--split", help="Split of the built-in world.")]
Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Audit only so many samples.")]
BatchSize = Annotated[int, typer.Option("--batch-size", min=1, help="Samples attacked at once; does not change results.")]


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False) -> None:
    if version:
        from ironbind import __version__

        typer.echo(f"ironbind {__version__}")
        raise typer.Exit


@app.command()
def demo(
    out: Out = None,
    seed: Seed = 0,
    samples: Annotated[int | None, typer.Option("--samples", min=4, help="Test instances per modality.")] = None,
    workers: Workers = 2,
    full: Annotated[bool, typer.Option("--full", help="Twice the samples, 50 steps, 2 restarts, four calibrations: most of an hour.")] = False,
    fresh: Fresh = False,
) -> None:
    """Six modalities audited, calibrated, audited again, reported: the whole of ironbind on its built-in world and encoder."""
    from ironbind.recipes.audits import DEMO_SAMPLES
    from ironbind.recipes.audits import demo as jobs

    _run(jobs(seed, samples or DEMO_SAMPLES, full=full), out or Path("runs/demo"), workers, fresh)


@app.command()
def audit(
    recipe: Annotated[str, typer.Argument(help="What to audit (see `ironbind ls recipes`).")],
    out: Out = None,
    encoder: EncoderName = "tiny",
    weights: Weights = None,
    device: Device = None,
    dtype: Dtype = None,
    modality: Modalities = None,
    data: Data = None,
    train_data: Annotated[str | None, typer.Option("--train-data", help="Class folders that --calibration trains on.")] = None,
    split: Split = "test",
    space: Annotated[str | None, typer.Option("--space", help="What the attacker perturbs, e.g. waveform or logmel.")] = None,
    norm: Annotated[str, typer.Option("--norm", help="linf, l2, l1, snr (waveform), pointwise_l2 (points, pixels), event_share.")] = "linf",
    eps: Annotated[str | None, typer.Option("--eps", help="Radii in units of the space, e.g. 2/255,4/255 (snr: dB, event_share: 5%).")] = None,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Gradient steps of each attack.")] = 20,
    restarts: Annotated[int, typer.Option("--restarts", min=1, help="Random restarts of each attack.")] = 1,
    limit: Limit = None,
    calibration: Annotated[str | None, typer.Option("--calibration", help="Also train and audit these, separated by commas.")] = None,
    heads: Annotated[str | None, typer.Option("--heads", help="Audit the heads saved in this folder.")] = None,
    retrieval: Annotated[bool, typer.Option("--retrieval", help="Also audit cross-modal retrieval.")] = False,
    skip_unreadable: Annotated[bool, typer.Option("--skip-unreadable", help="Leave out files that cannot be read, and name them.")] = False,
    seed: Seed = 0,
    batch_size: BatchSize = 64,
    workers: Workers = 1,
    fresh: Fresh = False,
) -> None:
    """Attack an encoder: per-sample verdicts, a table, a report."""
    from ironbind.recipes import AUDITS
    from ironbind.recipes.audits import Choices

    chosen = Choices(
        encoder=encoder,
        weights=weights,
        device=device,
        dtype=dtype,
        modalities=_listed(modality),
        data=data,
        train_data=train_data,
        split=split,
        space=space,
        norm=norm,
        eps=_listed(eps),
        steps=steps,
        restarts=restarts,
        limit=limit,
        calibrations=_listed(calibration),
        heads=heads,
        retrieval=retrieval,
        skip_unreadable=skip_unreadable,
        seed=seed,
        batch_size=batch_size,
    )
    jobs = AUDITS[recipe](chosen)
    name = "-".join([recipe, encoder, *_listed(modality)])
    _run(jobs, out or Path("runs") / name, workers, fresh)


@app.command()
def calibrate(
    recipe: Annotated[str, typer.Argument(help="Which calibration (see `ironbind ls calibrations`).")],
    out: Out = None,
    encoder: EncoderName = "tiny",
    weights: Weights = None,
    modality: Modalities = None,
    data: Data = None,
    samples: Annotated[int, typer.Option("--samples", min=2, help="Training samples per modality.")] = 1000,
    head: Annotated[str, typer.Option("--head", help="linear or mlp.")] = "linear",
    eps: Annotated[str, typer.Option("--eps", help="Radius of the training examples.")] = "4/255",
    seed: Seed = 0,
    batch_size: BatchSize = 64,
) -> None:
    """Train heads on adversarial examples and save them; `ironbind audit ... --heads DIR` then measures them both ways."""
    from ironbind.recipes.train import train

    folder = out or Path("runs") / f"{recipe}-{encoder}"
    hear = _Screen()
    with hear:
        calibrated = train(
            recipe, folder, encoder=encoder, weights=weights, modalities=_listed(modality), data=data, samples=samples, head=head, eps=eps,
            seed=seed, batch_size=batch_size, listener=hear,
        )  # fmt: skip
    share = calibrated.records[0].encoder_parameters
    trained = calibrated.trainable()
    typer.echo(f"trained {trained:,} parameters, {100 * trained / share:.2f} % of the encoder's {share:,}")
    typer.echo(f"heads: {folder}")


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(help="Run folders.")],
    out: Annotated[Path | None, typer.Option("--out", help="Folder for the combined report (several runs).")] = None,
) -> None:
    """Write one self-contained page (and Markdown, CSV) from stored results."""
    from ironbind.report import combine, write_report

    page = write_report(runs[0], out) if len(runs) == 1 else combine(runs, out or Path("runs/combined"))
    typer.echo(f"report: {page}")


class Listing(str, Enum):
    """What `ironbind ls` can list."""

    encoders = "encoders"
    datasets = "datasets"
    modalities = "modalities"
    attacks = "attacks"
    objectives = "objectives"
    calibrations = "calibrations"
    recipes = "recipes"


@app.command("ls")
def list_names(what: Annotated[Listing | None, typer.Argument(help="Which table; all of them when left out.")] = None) -> None:
    """List what there is: encoders, data sets, modalities, attacks, objectives, calibrations, recipes."""
    from ironbind.recipes.tables import TABLES

    for name in [what.value] if what else [one.value for one in Listing]:
        typer.echo(f"{name}: {', '.join(TABLES[name])}")


@app.command("weights")
def list_weights() -> None:
    """Say where each encoder's official weights come from and what their licence allows."""
    from ironbind.encoders.weights_table import WEIGHTS

    for one in WEIGHTS.values():
        typer.echo(f"{one.encoder}: {one.file} ({one.bytes / 1e9:.1f} GB), {one.licence}: {one.terms}")
        typer.echo(f"    from {one.source}")
        typer.echo(f"    cite {one.citation}")


@world_app.command("export")
def world_export(
    folder: Annotated[Path, typer.Argument(help="Where to write; a folder of its own.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Instances.")] = 200,
    split: Split = "test",
    seed: Seed = 0,
    modality: Modalities = None,
) -> None:
    """Write instances as real files (PNG, MP4, WAV, PLY, 16-bit PNG, .npz, captions.csv) in class folders."""
    from ironbind.data import load_dataset
    from ironbind.data.export import export

    hear = _Screen()
    with hear:
        export(load_dataset("world", split=split, n=n, seed=seed), folder, modalities=_listed(modality) or None, progress=hear.count("export"))
    typer.echo(f"exported: {folder}")


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip()) if text else ()


def _run(jobs: Any, out: Path, workers: int, fresh: bool) -> None:
    from ironbind.recipes.run import run_jobs

    hear = _Screen()
    with hear:
        page = run_jobs(jobs, out, workers=workers, fresh=fresh, listener=hear)
    from ironbind.recipes.summary import summary

    typer.echo(summary(out))
    typer.echo(f"report: {page}")


class _Screen:
    """Live progress: one bar per job on a terminal, one plain line per finished step elsewhere."""

    def __enter__(self) -> "_Screen":
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._console = Console(stderr=True)
        self._bars: Any = None
        self._tasks: dict[str, Any] = {}
        self._said: set[tuple[str, str]] = set()
        if self._console.is_terminal:
            job, what = TextColumn("{task.fields[job]:>8}"), TextColumn("{task.description}")
            columns = (job, BarColumn(24), MofNCompleteColumn(), TimeElapsedColumn(), what)
            self._bars = Progress(*columns, console=self._console)
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, event: Any) -> None:
        if self._bars:
            if event.job not in self._tasks:
                self._tasks[event.job] = self._bars.add_task(event.what, job=event.job, total=event.total)
            self._bars.update(self._tasks[event.job], description=event.what, completed=event.done, total=event.total)
        elif event.done >= event.total and (event.job, event.what) not in self._said:
            self._said.add((event.job, event.what))
            print(f"{event.job}: {event.what} ({event.total})", file=sys.stderr, flush=True)

    def count(self, job: str) -> Any:
        """A plain (done, total) callback that reports as `job`."""
        from types import SimpleNamespace

        return lambda done, total: self(SimpleNamespace(job=job, what="files", done=done, total=total))


def main() -> None:
    """The console script: a user's mistake is one line on stderr and exit code 2."""
    try:
        app(standalone_mode=True)
    except KeyboardInterrupt:
        print("ironbind: stopped; what was computed is stored, run the same command to continue", file=sys.stderr)
        sys.exit(130)
    except InputError as error:
        print(f"ironbind: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
