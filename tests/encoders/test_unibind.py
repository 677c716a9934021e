"""UniBind without its weights: names and shapes, points, events, fine-tuned heads, semantic centers."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import save_file
from torch import nn

from ironbind.encoders import load_encoder
from ironbind.encoders.imagebind.model import HUGE, TowerSize
from ironbind.encoders.shared import checkpoint
from ironbind.encoders.unibind.center_files import convert_centers, load_centers
from ironbind.encoders.unibind.inputs import event_picture, prepare_event, unit_sphere
from ironbind.encoders.unibind.model import TOWER_OF, UniBindModel, official_name
from ironbind.encoders.unibind.point_tower import GroupEmbedding, LevelSize, PointEncoder
from ironbind.types import Encoder, Events, Image, InputError, Points

SMALL = {name: TowerSize(16, 2, 2, size.scale) for name, size in HUGE.items()}
LEVELS = (LevelSize(64, 8, 12, 0.4, 1, 2), LevelSize(32, 6, 16, 0.8, 1, 2), LevelSize(8, 4, 24, 1.2, 1, 2))
RNG = np.random.default_rng(0)
CLOUD = Points(RNG.normal(size=(700, 3)).astype(np.float32))
EVENTS = Events(
    RNG.integers(0, 50, 400),
    RNG.integers(0, 40, 400),
    np.sort(RNG.uniform(0, 0.3, 400)),
    RNG.integers(0, 2, 400),
    50,
    40,
)


def small(modalities=None, weights="random", **options):
    return load_encoder(
        "unibind", weights=weights, modalities=modalities, sizes=SMALL, levels=LEVELS, points=600, **options
    )


def test_the_official_file_name_by_name():
    """SHA-256 (16 digits) over sorted "name [shape]" lines of the state dict of UniBind 7b22a779's POINTBIND (1550
    entries).
    """
    with torch.device("meta"):
        model = UniBindModel(all_towers=True)
    shapes = checkpoint.shapes(model, official_name)
    assert len(shapes) == len(model.state_dict()) == 1550
    assert (
        hashlib.sha256(
            "\n".join(sorted(f"{name} {list(shape)}" for name, shape in shapes.items())).encode()
        ).hexdigest()[:16]
        == "3779b9db38ace78b"
    )
    assert sum(one.numel() for one in model.parameters()) == 1_214_157_378
    assert sum(one.numel() for one in model.point.encoder.parameters()) == 12_654_400


def test_epsilons():
    point = small(["point"]).model.point
    assert {module.eps for module in point.encoder.modules() if isinstance(module, (nn.LayerNorm, nn.BatchNorm1d))} == {
        1e-5
    }
    assert point.norm.eps == 1e-6


def test_every_modality_gives_unit_rows():
    encoder = small()
    assert isinstance(encoder, Encoder)
    assert set(encoder.inputs) == set(TOWER_OF) - {"text"}
    for modality, decoded in {
        "point": CLOUD,
        "event": EVENTS,
        "image": Image(RNG.integers(0, 256, (50, 60, 3), dtype=np.uint8)),
    }.items():
        x = encoder.inputs[modality].prepare(decoded)[None]
        assert x.shape[1:] == encoder.inputs[modality].shape
        torch.testing.assert_close(encoder.embed(modality, x).norm(dim=-1), torch.ones(1))
    with pytest.raises(InputError, match="'depth' is not loaded in unibind"):
        encoder.embed("depth", torch.zeros(1, 1, 224, 224))


def test_event_pictures_are_images_to_the_network():
    encoder = small(["image", "event"])
    x = prepare_event(EVENTS)[None]
    assert torch.equal(encoder.embed("event", x), encoder.embed("image", x))


def test_over_long_texts_coincide_as_officially_unless_their_end_is_kept():
    long = [" ".join([word] * 100) for word in ("dog", "cat")]
    official, kept = small(["text"]).embed_text(long), small(["text"], keep_end=True).embed_text(long)
    assert torch.equal(official[0], official[1])
    assert (kept[0] - kept[1]).abs().max() > 1e-6


@pytest.mark.parametrize("count", [300, 700, 2000])
def test_clouds_are_centred_and_scaled(count):
    found = unit_sphere(CLOUD, count)
    assert found.shape == (count, 3)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.norm(dim=-1).max(), torch.tensor(1.0))
    if count == 700:
        torch.testing.assert_close(unit_sphere(Points(found.numpy()), count), found, atol=1e-6, rtol=0)
    if count == 2000:
        assert torch.equal(found[:600], found[700:1300])
    assert torch.isfinite(unit_sphere(Points(np.zeros((5, 3), np.float32)), count)).all()


def test_last_event_colours_the_pixel():
    events = Events(np.array([1, 1, 3]), np.array([0, 0, 2]), np.array([0.0, 0.1, 0.2]), np.array([0, 1, 0]), 5, 4)
    pixels = event_picture(events).pixels
    assert pixels.shape == (4, 5, 3)
    assert pixels[0, 1].tolist() == [255, 0, 0]
    assert pixels[2, 3].tolist() == [0, 0, 255]
    assert (pixels == 255).all(-1).sum() == 18
    already = Image(pixels)
    assert torch.equal(prepare_event(events), prepare_event(already))


def test_a_group_is_embedded_point_by_point():
    """With matrices: two layers, maximum over the group in front of each point's own, two layers, maximum."""
    torch.manual_seed(0)
    embed = GroupEmbedding(3, 4, 5, 6, 7).eval()
    for module in embed.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    x = torch.randn(2, 3, 8, 3)

    def layers(sequence, rows):
        first, norm, _, second = sequence
        rows = rows @ first.weight[..., 0].T + first.bias
        rows = (rows - norm.running_mean) / (norm.running_var + 1e-5).sqrt() * norm.weight + norm.bias
        return rows.clamp(min=0) @ second.weight[..., 0].T + second.bias

    local = layers(embed.first, x)
    both = torch.cat([local.amax(dim=2, keepdim=True).expand_as(local), local], dim=-1)
    torch.testing.assert_close(embed(x), layers(embed.second, both).amax(dim=2), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("radius", "sees"), [(0.3, False), (10.0, True)])
def test_groups_attend_within_their_radius_only(radius, sees):
    """Two clusters far apart: no gradient leads from the tokens of one to the points of the other, unless the radius
    spans both.
    """
    torch.manual_seed(0)
    level = PointEncoder((LevelSize(8, 4, 12, radius, 2, 2),)).eval().levels[0]
    xyz = torch.cat([torch.randn(1, 40, 3) * 0.02 + 0.7, torch.randn(1, 40, 3) * 0.02 - 0.7], dim=1).requires_grad_()
    centers, tokens = level(xyz, None)
    here = (centers > 0).all(dim=-1)
    assert 0 < here.sum() < 8
    (gradient,) = torch.autograd.grad(tokens[here].square().sum(), xyz)
    assert (gradient[0, :40] != 0).any()
    assert bool((gradient[0, 40:] != 0).any()) == sees


def test_gradient_reaches_the_points():
    encoder = small(["point"])
    encoder.model.double()
    x = encoder.inputs["point"].prepare(CLOUD)[None].double().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    target = torch.randn(1024, generator=generator, dtype=torch.float64)
    (gradient,) = torch.autograd.grad((encoder.embed("point", x) @ target).sum(), x)
    step = 1e-7
    with torch.no_grad():
        ahead, behind = ((encoder.embed("point", x + sign * step * direction) @ target).sum() for sign in (1, -1))
    torch.testing.assert_close((gradient * direction).sum(), (ahead - behind) / (2 * step), rtol=1e-4, atol=1e-8)
    assert gradient.abs().max() > 1e-6
    assert (gradient != 0).any(dim=-1).sum() > 100, "not only the centers"


def test_a_fine_tuned_file_brings_its_head(tmp_path):
    state = {"backbone." + official_name(name): value for name, value in full_model().state_dict().items()}
    torch.manual_seed(0)
    head = nn.Linear(1024, 1024)
    state |= {"mlp_for_audio.weight": head.weight.detach(), "mlp_for_audio.bias": head.bias.detach()}
    path = tmp_path / "audio_model_best.pt"
    torch.save(state, path)
    tuned, plain = small(weights=path), small()
    wave = torch.randn(2, 1, 32000, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    torch.testing.assert_close(tuned.embed("audio", wave), F.normalize(head(plain.embed("audio", wave)), dim=-1))
    cloud = tuned.inputs["point"].prepare(CLOUD)[None]
    assert torch.equal(tuned.embed("point", cloud), plain.embed("point", cloud))
    assert (
        small(["point"], weights=path).weights_sha256
        == tuned.weights_sha256
        == hashlib.sha256(path.read_bytes()).hexdigest()
    )


def full_model() -> UniBindModel:
    model = UniBindModel(sizes=SMALL, levels=LEVELS, all_towers=True)
    checkpoint.assign(
        model,
        checkpoint.rule_weights(model, official_name, keep=["bind.modality_preprocessors.text.mask"]),
        official_name,
    )
    return model


def test_a_wrong_file_is_refused(tmp_path):
    path = tmp_path / "imagebind_huge.pth"
    torch.save(
        {official_name(name).removeprefix("bind."): value for name, value in full_model().state_dict().items()}, path
    )
    with pytest.raises(InputError, match=r"not those of unibind: \d+ missing, first 'bind\.modality_"):
        small(["point"], weights=path)


def test_fewer_points_than_groups_make_no_sense():
    with pytest.raises(InputError, match="points=100; expected at least 512"):
        load_encoder("unibind", weights="random", modalities=[], points=100)


# ------------------------------------------------------------------------------------------------------------ centers


def test_centers_of_any_number_of_rows_survive_conversion(tmp_path):
    rows = {"dog": torch.randn(3, 1024), "a car": torch.randn(5, 1024)}
    (tmp_path / "c.pkl").write_bytes(pickle.dumps(rows))
    centers = convert_centers(tmp_path / "c.pkl", tmp_path / "c.safetensors")
    assert centers.names == ("dog", "a car")
    assert centers.label.tolist() == [0] * 3 + [1] * 5
    torch.testing.assert_close(centers.z, F.normalize(torch.cat(list(rows.values())), dim=-1))
    again = load_centers(tmp_path / "c.safetensors")
    assert torch.equal(again.z, centers.z)
    assert torch.equal(again.label, centers.label)
    assert again.names == centers.names


class Trap:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_centers_never_run_code(tmp_path):
    (tmp_path / "c.pkl").write_bytes(pickle.dumps({"dog": Trap(tmp_path / "sprung")}))
    with pytest.raises(InputError, match="it asks for pathlib"):
        load_centers(tmp_path / "c.pkl")
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is an empty file"),
        (b"<html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "is a git-lfs pointer"),
        (b"text", "cannot be read"),
        (pickle.dumps([1]), "hold no dict|cannot be read"),
        (pickle.dumps({}), "hold no class|cannot be read"),
        (pickle.dumps({"dog": torch.zeros(50, 512)}), "hold no dict|cannot be read"),
        (
            pickle.dumps({"dog": torch.zeros(2, 1024)}),
            "class 'dog' has a row that is zero or not finite|cannot be read",
        ),
        (pickle.dumps({"dog": 3}), "hold no dict|cannot be read"),
    ],
)
@pytest.mark.parametrize("name", ["c.pkl", "c.safetensors"])
def test_centers_that_are_none(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said) as refusal:
        load_centers(tmp_path / name)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_what_a_centers_file_is_its_content_says(tmp_path):
    (tmp_path / "c.pkl").write_bytes(pickle.dumps({"dog": torch.randn(3, 1024)}))
    converted = convert_centers(tmp_path / "c.pkl", tmp_path / "c.safetensors")
    (tmp_path / "c.safetensors").rename(tmp_path / "d.pkl")
    assert load_centers(tmp_path / "d.pkl").z.equal(converted.z)
    with pytest.raises(InputError, match="cannot be written to .*nowhere"):
        convert_centers(tmp_path / "c.pkl", tmp_path / "nowhere" / "c.safetensors")


@pytest.mark.parametrize(
    ("z", "label", "classes", "said"),
    [
        (torch.ones(2, 4), torch.tensor([0, 1]), None, "were not made by convert_centers .classes: 'classes'"),
        (torch.ones(2, 4), torch.tensor([0, 1]), "{", "were not made by convert_centers"),
        (torch.ones(2, 4), torch.tensor([0, 1]), '["dog"]', "1 classes"),
        (torch.ones(2, 4), torch.tensor([0, -1]), '["dog", "cat"]', "2 classes"),
        (torch.ones(2, 4), torch.tensor([0.0, 1.0]), '["dog", "cat"]', "expected a row of numbers"),
        (torch.ones(2, 4), torch.tensor([0]), '["dog", "cat"]', r"label \[1\]"),
        (torch.ones(4), torch.tensor([0]), '["dog", "cat"]', r"z \[4\]"),
        (torch.tensor([[1.0], [0.0]]), torch.tensor([0, 1]), '["dog", "cat"]', "class 'cat' has a row that is zero"),
    ],
)
def test_damaged_centers_of_ours_are_one_line(tmp_path, z, label, classes, said):
    save_file({"z": z, "label": label}, tmp_path / "c.safetensors", metadata=classes and {"classes": classes})
    with pytest.raises(InputError, match=said) as refusal:
        load_centers(tmp_path / "c.safetensors")
    assert "c.safetensors" in str(refusal.value)
