"""Folded weights in the official form of every family: loaded strictly by our loaders, by naive modules that hold the
official keys, and by `transformers`.
"""

import json

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file
from torch import nn

import ironbind as ib
from ironbind.deployment.verification import probes
from ironbind.encoders import load_encoder
from ironbind.encoders.imagebind.model import ImageBindModel, official_name
from ironbind.encoders.languagebind import encoder as languagebind
from ironbind.encoders.shared import checkpoint
from ironbind.encoders.unibind import model as unibind_model
from ironbind.types import AdapterShape, InputError
from small_towers import LEVELS, SIZES, VARIANTS
from trained_parts import embedded, same, trained

# ------------------------------------------------------------------------------------------------ the built-in encoder


@pytest.mark.parametrize("modality", ["image", "video", "audio", "point", "thermal", "event"])
def test_the_built_in_encoder(tmp_path, modality):
    tiny = load_encoder("tiny")
    before = {name: value.clone() for name, value in tiny.model.state_dict().items()}
    live = trained(tiny, modality)
    out = tmp_path / "folded.safetensors"
    exported = ib.export_encoder(live, modality, "official", out)
    folded = ib.load_encoder("tiny", weights=out)
    same(folded, live, modality)
    assert exported.verified.difference <= 1e-6
    assert exported.weights_sha256 == folded.weights_sha256 == checkpoint.file_sha256(out) != tiny.weights_sha256
    assert json.loads((tmp_path / "folded.json").read_text())["sha256"] == exported.weights_sha256
    changed = {name for name, value in folded.model.state_dict().items() if not value.equal(before[name])}
    assert changed
    assert {name.split(".")[1] for name in changed} == {modality}, "other towers were touched"
    assert all(value.equal(before[name]) for name, value in tiny.model.state_dict().items())
    x = probes(tiny.inputs[modality], tiny.inputs[modality].space.name, 4)
    assert not torch.allclose(embedded(folded, modality, x), embedded(tiny, modality, x), atol=1e-3)


def test_the_same_export_again_and_nothing_foreign(tmp_path):
    live = trained(load_encoder("tiny"), "image")
    out = tmp_path / "folded.safetensors"
    first = ib.export_encoder(live, "image", "official", out)
    assert ib.export_encoder(live, "image", "official", out).weights_sha256 == first.weights_sha256
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"of somebody else")
    with pytest.raises(InputError, match=r"other\.safetensors is there already, and not an earlier export"):
        ib.export_encoder(live, "image", "official", other)
    assert other.read_bytes() == b"of somebody else"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is a folder; this format writes a file"):
        ib.export_encoder(live, "image", "official", tmp_path / "empty")


# ------------------------------------------------------------------------------------------------------------ refusals


def test_what_cannot_be_folded_is_said():
    live = trained(load_encoder("tiny"), "image", AdapterShape(2, True, 4))
    with pytest.raises(InputError, match=r"the purifier in front of image \(\d.* cannot be folded.*--format torch"):
        ib.export_encoder(live, "image", "official", "nowhere.safetensors")
    with pytest.raises(InputError, match="--modality video: calibration 'toy' holds no trained parts for it"):
        ib.export_encoder(live, "video", "official", "nowhere.safetensors")


class Shiftless(nn.Module):
    def __init__(self, dim=8):
        super().__init__()
        self.inner = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, bias=False)

    def forward(self, x):
        return self.norm(self.inner(x))


def test_a_shift_without_a_place_and_an_encoder_without_a_form(tmp_path):
    from ironbind.deployment.folding import fold
    from ironbind.encoders.from_callable import from_callable
    from ironbind.modalities.spaces import UNIT_SPHERE
    from ironbind.types import InputSpec

    network = Shiftless()
    spec = InputSpec("point", (8,), UNIT_SPHERE, lambda decoded: decoded)
    encoder = from_callable("own", {"point": network}, inputs={"point": spec}, model=network)
    with pytest.raises(InputError, match="the trained shift behind model.norm cannot be folded"):
        fold(trained(encoder, "point"), "point")
    live = trained(encoder, "point", AdapterShape(2, False, 0))
    with pytest.raises(InputError, match="encoder 'own' has no file format of its own"):
        ib.export_encoder(live, "point", "official", tmp_path / "out")


def test_low_precision_is_refused():
    encoder = load_encoder("imagebind-huge", weights="random", modalities=["image"], sizes=SIZES, dtype=torch.bfloat16)
    with pytest.raises(InputError, match="was loaded in bfloat16"):
        ib.export_encoder(trained(encoder, "image"), "image", "official", "nowhere.safetensors")


def test_all_weights_of_a_tower(tmp_path):
    live = trained(load_encoder("tiny"), "image", AdapterShape(0, False, 0, weights=True))
    ib.export_encoder(live, "image", "official", tmp_path / "full.safetensors")
    same(load_encoder("tiny", weights=tmp_path / "full.safetensors"), live, "image")


# ------------------------------------------------------------------------------------------------- ImageBind, UniBind


class NaiveBlock(nn.Module):
    def __init__(self, width, heads, bias_kv):
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn = nn.MultiheadAttention(width, heads, add_bias_kv=bias_kv, batch_first=True)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, 4 * width), "fc2": nn.Linear(4 * width, width)})

    def forward(self, x):
        y = self.norm_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp["fc2"](F.gelu(self.mlp["fc1"](self.norm_2(x))))


def naive_imagebind(state, name, x):
    """ImageBind's vision or thermal tower out of an official state dict, written down anew."""
    part = {
        kind: {
            key.removeprefix(f"modality_{kind}.{name}."): value
            for key, value in state.items()
            if key.startswith(f"modality_{kind}.{name}.")
        }
        for kind in ("preprocessors", "trunks", "heads", "postprocessors")
    }
    pre, trunk, head = part["preprocessors"], part["trunks"], part["heads"]
    width = pre["cls_token"].shape[-1]
    if name == "vision":
        x = F.conv3d(x[:, :, None].expand(-1, -1, 2, -1, -1), pre["rgbt_stem.proj.1.weight"], stride=(2, 14, 14))
        x = x.flatten(2).transpose(1, 2)
    else:
        x = F.conv2d(x, pre["rgbt_stem.proj.weight"], stride=16).flatten(2).transpose(1, 2)
        x = F.layer_norm(x, (width,), pre["rgbt_stem.norm_layer.weight"], pre["rgbt_stem.norm_layer.bias"], 1e-5)
    x = torch.cat([pre["cls_token"].expand(len(x), -1, -1), x], 1) + pre["pos_embedding_helper.pos_embed"]
    if name == "vision":
        norm = [trunk.pop(f"pre_transformer_layer.0.{key}") for key in ("weight", "bias")]
        x = F.layer_norm(x, (width,), *norm, 1e-6)
    blocks = nn.ModuleDict({"blocks": nn.ModuleList(NaiveBlock(width, 2, name != "vision") for _ in range(2))})
    blocks.load_state_dict(trunk, strict=True)
    for block in blocks["blocks"]:
        x = block(x)
    x = F.layer_norm(x[:, 0], (width,), head["0.weight"], head["0.bias"], 1e-6) @ head["2.weight"].T
    return F.normalize(x, dim=-1)


def normalised(encoder, modality, x):
    """What the naive towers take of native inputs."""
    return encoder._converters[modality, encoder.inputs[modality].space.name](x)


@pytest.mark.parametrize(("modality", "tower"), [("image", "vision"), ("thermal", "thermal")])
@torch.no_grad()
def test_imagebind_in_a_naive_module(tmp_path, modality, tower):
    """From a whole official file, of which only one tower was loaded: 1311-style keys, shapes and types stay."""
    names = checkpoint.rule_weights(
        ImageBindModel(sizes=SIZES), official_name, keep=["modality_preprocessors.text.mask"]
    )
    torch.save(names, tmp_path / "imagebind_huge.pth")
    encoder = load_encoder(
        "imagebind-huge", weights=tmp_path / "imagebind_huge.pth", modalities=[modality], sizes=SIZES
    )
    live = trained(encoder, modality)
    out = tmp_path / "folded.safetensors"
    exported = ib.export_encoder(live, modality, "official", out)
    state = load_file(out)
    assert {key: (value.shape, value.dtype) for key, value in state.items()} == {
        key: (value.shape, value.dtype) for key, value in names.items()
    }
    changed = {key.split(".")[1] for key, value in state.items() if not value.equal(names[key])}
    assert changed == {tower}
    x = probes(encoder.inputs[modality], "pixels", 4)
    expected = live.embed(modality, x)
    torch.testing.assert_close(
        naive_imagebind(state, tower, normalised(encoder, modality, x)), expected, atol=1e-6, rtol=0
    )
    again = load_encoder("imagebind-huge", weights=out, sizes=SIZES)
    torch.testing.assert_close(again.embed(modality, x), expected, atol=1e-6, rtol=0)
    assert again.weights_sha256 == exported.weights_sha256


@torch.no_grad()
def test_unibind_takes_a_linear_head(tmp_path):
    """As the official code saves what it fine-tuned: `backbone.`, and `mlp_for_image` behind the unit row."""
    small = {"sizes": SIZES, "levels": LEVELS, "points": 600}
    encoder = load_encoder("unibind", weights="random", modalities=["image"], **small)
    live = trained(encoder, "image", head="linear")
    out = tmp_path / "folded.safetensors"
    exported = ib.export_encoder(live, "image", "official", out)
    assert exported.head is None
    state = load_file(out)
    heads = {key: state.pop(key) for key in ("mlp_for_image.weight", "mlp_for_image.bias")}
    with torch.device("meta"):
        whole = unibind_model.UniBindModel(sizes=SIZES, levels=LEVELS, all_towers=True)
    assert set(state) == {f"backbone.{key}" for key in checkpoint.shapes(whole, unibind_model.official_name)}
    x = probes(encoder.inputs["image"], "pixels", 4)
    inner = {key.removeprefix("backbone.bind."): value for key, value in state.items()}
    z = naive_imagebind(inner, "vision", normalised(encoder, "image", x))
    z = F.normalize(F.linear(z, *heads.values()), dim=-1)
    torch.testing.assert_close(z, live.embed("image", x), atol=1e-6, rtol=0)


@pytest.mark.parametrize("modality", ["point", "event", "audio"])
def test_unibind_without_a_head(tmp_path, modality):
    small = {"sizes": SIZES, "levels": LEVELS, "points": 600}
    live = trained(load_encoder("unibind", weights="random", modalities=[modality], **small), modality)
    exported = ib.export_encoder(live, modality, "official", tmp_path / "folded.safetensors")
    assert not any(key.startswith(("backbone.", "mlp_for_")) for key in load_file(tmp_path / "folded.safetensors"))
    assert exported.verified.difference <= 1e-6
    same(load_encoder("unibind", weights=tmp_path / "folded.safetensors", **small), live, modality)


@torch.no_grad()
def test_a_head_without_a_place_stands_beside(tmp_path):
    """It is loaded onto the exported encoder as onto any other."""
    tiny = load_encoder("tiny")
    live = trained(tiny, "image", head="mlp")
    out = tmp_path / "folded.safetensors"
    exported = ib.export_encoder(live, "image", "official", out)
    assert exported.head is not None
    whole = ib.from_pretrained(exported.head, ib.load_encoder("tiny", weights=out))
    same(whole, live, "image")


# -------------------------------------------------------------------------------------------------------- LanguageBind


@pytest.mark.parametrize("modality", ["image", "video", "event"])
def test_languagebind(tmp_path, modality):
    encoder = languagebind.assemble(
        "small", dict.fromkeys(VARIANTS, "random"), ("image", "video", "event", "text"), variants=VARIANTS
    )
    live = trained(encoder, modality)
    out = tmp_path / "folded"
    exported = ib.export_encoder(live, modality, "official", out)
    key = "video" if modality == "video" else "image"
    again = languagebind.assemble("small", {key: out}, (modality, "text"), variants=VARIANTS)
    same(again, live, modality)
    assert exported.weights_sha256 == again.weights_sha256 == checkpoint.file_sha256(out / "model.safetensors")
    assert languagebind.official_entries(VARIANTS[key].arch) == {
        name: tuple(value.shape) for name, value in load_file(out / "model.safetensors").items()
    }


@torch.no_grad()
def test_languagebind_merges_the_updates_of_its_file(tmp_path):
    """A file with unmerged low-rank updates comes back merged, as the official FT files are; the folder's config.json
    says so, and keeps whatever else it said.
    """
    from dataclasses import replace

    arch = replace(VARIANTS["image"].arch, lora="attn", lora_rank=2)
    variants = {"image": languagebind.Variant("image", arch, "-")}
    entries = languagebind.official_entries(arch)
    source = tmp_path / "source"
    source.mkdir()
    save_file({name: checkpoint.rule_tensor(name, shape) for name, shape in entries.items()}, source / FILE)
    said = {"vision_config": {"lora_r": 2, "lora_alpha": 8, "num_frames": 1}, "logit_scale_init_value": 2.6592}
    (source / "config.json").write_text(json.dumps(said))
    encoder = languagebind.assemble("small", {"image": source}, ("image",), variants=variants)
    live = trained(encoder, "image")
    ib.export_encoder(live, "image", "official", tmp_path / "out")
    state = load_file(tmp_path / "out" / FILE)
    assert not any("lora" in name for name in state)
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["vision_config"]["lora_r"] == 0
    assert config["logit_scale_init_value"] == 2.6592
    same(languagebind.assemble("small", {"image": tmp_path / "out"}, ("image",), variants=variants), live, "image")


FILE = "model.safetensors"


@torch.no_grad()
def test_languagebind_in_the_librarys_clip(tmp_path):
    """LanguageBind's image model is a CLIP, key by key: `transformers` loads the folded file strictly."""
    transformers = pytest.importorskip("transformers")
    arch = VARIANTS["image"].arch
    encoder = languagebind.assemble("small", {"image": "random"}, ("image",), variants=VARIANTS)
    live = trained(encoder, "image")
    ib.export_encoder(live, "image", "official", tmp_path / "out")
    said = json.loads((tmp_path / "out" / "config.json").read_text())
    clip = transformers.CLIPModel(
        transformers.CLIPConfig(
            text_config=said["text_config"], vision_config=said["vision_config"], projection_dim=arch.dim
        )
    ).eval()
    clip.load_state_dict(load_file(tmp_path / "out" / FILE), strict=True)
    x = probes(encoder.inputs["image"], "pixels", 4)
    mean, std = (
        torch.tensor(values).view(3, 1, 1)
        for values in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
    )
    pooled = clip.vision_model(pixel_values=(x - mean) / std).pooler_output
    z = F.normalize(clip.visual_projection(pooled), dim=-1)
    torch.testing.assert_close(z, live.embed("image", x), atol=1e-6, rtol=0)
