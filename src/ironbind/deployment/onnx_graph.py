"""A tower as an ONNX graph (extra `onnx`): purifier and head included, any batch size, read back by onnxruntime."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ironbind.core.errors import writing
from ironbind.deployment.exported_tower import ExportedTower, preprocessing
from ironbind.deployment.folding import Folded
from ironbind.deployment.graph_files import graph_files
from ironbind.deployment.verification import CONVERTED
from ironbind.deployment.written_form import WrittenForm
from ironbind.types import InputError


def write(folded: Folded, out: Path) -> WrittenForm:
    """The graph in the native space of the modality, and its preprocess.json. Where ONNX has no operator for the way
    from the native space (the spectrum of a waveform), in the space behind it.

    Raises InputError without the libraries, and for a tower that cannot be converted.
    """
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 - torch's converter needs it
    except ImportError as error:
        raise InputError(
            f"--format onnx needs the onnx, onnxscript and onnxruntime libraries ({error}); expected `pip install "
            "ironbind[onnx]`"
        ) from None
    files = graph_files(out, ".onnx")
    files.graph.parent.mkdir(parents=True, exist_ok=True)
    problems = []
    for space in folded.spec.spaces:
        tower = ExportedTower(folded, space)
        try:
            with _quiet():
                program = torch.onnx.export(
                    tower,
                    (tower.example(),),
                    dynamo=True,
                    dynamic_shapes=({0: torch.export.Dim("batch")},),
                    input_names=["x"],
                    output_names=["embedding"],
                    verbose=False,
                )
                assert program is not None
                with writing(files.graph):
                    program.save(str(files.graph))
                session = onnxruntime.InferenceSession(str(files.graph), providers=["CPUExecutionProvider"])
        except Exception as error:  # whatever the converter and the runtime raise
            problems.append(f"{space}: {type(error).__name__}: {(str(error).strip().splitlines() or [''])[0][:160]}")
            continue
        sha256 = files.describe(lambda digest, space=space: preprocessing(folded, space, files.graph.name, digest))  # type: ignore[misc]
        beside = sorted(files.graph.parent.glob(f"{files.graph.name}.data"))
        return WrittenForm(
            (files.graph, *beside, files.preprocess),
            partial(_run, session),
            (space,),
            CONVERTED,
            sha256,
            note=f"not in {problems[0]}" if problems else "",
        )
    raise InputError(
        f"--format onnx: the {folded.modality} tower of {folded.encoder.name!r} cannot be converted "
        f"({'; '.join(problems)}); expected --format torch"
    )


def _run(session: Any, x: Tensor, space: str) -> Tensor:
    return torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


@contextmanager
def _quiet() -> Iterator[None]:
    """The converter's warnings and log lines are of its own internals."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
