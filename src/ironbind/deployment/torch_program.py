"""A tower as a torch.export program (.pt2): purifier and head included, any batch size, no ironbind needed to run it."""

from pathlib import Path

import torch

from ironbind.core.errors import writing
from ironbind.deployment.exported_tower import ExportedTower, preprocessing
from ironbind.deployment.folding import Folded
from ironbind.deployment.graph_files import graph_files
from ironbind.deployment.verification import FOLDED
from ironbind.deployment.written_form import WrittenForm
from ironbind.types import InputError


def write(folded: Folded, out: Path) -> WrittenForm:
    """The program in the native space of the modality, and its preprocess.json. Raises InputError for a tower that
    torch.export cannot trace.
    """
    space = folded.spec.space.name
    files = graph_files(out, ".pt2")
    tower = ExportedTower(folded, space)
    try:
        program = torch.export.export(
            tower, (tower.example(),), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
        )
    except Exception as error:  # whatever a tracer raises
        raise InputError(
            f"--format torch: the {folded.modality} tower of {folded.encoder.name!r} cannot be traced by torch.export "
            f"({type(error).__name__}: {_first_line(error)})"
        ) from error
    files.graph.parent.mkdir(parents=True, exist_ok=True)
    with writing(files.graph):
        torch.export.save(program, files.graph)
    sha256 = files.describe(lambda digest: preprocessing(folded, space, files.graph.name, digest))
    run = torch.export.load(files.graph).module()
    return WrittenForm((files.graph, files.preprocess), lambda x, _: run(x), (space,), FOLDED, sha256)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
