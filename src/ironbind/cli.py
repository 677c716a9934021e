"""The command line. Every command loads what it needs when it runs, so that `--help` answers at once."""

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from ironbind.cli_certify import certify
from ironbind.cli_data import data_app, world_app
from ironbind.cli_export import export
from ironbind.cli_finished_runs import evidence, gate, leaderboard, report
from ironbind.cli_index import index_app
from ironbind.cli_progress import ProgressForm, Screen
from ironbind.core.epsilon import given_radii

app = typer.Typer(
    name="ironbind",
    help="Audit and harden unified multi-modal encoders against adversarial perturbations.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(world_app, name="world")
app.add_typer(data_app, name="data")
app.add_typer(index_app, name="index")

Out = Annotated[
    Path | None,
    typer.Option("--out", help="Run folder: verdicts, table.csv, report.html. An existing one is continued."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of data, attacks and training.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Forget verdicts stored in the run folder.")]
Workers = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        help="Modalities side by side, one process each (at least as many as devices); for one: to decode.",
    ),
]
EncoderName = Annotated[
    str,
    typer.Option(
        "--encoder",
        help="Which encoder (see `ironbind ls encoders`), transformers:NAME_OR_PATH, "
        "sentence-transformers:NAME_OR_PATH, or your own: FILE.py:load, package.module:load.",
    ),
]
Weights = Annotated[str | None, typer.Option("--weights", help="The encoder's official weights file.")]
Device = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda, cuda:1, mps; cuda:0,cuda:1 shares out the modalities (see --workers)."),
]
Modalities = Annotated[str | None, typer.Option("--modality", help="One modality, or several separated by commas.")]
Data = Annotated[str | None, typer.Option("--data", help="Folder or file with the data.")]

Limit = Annotated[int | None, typer.Option("--limit", min=1, help="Audit only so many samples.")]
Layout = Annotated[
    str | None, typer.Option("--layout", help="Which layout the data have (see `ironbind ls datasets`).")
]
DataOption = Annotated[
    list[str] | None,
    typer.Option("--data-option", help="What the layout takes further: fold=1, columns.image=photo, ... Repeatable."),
]
TrainingSamples = Annotated[
    int | None, typer.Option("--samples", min=2, help="Training samples per modality (default: the recipe's own).")
]
TrainingSteps = Annotated[
    int | None,
    typer.Option("--steps", min=1, help="Optimiser steps of adversarial training (default: the recipe's own)."),
]


ProgressOption = Annotated[
    ProgressForm, typer.Option("--progress", help="terminal, or json: one JSON object a line on stderr, for programs.")
]
TensorBoard = Annotated[
    Path | None,
    typer.Option("--tensorboard", help="Folder for TensorBoard's event files (pip install 'ironbind[tensorboard]')."),
]
BatchSize = Annotated[
    int, typer.Option("--batch-size", min=1, help="Samples attacked at once; does not change results.")
]


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
    full: Annotated[
        bool,
        typer.Option("--full", help="256 samples, all radii, five calibrations, longer training: hours."),
    ] = False,
    fresh: Fresh = False,
    progress: ProgressOption = ProgressForm.terminal,
) -> None:
    """Six modalities audited, calibrated, audited again, reported: the whole of ironbind on its built-in world and
    encoder.
    """
    from ironbind.recipes.demo import demo as jobs

    _run(jobs(seed, samples, full=full), out or Path("runs/demo"), workers, fresh, _listener(progress))


@app.command()
def audit(
    recipe: Annotated[
        str,
        typer.Argument(
            help="What to audit (see `ironbind ls recipes`), mteb/TASK, or a function of yours: FILE.py:FUNCTION."
        ),
    ],
    out: Out = None,
    encoder: EncoderName = "tiny",
    weights: Weights = None,
    device: Device = None,
    heads: Annotated[
        str | None,
        typer.Option("--heads", help="Audit trained heads and adapters: a folder, org/name on the Hub, or shipped."),
    ] = None,
    data: Data = None,
    layout: Layout = None,
    data_option: DataOption = None,
    modality: Modalities = None,
    space: Annotated[
        str | None, typer.Option("--space", help="What the attacker perturbs, e.g. waveform or logmel.")
    ] = None,
    norm: Annotated[
        str, typer.Option("--norm", help="linf, l2, l1, snr (waveform), pointwise_l2 (points, pixels), event_share.")
    ] = "linf",
    eps: Annotated[
        str | None,
        typer.Option("--eps", help="Radii in units of the space, e.g. 2/255,4/255 (snr: dB, event_share: 5%)."),
    ] = None,
    attack: Annotated[
        str | None, typer.Option("--attack", help="standard, thorough, or names from `ironbind ls attacks`.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Gradient steps of each attack; alone: a quick look (PGD).")
    ] = None,
    limit: Limit = None,
    seed: Seed = 0,
    batch_size: BatchSize = 64,
    workers: Workers = 1,
    fresh: Fresh = False,
    progress: ProgressOption = ProgressForm.terminal,
    tensorboard: TensorBoard = None,
) -> None:
    """Attack an encoder: per-sample verdicts, a table, a report. What is rarer than these options, a function of yours
    says: it takes the request and returns jobs (docs/your-own-audit.md).
    """
    from ironbind.recipes import audit_named
    from ironbind.recipes.request import AuditRequest
    from ironbind.runs.encoder_spec import EncoderSpec

    request = AuditRequest(
        EncoderSpec(encoder, weights, device, heads=heads),
        modalities=_listed(modality),
        data=data,
        layout=layout,
        data_options=tuple(data_option or ()),
        space=space,
        norm=norm,
        eps=given_radii(eps),
        attack=attack,
        steps=steps,
        limit=limit,
        seed=seed,
        batch_size=batch_size,
    )
    jobs = audit_named(recipe)(request)
    folder = out or Path("runs") / _folder_name(recipe, encoder, modality)
    _run(jobs, folder, workers, fresh, _listener(progress, tensorboard))


@app.command()
def calibrate(
    recipe: Annotated[str, typer.Argument(help="Which calibration (see `ironbind ls calibrations`).")],
    out: Out = None,
    encoder: EncoderName = "tiny",
    weights: Weights = None,
    device: Annotated[str | None, typer.Option("--device", help="cpu, cuda, cuda:1, mps.")] = None,
    modality: Modalities = None,
    data: Data = None,
    start: Annotated[
        str | None, typer.Option("--start", help="Go on from trained parts: a folder, org/name on the Hub, or shipped.")
    ] = None,
    samples: TrainingSamples = None,
    steps: TrainingSteps = None,
    head: Annotated[str | None, typer.Option("--head", help="linear or mlp (default: the recipe's own).")] = None,
    rank: Annotated[
        int | None, typer.Option("--rank", min=0, help="Of the adapters, in every layer (default: the recipe's own).")
    ] = None,
    eps: Annotated[str, typer.Option("--eps", help="Radius of the training examples.")] = "4/255",
    noise: Annotated[
        float | None,
        typer.Option("--noise", min=0, help="Gaussian noise on all inputs (its sigma), for `ironbind certify`."),
    ] = None,
    distillation: Annotated[
        float | None, typer.Option("--distillation", min=0, help="Weight of the frozen clean embeddings.")
    ] = None,
    also: Annotated[
        str | None, typer.Option("--also", help="Further budgets, attacked in turn with --eps: l2:0.5,l1:10.")
    ] = None,
    seed: Seed = 0,
    batch_size: BatchSize = 64,
    progress: ProgressOption = ProgressForm.terminal,
    tensorboard: TensorBoard = None,
) -> None:
    """Train heads or adapters on adversarial examples and save them; `ironbind audit ... --heads DIR` then measures
    them both ways.
    """
    from ironbind.recipes.train_calibration import TrainingRequest, replaced_calibration, train
    from ironbind.runs.encoder_spec import EncoderSpec

    request = TrainingRequest(
        recipe,
        EncoderSpec(encoder, weights, device, heads=start),
        modalities=_listed(modality),
        data=data,
        samples=samples,
        steps=steps,
        head=head,
        rank=rank,
        eps=eps,
        noise=noise,
        also=_listed(also),
        distillation=distillation,
        seed=seed,
        batch_size=batch_size,
    )
    folder = out or Path("runs") / _folder_name(recipe, encoder, None)
    for line in replaced_calibration(folder, request):
        typer.echo(f"ironbind: {line}", err=True)
    listener = _listener(progress, tensorboard)
    with listener:
        calibrated = train(request, folder, listener=listener)
    share = calibrated.records[0].encoder_parameters
    trained = calibrated.trainable()
    typer.echo(f"trained {trained:,} parameters, {100 * trained / share:.2f} % of the encoder's {share:,}")
    typer.echo(f"heads and adapters: {folder}")


@app.command()
def ablate(
    recipes: Annotated[
        str, typer.Option("--recipes", help="Calibrations to compare, separated by commas.")
    ] = "center_ce,fare,calmars,hardened",
    out: Out = None,
    encoder: EncoderName = "tiny",
    weights: Weights = None,
    device: Device = None,
    modality: Modalities = None,
    data: Data = None,
    train_data: Annotated[str | None, typer.Option("--train-data", help="Class folders to train on.")] = None,
    eps: Annotated[
        str | None, typer.Option("--eps", help="Radius to audit at (default: the headline one of each space).")
    ] = None,
    samples: TrainingSamples = None,
    steps: TrainingSteps = None,
    limit: Limit = None,
    seed: Seed = 0,
    workers: Workers = 1,
    fresh: Fresh = False,
    progress: ProgressOption = ProgressForm.terminal,
) -> None:
    """Train several calibrations on the same data and audit them side by side: clean, replayed, adaptive, share of
    parameters, CPU seconds.
    """
    from ironbind.recipes import ablation
    from ironbind.recipes.request import AuditRequest
    from ironbind.runs.encoder_spec import EncoderSpec

    request = AuditRequest(
        EncoderSpec(encoder, weights, device), _listed(modality), data, eps=given_radii(eps), limit=limit, seed=seed
    )
    jobs = ablation.jobs(request, _listed(recipes), data=train_data, samples=samples, steps=steps)
    folder = out or Path("runs") / _folder_name("ablate", encoder, modality)
    _run(jobs, folder, workers, fresh, _listener(progress))
    typer.echo(ablation.write_table(folder))


@app.command()
def selftest(
    seed: Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", help="Folder for selftest.json.")] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All six modalities rather than images alone: ten minutes or so.")
    ] = False,
) -> None:
    """Audit encoders that are broken on purpose, a sound one and a provably robust one: do the right alarms ring, and
    only those?
    """
    from rich.console import Console

    from ironbind.selftest.selftest import selftest as run
    from ironbind.selftest.selftest import table, verdict, write

    screen = Screen()
    with screen:
        trials = run(seed, full, listener=screen)
    Console().print(table(trials))
    if out is not None:
        typer.echo(f"result: {write(trials, out, seed)}")
    typer.echo(verdict(trials))
    if not all(trial.passed for trial in trials):
        raise typer.Exit(1)


for _command in (certify, export, report, gate, leaderboard, evidence):
    app.command()(_command)


class Listing(str, Enum):
    """What `ironbind ls` can list."""

    encoders = "encoders"
    datasets = "datasets"
    modalities = "modalities"
    attacks = "attacks"
    corruptions = "corruptions"
    defences = "defences"
    objectives = "objectives"
    calibrations = "calibrations"
    recipes = "recipes"


@app.command("ls")
def list_names(
    what: Annotated[Listing | None, typer.Argument(help="Which table; all of them when left out.")] = None,
) -> None:
    """List what there is: encoders, data sets, modalities, attacks, corruptions, defences, objectives, calibrations,
    recipes.
    """
    from ironbind.recipes.all_tables import TABLES

    for name in [what.value] if what else [table.value for table in Listing]:
        typer.echo(f"{name}: {', '.join(entry for entry in TABLES[name] if not entry.startswith('paper/'))}")
    if what in (None, Listing.recipes):
        from ironbind.recipes.paper.grid import overview

        typer.echo(f"\nand one recipe per cell of the paper's grid, paper/DATA_SET/ENCODER:\n\n{overview()}")


@app.command("weights")
def list_weights() -> None:
    """Say where each encoder's official weights come from and what their licence allows."""
    from ironbind.encoders.shared.official_weights import WEIGHTS

    for weights in WEIGHTS.values():
        bytes = weights.bytes
        size = (
            "size not known" if bytes is None else f"{bytes / 1e9:.1f} GB" if bytes >= 1e8 else f"{bytes / 1e6:.0f} MB"
        )
        typer.echo(f"{weights.encoder}: {weights.file} ({size}), {weights.licence}: {weights.terms}")
        typer.echo(f"    from {weights.source}")
        typer.echo(f"    cite {weights.citation}")


def _listed(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()


def _folder_name(recipe: str, encoder: str, modality: str | None) -> str:
    """The default run folder: named by recipe, encoder and modalities."""
    if recipe.startswith("paper/"):  # the encoder of a cell is in its name
        return recipe.replace("/", "-")
    parts = [recipe.replace("/", "-"), encoder] if ":" not in recipe else [recipe]
    return "-".join([*map(_without_folders, parts), *_listed(modality)])


def _without_folders(name: str) -> str:
    """Of a user's function, FILE.py:FUNCTION, the names of both; other names as they are."""
    file, colon, function = name.partition(":")
    return f"{Path(file).stem}-{Path(function).name}" if colon else name


def _listener(progress: ProgressForm, tensorboard: Path | None = None) -> Any:
    """What listens to a run: on entering, it begins. Raises InputError for event files without their package."""
    from ironbind.cli_events import EventFiles, JsonLines

    listener = JsonLines() if progress is ProgressForm.json else Screen()
    return listener if tensorboard is None else EventFiles(tensorboard, listener)


def _run(jobs: Any, out: Path, workers: int, fresh: bool, screen: Any) -> None:
    from ironbind.runs.run_jobs import run_jobs

    screen.expect(len(jobs))
    with screen:
        devices = {job.encoder.device for job in jobs}  # one device must not wait for another
        page = run_jobs(jobs, out, workers=max(workers, len(devices)), fresh=fresh, listener=screen)
    from ironbind.report.terminal import summary

    typer.echo(summary(out))
    typer.echo(f"report: {page}")
