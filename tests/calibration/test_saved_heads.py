"""Heads on disk: they come back bit for bit, on their own backbone only, and damage is one clear line."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ironbind.calibration import HEADS, calibrated
from ironbind.calibration.calibrated import Calibrated, load_calibrated
from ironbind.core.results import CalibrationRecord, Row
from ironbind.types import InputError
from toys import Conv, Linear

RECORD = CalibrationRecord(
    "toy", "image", "pixels", "linear", "l2()", "pgd5-margin", "4/255", 272, 5000, 100, 30, 1.5, 0.5, 0.9, 0.1
)
ROW = Row(
    "linear",
    "toy",
    "image",
    "pixels",
    "zero_shot",
    "top1",
    "pgd5-margin",
    "linf",
    "4/255",
    "replayed",
    50.0,
    40.0,
    60.0,
    100,
)


def trained(kind="linear") -> Calibrated:
    torch.manual_seed(0)
    heads = {modality: HEADS[kind](16) for modality in ("image", "audio")}
    for head in heads.values():
        for parameter in head.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return Calibrated(Linear(), heads, "toy", kind, [RECORD])


@pytest.mark.parametrize("kind", HEADS)
def test_round_trip(kind, tmp_path):
    before = trained(kind)
    before.results = (ROW,)
    assert before.save(tmp_path / "heads") == tmp_path / "heads"
    after = load_calibrated(before.backbone, str(tmp_path / "heads"))
    x = torch.rand(5, 3, 8, 8)
    assert after.embed("image", x).equal(before.embed("image", x))
    assert after.weights_sha256 == before.weights_sha256
    assert (after.name, after.kind, after.records, after.calibration) == (before.name, kind, (RECORD,), "toy")
    assert after.results == (ROW,)
    about = json.loads((tmp_path / "heads" / "calibration.json").read_text())
    assert about["backbone"] == "linear"
    assert about["backbone_weights_sha256"] == before.backbone.weights_sha256
    assert about["results"][0]["value"] == 50.0
    assert sorted(path.name for path in (tmp_path / "heads").iterdir()) == ["calibration.json", "heads.safetensors"]


def test_a_calibration_of_the_first_format_is_still_read(tmp_path):
    before = trained()
    before.save(tmp_path)
    path = tmp_path / "calibration.json"
    about = json.loads(path.read_text())
    del about["adapters"]
    for record in about["records"]:
        for late in ("parts", "tower_parameters", "samples_seen", "steps", "best_step", "data_seconds", "curve"):
            del record[late]
    path.write_text(json.dumps({**about, "format": 1}))
    after = load_calibrated(before.backbone, tmp_path)
    assert after.weights_sha256 == before.weights_sha256
    assert after.records == before.records


def edit(folder, **changes):
    path = folder / "calibration.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def without(folder, key):
    path = folder / "calibration.json"
    about = json.loads(path.read_text())
    del about[key]
    path.write_text(json.dumps(about))


def nudge(folder):
    state = load_file(folder / "heads.safetensors")
    state["image.linear.weight"][3, 3] += 1e-6
    save_file(state, folder / "heads.safetensors")


def rename(folder):
    state = load_file(folder / "heads.safetensors")
    save_file({name.replace("image", "thermal"): value for name, value in state.items()}, folder / "heads.safetensors")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 48\n"
DAMAGE = {
    "no json": (
        lambda folder: (folder / "calibration.json").unlink(),
        "holds no calibration.json; expected a folder written by",
    ),
    "no heads": (lambda folder: (folder / "heads.safetensors").unlink(), "holds no heads.safetensors"),
    "truncated": (lambda folder: _cut(folder / "heads.safetensors"), "heads.safetensors cannot be read"),
    "empty": (lambda folder: (folder / "heads.safetensors").write_bytes(b""), "heads.safetensors cannot be read"),
    "not json": (
        lambda folder: (folder / "calibration.json").write_text("{"),
        "calibration.json is not a calibration of this version",
    ),
    "binary json": (
        lambda folder: (folder / "calibration.json").write_bytes(b"\xff\xfe\x00"),
        "calibration.json is not a calibration of this version",
    ),
    "lfs for heads": (
        lambda folder: (folder / "heads.safetensors").write_bytes(LFS),
        "heads.safetensors cannot be read .it is a git-lfs pointer",
    ),
    "lfs for json": (
        lambda folder: (folder / "calibration.json").write_bytes(LFS),
        "calibration.json is not a calibration .* .it is a git-lfs pointer",
    ),
    "a number for modalities": (lambda folder: edit(folder, modalities=3), "modalities: 3 is no list of names"),
    "a number for a hash": (lambda folder: edit(folder, weights_sha256=3), "weights_sha256: 3 is no text"),
    "a list for a head": (lambda folder: edit(folder, head=[]), "head: .. is no name"),
    "a folder for json": (
        lambda folder: ((folder / "calibration.json").unlink(), (folder / "calibration.json").mkdir()),
        "calibration.json is not a calibration of this version",
    ),
    "a list": (
        lambda folder: (folder / "calibration.json").write_text("[]"),
        "calibration.json is not a calibration of this version",
    ),
    "key missing": (lambda folder: without(folder, "head"), "calibration.json is not a calibration of this version"),
    "edited weights": (nudge, "heads.safetensors has been changed since it was written"),
    "edited hash": (lambda folder: edit(folder, weights_sha256="0" * 64), "has been changed since it was written"),
    "other modalities": (rename, "heads.safetensors does not fit its calibration.json"),
    "other kind": (lambda folder: edit(folder, head="mlp"), "heads.safetensors does not fit its calibration.json"),
    "unknown kind": (
        lambda folder: edit(folder, head="conv"),
        "head 'conv'; expected format 1 or 2 and a head out of linear, mlp",
    ),
    "future format": (lambda folder: edit(folder, format=3), "format 3.*expected format 1 or 2"),
    "another backbone": (
        lambda folder: edit(folder, backbone_weights_sha256="f" * 64),
        "was trained on 'linear' .*ffffffffffff.*not on 'linear'",
    ),
}


def _cut(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.parametrize("what", DAMAGE)
def test_damage_is_one_line(what, tmp_path):
    damage, message = DAMAGE[what]
    heads = trained()
    heads.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        load_calibrated(heads.backbone, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_heads_fit_their_own_backbone_only(tmp_path):
    trained().save(tmp_path)
    with pytest.raises(InputError, match="was trained on 'linear' .*, not on 'conv'") as caught:
        load_calibrated(Conv(), tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="holds no calibration.json"):
        load_calibrated(Linear(), tmp_path / "nowhere")


def test_the_hash_covers_backbone_and_heads():
    one, other = trained(), trained()
    assert one.weights_sha256 == other.weights_sha256
    other.heads["audio"].linear.bias[0] += 1
    assert one.weights_sha256 != other.weights_sha256
    assert Calibrated(Conv(), dict(one.heads), "toy", "linear").weights_sha256 != one.weights_sha256


def changed_in_place(heads):
    heads["audio"].linear.bias[0] += 1


def copied_over(heads):
    heads["audio"].load_state_dict({name: value + 1 for name, value in heads["audio"].state_dict().items()})


def stepped(heads):
    heads.requires_grad_(True)
    optimiser = torch.optim.Adam(heads.parameters())
    sum(one.square().sum() for one in heads.parameters()).backward()
    optimiser.step()


def head_replaced(heads):
    del heads["audio"]  # freed first: the new one may well lie where the old one did
    torch.manual_seed(1)
    heads["audio"] = HEADS["linear"](16)


def parameter_replaced(heads):
    heads["image"].linear.weight = torch.nn.Parameter(torch.zeros(16, 16), requires_grad=False)


def data_replaced(heads):
    heads["image"].linear.weight.data = torch.zeros(16, 16)


def head_added(heads):
    heads["thermal"] = HEADS["linear"](16)


@pytest.mark.parametrize(
    "change",
    [changed_in_place, copied_over, stepped, head_replaced, parameter_replaced, data_replaced, head_added],
    ids=lambda one: one.__name__,
)
def test_the_kept_hash_never_outlives_the_heads(change):
    one = trained()
    before = one.weights_sha256
    change(one.heads)
    after = one.weights_sha256
    assert after != before
    assert (
        after == Calibrated(one.backbone, dict(one.heads), "toy", "linear").weights_sha256
    )  # what hashing afresh says


def test_heads_are_hashed_once(monkeypatch):
    asked = []
    hash_afresh = calibrated._state_hash
    monkeypatch.setattr(calibrated, "_state_hash", lambda *given: asked.append(given) or hash_afresh(*given))
    one = trained()
    first = one.weights_sha256
    one.embed("image", torch.rand(5, 3, 8, 8))
    assert {one.weights_sha256 for _ in range(5)} == {first}
    assert len(asked) == 1
    one.backbone.weights_sha256 = "another backbone"
    assert one.weights_sha256 != first
    assert len(asked) == 2


def test_heads_without_version_counters_are_hashed_every_time():
    with torch.inference_mode():
        one = trained()
        before = one.weights_sha256
        one.heads["audio"].linear.bias[0] += 1
        assert one.weights_sha256 != before
