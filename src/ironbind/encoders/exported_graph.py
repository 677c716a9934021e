"""A tower that `ironbind export` wrote as a graph (.pt2, .onnx), as an Encoder, to audit what is deployed:
`--encoder ironbind.encoders.exported_graph:load --weights out/model.pt2`.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ironbind.encoders import load_encoder
from ironbind.encoders.from_callable import CallableEncoder
from ironbind.encoders.shared.checkpoint import file_sha256, read_json
from ironbind.types import Encoder, InputError


def load(weights: str | Path | None = None, base: Encoder | None = None) -> CallableEncoder:
    """One modality by the graph; texts, and how a file becomes an input, by `base`: the encoder that preprocess.json
    names (None: loaded as it comes, which the built-in one does).

    `weights_sha256` is the graph file's. A .pt2 is differentiable, an .onnx (run by onnxruntime) is not: attack it
    without gradients. Raises InputError for a file without preprocess.json, or with another one's.
    """
    if weights is None:
        raise InputError("weights=None: expected a .pt2 or .onnx file that `ironbind export` wrote")
    path = Path(weights)
    if not path.is_file():
        raise InputError(f"weights {str(path)!r} is not a file; expected a .pt2 or .onnx that `ironbind export` wrote")
    about, sha256 = read_json(path.with_name("preprocess.json")), file_sha256(path)
    if about.get("sha256") != sha256:
        raise InputError(f"weights {str(path)!r} is not the file that {path.with_name('preprocess.json')} describes")
    source = base or load_encoder(about["encoder"])
    modality, space = about["modality"], about["input"]["space"]
    spec = source.inputs[modality]
    if space != spec.space.name:
        raise InputError(f"weights {str(path)!r} takes {modality} in {space}; expected a graph that takes files")
    run = _onnx(path) if path.suffix == ".onnx" else torch.export.load(path).module()
    return CallableEncoder(
        source.name,
        source.dim,
        {modality: replace(spec, fronts={}, attack_space=None)},
        sha256,
        {(modality, space): run},
        lambda texts: source.embed_text(texts),
        absent=dict.fromkeys(source.inputs, f"this graph is the {modality} tower alone"),
        licence=getattr(source, "licence", ""),
    )


def _onnx(path: Path) -> Callable[[Tensor], Tensor]:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"weights {str(path)!r} needs onnxruntime; expected `pip install ironbind[onnx]`") from None
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.detach().cpu().numpy()})[0])
