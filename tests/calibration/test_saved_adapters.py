"""Adapters on disk: they come back bit for bit, on their own backbone only, and damage is one clear line."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ironbind.calibration import HEADS
from ironbind.calibration.adapters import Adapters
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.core.results import CalibrationRecord
from ironbind.types import AdapterShape, InputError
from toys import Conv, Leaky

SHAPES = {
    "image": AdapterShape(2, True, 4),
    "audio": AdapterShape(0, False, 3),
    "thermal": AdapterShape(3, False, 0, core=True),
}
RECORD = CalibrationRecord(
    "toy", "image", "pixels", "none", "l2()", "pgd1-ce", "4/255", 272, 5000, 100, 1, 1.5, 0.5, 0.9, 0.1,
    "low_rank+purifier", 4000, 100, 10, 5, 0.1,
    ((0, 90.0, 1.0), (5, 89.5, 40.0)),
)  # fmt: skip


def trained(modalities=tuple(SHAPES), head=False) -> Calibrated:
    backbone = Conv()
    adapters = {modality: Adapters(backbone, modality, SHAPES[modality], seed=3) for modality in modalities}
    torch.manual_seed(0)
    heads = {"image": HEADS["linear"](16)} if head else {}
    hard = Calibrated(backbone, heads, "toy", "linear" if head else None, [RECORD], adapters)
    for one in (*hard.parts.parameters(), *hard.heads.parameters()):
        one.data += 0.1 * torch.randn_like(one)
    return hard


def inputs(encoder, modality):
    return torch.rand(5, *encoder.inputs[modality].shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("head", [False, True])
def test_round_trip(head, tmp_path):
    before = trained(head=head)
    before.save(tmp_path)
    after = load_calibrated(Conv(), tmp_path)
    for modality in SHAPES:
        x = inputs(after, modality)
        assert after.embed(modality, x).equal(before.embed(modality, x))
        assert not after.embed(modality, x).equal(after.backbone.embed(modality, x))
        assert after.adapters[modality].shape == SHAPES[modality]
    assert after.weights_sha256 == before.weights_sha256
    assert after.records == (RECORD,)
    assert after.modalities == before.modalities
    assert after.trainable() == before.trainable()
    files = {"calibration.json", "adapters.safetensors"} | ({"heads.safetensors"} if head else set())
    assert {one.name for one in tmp_path.iterdir()} == files


def test_rounded_parameters_take_half_the_room(tmp_path):
    hard = trained(head=True)
    x = inputs(hard, "image")
    z = hard.embed("image", x)
    whole = hard.save(tmp_path / "whole")
    half = hard.rounded().save(tmp_path / "half")
    assert torch.nn.functional.cosine_similarity(z, hard.embed("image", x)).min() > 0.999
    for name in ("heads", "adapters"):
        assert {one.dtype for one in load_file(half / f"{name}.safetensors").values()} == {torch.float16}
        assert (half / f"{name}.safetensors").stat().st_size < (whole / f"{name}.safetensors").stat().st_size
    again = load_calibrated(hard.backbone, half)
    assert again.embed("image", x).equal(hard.embed("image", x))
    assert again.weights_sha256 == hard.weights_sha256
    assert {one.dtype for one in again.trained().values()} == {torch.float32}


def test_an_encoder_loaded_for_fewer_modalities_takes_what_it_can(tmp_path):
    before = trained()
    before.save(tmp_path)
    narrow = Conv()
    narrow.inputs = {"thermal": narrow.inputs["thermal"]}
    after = load_calibrated(narrow, tmp_path)
    assert tuple(after.adapters) == ("thermal",)
    x = inputs(narrow, "thermal")
    assert after.embed("thermal", x).equal(before.embed("thermal", x))


def test_the_hash_covers_every_adapter():
    one, other = trained(), trained()
    assert one.weights_sha256 == other.weights_sha256
    for name, value in other.trained().items():
        with torch.no_grad():
            value.view(-1)[0] += 1
        assert one.weights_sha256 != other.weights_sha256, name
        with torch.no_grad():
            value.view(-1)[0] -= 1
    fewer = Calibrated(one.backbone, {}, "toy", None, adapters={"image": one.adapters["image"]})
    assert fewer.weights_sha256 != one.weights_sha256


def edit(folder, **changes):
    path = folder / "calibration.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def nudge(folder):
    state = load_file(folder / "adapters.safetensors")
    state[sorted(state)[0]].view(-1)[0] += 1e-6
    save_file(state, folder / "adapters.safetensors")


def without_a_tensor(folder):
    state = load_file(folder / "adapters.safetensors")
    state.pop(sorted(state)[0])
    save_file(state, folder / "adapters.safetensors")


def of_another_modality(folder):
    state = load_file(folder / "adapters.safetensors")
    save_file(
        {name.replace("audio.", "video.", 1): value for name, value in state.items()}, folder / "adapters.safetensors"
    )


def reshaped(folder):
    shapes = json.loads((folder / "calibration.json").read_text())["adapters"]
    edit(folder, adapters={**shapes, "image": {"rank": 5, "norms": True, "purifier": 4}})


def misnamed(folder):
    edit(folder, adapters={"image": {"rank": 5, "colour": "red"}})


DAMAGE = {
    "no adapters": (lambda folder: (folder / "adapters.safetensors").unlink(), "holds no adapters.safetensors"),
    "truncated": (lambda folder: _cut(folder / "adapters.safetensors"), "adapters.safetensors cannot be read"),
    "edited weights": (nudge, "adapters.safetensors has been changed since it was written"),
    "a tensor missing": (without_a_tensor, "does not fit its calibration.json: .*Missing key"),
    "another modality": (of_another_modality, "does not fit its calibration.json: .*Unexpected key"),
    "another shape": (reshaped, "does not fit its calibration.json: .*size mismatch"),
    "no shape": (misnamed, "is not a calibration of this version"),
    "shapes in a list": (lambda folder: edit(folder, adapters=[1, 2]), "is not a calibration of this version"),
    "another backbone": (
        lambda folder: edit(folder, backbone_weights_sha256="f" * 64),
        "heads and adapters fit only the backbone",
    ),
}


def _cut(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_one_line(what, tmp_path):
    damage, message = DAMAGE[what]
    hard = trained()
    hard.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_calibrated(hard.backbone, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_adapters_fit_their_own_backbone_only(tmp_path):
    trained().save(tmp_path)
    with pytest.raises(InputError, match="was trained on 'conv' .*, not on 'leaky'"):
        load_calibrated(Leaky(), tmp_path)
