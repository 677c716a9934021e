"""The commands about data: the built-in world as files, a look at data of one's own, class centers. `cli` adds them."""

from pathlib import Path
from typing import Annotated

import typer

from ironbind.cli_progress import Screen

world_app = typer.Typer(help="The built-in procedural six-modality world.", no_args_is_help=True)
data_app = typer.Typer(help="Data of your own: look before you run.", no_args_is_help=True)


@world_app.command("export")
def world_export(
    folder: Annotated[Path, typer.Argument(help="Where to write; a folder of its own.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Instances.")] = 200,
    split: Annotated[str, typer.Option("--split", help="Split of the built-in world.")] = "test",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the data.")] = 0,
    modality: Annotated[
        str | None, typer.Option("--modality", help="One modality, or several separated by commas.")
    ] = None,
) -> None:
    """Write instances as real files (PNG, MP4, WAV, PLY, 16-bit PNG, .npz, captions.csv) in class folders."""
    from ironbind.data import load_dataset
    from ironbind.data.export_files import export

    names = tuple(part.strip() for part in (modality or "").split(",") if part.strip())
    screen = Screen()
    with screen:
        export(
            load_dataset("world", split=split, n=n, seed=seed),
            folder,
            modalities=names or None,
            progress=screen.count("export"),
        )
    typer.echo(f"exported: {folder}")


@data_app.command("check")
def data_check(
    path: Annotated[Path, typer.Argument(help="Folder or file with the data.")],
    layout: Annotated[
        str | None, typer.Option("--layout", help="Which layout (default: the likeliest; see `ironbind ls datasets`).")
    ] = None,
    modality: Annotated[
        str | None, typer.Option("--modality", help="What the files are, where the layout does not say.")
    ] = None,
    data_option: Annotated[
        list[str] | None, typer.Option("--data-option", help="What the layout takes further: fold=1, ... Repeatable.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Look at only so many samples.")] = None,
    sheet: Annotated[
        Path | None,
        typer.Option("--sheet", help="Where to write the contact sheet (default: a new contact-sheet.png)."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the data.")] = 0,
) -> None:
    """Say which layout a folder is, count, read every file, draw a contact sheet. Exit code 1 for problems."""
    from ironbind.data import SeveralLayouts, likeliest
    from ironbind.data.inspect.contact_sheet import contact_sheet, save_sheet
    from ironbind.data.inspect.inspection import inspect_data, some_of
    from ironbind.data.loader_options import loader_options
    from ironbind.recipes.any_layout import command_for

    try:
        options = loader_options(layout or likeliest(path, data_option or []), data_option or [])
    except SeveralLayouts as error:
        typer.echo(f"ironbind: {error}", err=True)
        raise typer.Exit(1) from None
    screen = Screen()
    with screen:
        inspection = inspect_data(
            path, layout, modality=modality, options=options, limit=limit, seed=seed, progress=screen.count("check")
        )
    typer.echo("\n".join(inspection.lines()))
    typer.echo(f"contact sheet: {save_sheet(contact_sheet(inspection.listing, some_of(inspection)), sheet)}")
    typer.echo(f"to audit it: {command_for(inspection)}")
    raise typer.Exit(1 if inspection.problems else 0)


@data_app.command("centers")
def data_centers(
    source: Annotated[Path, typer.Argument(help="UniBind's pickled centers, centre_embs/*.pkl.")],
    out: Annotated[Path, typer.Option("--out", help="The .safetensors to write.")] = Path("centers.safetensors"),
) -> None:
    """Rewrite pickled class centers as .safetensors, once; the pickle is read through an unpickler that knows tensors
    only.
    """
    from ironbind.encoders.unibind.center_files import convert_centers

    centers = convert_centers(source, out)
    typer.echo(f"{len(centers)} classes, {len(centers.z)} rows of {centers.z.shape[1]}: {out}")
