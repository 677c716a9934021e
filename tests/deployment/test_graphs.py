"""Towers as graphs: torch.export programs, ONNX in onnxruntime, of any batch size, purifier and head included; audited
as what they are.
"""

import json
import shutil
from functools import cache

import numpy as np
import pytest
import torch

import ironbind as ib
from ironbind.deployment.verification import probes
from ironbind.encoders import exported_graph, load_encoder
from ironbind.encoders.shared.checkpoint import file_sha256
from ironbind.types import AdapterShape, InputError
from small_towers import SIZES
from trained_parts import FOLDABLE, trained

PURIFIED = AdapterShape(2, True, 4)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """By modality: live adapters, what their export returned, and its file; written once."""

    @cache
    @torch.no_grad()
    def write(modality, shape, head, name):
        live, folder = trained(load_encoder("tiny"), modality, shape, head), tmp_path_factory.mktemp(modality)
        return live, ib.export_encoder(live, modality, "torch", folder / name), next(folder.rglob("*.pt2"))

    return write


IMAGE = ("image", PURIFIED, "mlp", "out")


@pytest.mark.parametrize(
    ("modality", "shape", "head", "name"),
    [IMAGE, ("audio", FOLDABLE, None, "out"), ("point", PURIFIED, "linear", "point.pt2")],
    ids=lambda one: one if isinstance(one, str) else "",
)
@torch.no_grad()
def test_a_program_of_torch(written, modality, shape, head, name):
    live, exported, path = written(modality, shape, head, name)
    tiny = live.backbone
    assert path.name == (name if name.endswith(".pt2") else "model.pt2")
    spec = tiny.inputs[modality]
    run = torch.export.load(path).module()
    for count in (1, 5):
        x = probes(spec, spec.space.name, count)
        torch.testing.assert_close(run(x), live.embed(modality, x), atol=1e-6, rtol=0)
    held = sum(value.numel() for value in run.state_dict().values())
    assert held < 1.5 * sum(value.numel() for value in tiny.model.towers[modality].parameters()), "other towers too"
    about = json.loads((path.parent / "preprocess.json").read_text())
    assert about["input"]["shape"] == ["batch", *spec.shape]
    assert about["prepare"]
    assert about["sha256"] == exported.weights_sha256 == file_sha256(path)


def test_a_program_is_an_encoder(written, tmp_path):
    """Its gradient is the live adapters'; its hash is the file's."""
    live, exported, path = written(*IMAGE)
    shutil.copy(path, tmp_path / "image.pt2")
    shutil.copy(path.parent / "preprocess.json", tmp_path)
    encoder = ib.load_encoder("ironbind.encoders.exported_graph:load", weights=str(tmp_path / "image.pt2"))
    assert encoder.weights_sha256 == exported.weights_sha256
    gradients = []
    for one in (live, encoder):
        x = probes(live.inputs["image"], "pixels", 4).requires_grad_()
        gradients.append(torch.autograd.grad(one.embed("image", x)[:, 0].sum(), x)[0])
    assert gradients[0].abs().max() > 1e-3
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(encoder.embed_text(["a photo"]), live.embed_text(["a photo"]), atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="this graph is the image tower alone"):
        encoder.embed("audio", torch.zeros(1, 1, 8000))
    (tmp_path / "preprocess.json").write_text('{"sha256": "0"}')
    with pytest.raises(InputError, match="is not the file that"):
        exported_graph.load(tmp_path / "image.pt2")


@torch.no_grad()
def test_imagebind_as_a_program(tmp_path):
    encoder = load_encoder("imagebind-huge", weights="random", modalities=["thermal"], sizes=SIZES)
    live = trained(encoder, "thermal")
    ib.export_encoder(live, "thermal", "torch", tmp_path / "thermal.pt2")
    x = probes(encoder.inputs["thermal"], "pixels", 3)
    run = torch.export.load(tmp_path / "thermal.pt2").module()
    torch.testing.assert_close(run(x), live.embed("thermal", x), atol=1e-6, rtol=0)


@pytest.mark.parametrize(("modality", "shape", "head"), [("image", PURIFIED, "mlp"), ("audio", FOLDABLE, None)])
@torch.no_grad()
def test_onnx(tmp_path, modality, shape, head):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    tiny = load_encoder("tiny")
    live = trained(tiny, modality, shape, head)
    exported = ib.export_encoder(live, modality, "onnx", tmp_path / "out")
    session = onnxruntime.InferenceSession(str(tmp_path / "out" / "model.onnx"))
    spec = tiny.inputs[modality]
    for count in (1, 5):
        x = probes(spec, spec.space.name, count)
        z = session.run(None, {"x": x.numpy()})[0]
        np.testing.assert_allclose(z, live.embed(modality, x).numpy(), atol=1e-4, rtol=0)
    encoder = exported_graph.load(tmp_path / "out" / "model.onnx")
    assert encoder.weights_sha256 == exported.weights_sha256
    torch.testing.assert_close(encoder.embed(modality, x), live.embed(modality, x), atol=1e-4, rtol=0)
