"""One modality's tower as a module of one input and one output, for programs that trace modules; and what has to be
known to feed it.
"""

import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ironbind.deployment.folding import Folded, networks_of


class ExportedTower(nn.Module):
    """Inputs of one space -> unit rows: purifier, folded tower, head."""

    def __init__(self, folded: Folded, space: str) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks_of(folded))  # named here, so that a tracer finds their tensors
        self._folded, self._space = folded, space
        self.requires_grad_(False).eval()

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b d"]:
        return self._folded.embed(x, self._space)

    def example(self) -> Float[Tensor, "2 ..."]:
        """Two inputs in the middle of the space, to trace with."""
        spec = self._folded.spec
        where = spec.space_named(self._space)
        middle = 0.0 if where.low is None or where.high is None else (where.low + where.high) / 2
        return middle + 0.01 * torch.randn((2, *spec.shape_in(self._space)), generator=torch.Generator().manual_seed(0))


def preprocessing(folded: Folded, space: str, file: str, sha256: str) -> dict[str, Any]:
    """What preprocess.json says: how a file becomes an input of the graph, and what comes out. Normalising is in the
    graph; resizing, cropping, resampling and choosing frames or points happen before.
    """
    spec, where = folded.spec, folded.spec.space_named(space)
    native = space == spec.space.name
    return {
        "file": file,
        "sha256": sha256,
        "encoder": folded.encoder.name,
        "modality": folded.modality,
        "input": {
            "name": "x",
            "space": space,
            "unit": where.unit,
            "low": where.low,
            "high": where.high,
            "dtype": "float32",
            "shape": ["batch", *spec.shape_in(space)],
        },
        "prepare": " ".join((inspect.getdoc(spec.prepare) or "").split()),
        "then": "" if native else f"{spec.space.name} {list(spec.shape)} to {space}: InputSpec.convert",
        "output": {"name": "embedding", "shape": ["batch", folded.encoder.dim], "rows": "unit length"},
    }
