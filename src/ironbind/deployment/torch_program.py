"""A tower as a torch.export program (.pt2): purifier and head included, any batch size; it runs without ironbind."""

import warnings
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

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
        _drop_unused(tower)  # the towers of other modalities
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


class _Operands(TorchDispatchMode):
    """Notes every parameter that an operation takes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self.seen.update(id(one) for one in tree_leaves((args, kwargs)) if isinstance(one, nn.Parameter))
        return func(*args, **kwargs)


def _drop_unused(tower: ExportedTower) -> None:
    """Empties the tensors that a tower never uses. It is a copy's (`fold`). One pass tells; a trace takes longer."""
    with torch.no_grad(), _Operands() as operands:
        tower(tower.example())
    for module in tower.modules():
        for name, parameter in module.named_parameters(recurse=False):
            if id(parameter) not in operands.seen:
                setattr(module, name, nn.Parameter(torch.empty(0), requires_grad=False))
