"""A tower as a torch.export program (.pt2): purifier and head included, any batch size; it runs without ironbind."""

import warnings
from pathlib import Path

import torch
from torch import nn

from ironbind.core.errors import first_line, writing
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
        _drop_unused(tower, _traced(tower))  # the towers of other modalities
        program = _traced(tower)
    except Exception as error:  # whatever a tracer raises
        raise InputError(
            f"--format torch: the {folded.modality} tower of {folded.encoder.name!r} cannot be traced by torch.export "
            f"({type(error).__name__}: {first_line(error)[:200]})"
        ) from error
    files.graph.parent.mkdir(parents=True, exist_ok=True)
    with writing(files.graph), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its archive's own bookkeeping
        torch.export.save(program, files.graph)
    sha256 = files.describe(lambda digest: preprocessing(folded, space, files.graph.name, digest))
    run = torch.export.load(files.graph).module()
    return WrittenForm((files.graph, files.preprocess), lambda x, _: run(x), (space,), FOLDED, sha256)


def _traced(tower: ExportedTower) -> torch.export.ExportedProgram:
    batch = torch.export.Dim("batch")
    return torch.export.export(tower, (tower.example(),), dynamic_shapes=({0: batch},), strict=False)


def _drop_unused(tower: ExportedTower, program: torch.export.ExportedProgram) -> None:
    """Empties the tensors of a tower that its program takes and never uses. The tower is a copy's (`fold`)."""
    signature = program.graph_signature
    names = {**signature.inputs_to_parameters, **signature.inputs_to_buffers}
    used = {names[node.name] for node in program.graph.nodes if node.name in names and node.users}
    kept = {id(tower.get_parameter(name)) for name in used if name in dict(tower.named_parameters())}
    for module in tower.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in kept:
                setattr(module, name, nn.Parameter(torch.empty(0), requires_grad=False))
