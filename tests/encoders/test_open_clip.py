"""open_clip's checkpoints without open_clip, against what open_clip itself answered (scripts/open_clip_golden.py)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from command_line import ironbind
from ironbind.encoders import load_encoder
from ironbind.types import Image, InputError
from open_clip_models import CONFIGS, TEXTS, pictures, shapes, tensors, write

pytest.importorskip("transformers")
GOLDEN = json.loads((Path(__file__).parent / "open_clip_golden.json").read_text(encoding="utf-8"))


def embedded(encoder):
    x = [encoder.inputs["image"].prepare(Image(picture)) for picture in pictures()]
    return encoder.embed("image", torch.stack(x))


@pytest.fixture
def checkpoint(tmp_path):
    return write(tmp_path / "model", "gelu")


def respell(folder, **settings):
    """The configuration in the folder with other settings of the model: part__name=value."""
    path = folder / "open_clip_config.json"
    about = json.loads(path.read_text(encoding="utf-8"))
    for name, value in settings.items():
        part, _, inside = name.partition("__")
        if inside:
            about["model_cfg"][part][inside] = value
        else:
            about["model_cfg"][part] = value
    path.write_text(json.dumps(about), encoding="utf-8")


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_embeddings_are_those_of_open_clip(tmp_path, kind, file):
    encoder = load_encoder("open_clip", weights=str(write(tmp_path / "model", kind, file)))
    torch.testing.assert_close(embedded(encoder), torch.tensor(GOLDEN[kind]["image"]), atol=2e-6, rtol=0)
    torch.testing.assert_close(encoder.embed_text(list(TEXTS)), torch.tensor(GOLDEN[kind]["text"]), atol=2e-6, rtol=0)
    assert (encoder.name, encoder.dim) == ("open_clip:model", CONFIGS[kind]["embed_dim"])


def test_the_golden_values_tell_activations_and_texts_apart():
    one, other = (torch.tensor(GOLDEN[kind]["text"]) for kind in ("gelu", "quick_gelu"))
    assert float((one - other).abs().max()) > 1e-3
    assert len({tuple(row) for row in GOLDEN["g"]["text"]}) == 3


def test_the_gradient_reaches_the_pixels_and_the_hash_says_what_was_read(checkpoint):
    encoder = load_encoder("open_clip", weights=str(checkpoint), modalities="image")
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(encoder.embed("image", x)[0].sum(), x)
    assert bool(gradient[0].any())
    assert not bool(gradient[1].any())
    respell(checkpoint, quick_gelu=True)  # the same file of tensors
    other = load_encoder("open_clip", weights=str(checkpoint))
    assert other.weights_sha256 != encoder.weights_sha256
    assert float((other.embed("image", x) - encoder.embed("image", x)).detach().abs().max()) > 1e-4


def test_a_picture_tower_alone_with_the_rest_of_its_model(tmp_path, checkpoint):
    own = load_encoder("open_clip", weights=str(checkpoint))
    tower = {name.removeprefix("visual."): 1.01 * value for name, value in tensors(CONFIGS["gelu"]).items()
             if name.startswith("visual.")}  # fmt: skip
    torch.save(tower, tmp_path / "robust.pt")
    robust = load_encoder("open_clip", weights=str(tmp_path / "robust.pt"), whole=str(checkpoint))
    assert robust.name == "open_clip:robust.pt"
    assert torch.equal(robust.embed_text(["a cat"]), own.embed_text(["a cat"]))
    assert float((embedded(robust) - embedded(own)).abs().max()) > 1e-4
    with pytest.raises(InputError, match=r"robust.pt' have no open_clip_config.json beside them"):
        load_encoder("open_clip", weights=str(tmp_path / "robust.pt"))
    save_file({f"visual.{name}": value.contiguous() for name, value in tower.items()},
              checkpoint / "open_clip_model.safetensors")  # fmt: skip
    with pytest.raises(InputError, match="hold no text tower; expected a whole model, or the option whole"):
        load_encoder("open_clip", weights=str(checkpoint))
    torch.save({"fc.weight": torch.ones(2, 2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"are no picture tower of open_clip \(visual.fc.weight\)"):
        load_encoder("open_clip", weights=str(tmp_path / "other.pt"), whole=str(write(tmp_path / "whole", "gelu")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vision_cfg__timm_model_name": "vit_base_patch16_siglip_224"}, r"vision_cfg.timm_model_name='vit_base"),
        (
            {"vision_cfg__no_ln_pre": True, "text_cfg__no_causal_mask": True},
            "vision_cfg.no_ln_pre=True is none",
        ),
        ({"text_cfg__hf_tokenizer_name": "bert-base-uncased"}, "text_cfg.hf_tokenizer_name='bert-base-uncased'"),
        ({"vision_cfg__layers": [3, 4, 6, 3]}, "its model_cfg cannot be used"),
        ({"text_cfg__width": float("inf")}, "its model_cfg cannot be used"),
        ({"multimodal_cfg": {}}, "its setting multimodal_cfg={}"),
        ({"text_cfg__norm_kwargs": {"bias": False}}, "its setting norm_kwargs="),
        ({"vision_cfg__layers": 3}, "lack 16 tensors, first 'vision_model.encoder.layers.2"),
        ({"vision_cfg__layers": 1}, "hold 16 tensors too many, first 'vision_model.encoder.layers.1"),
        ({"embed_dim": 13}, r"of shape \(12, 32\), not \(13, 32\)"),
        ({"text_cfg__context_length": 128}, r"of shape \(77, 16\), not \(128, 16\)"),
    ],
)
def test_models_that_are_not_clips(checkpoint, settings, message):
    respell(checkpoint, **settings)
    with pytest.raises(InputError, match=message) as told:
        load_encoder("open_clip", weights=str(checkpoint))
    assert "\n" not in str(told.value)


def test_tensors_that_clip_does_not_have(checkpoint):
    more = {**tensors(CONFIGS["gelu"]), "logit_bias": torch.zeros(())}
    save_file(more, checkpoint / "open_clip_model.safetensors")
    with pytest.raises(InputError, match="holds 'logit_bias', which CLIP's towers do not have"):
        load_encoder("open_clip", weights=str(checkpoint))
    more = {**tensors(CONFIGS["gelu"]), "visual.transformer.resblocks.0.ls_1.gamma": torch.zeros(32)}
    save_file(more, checkpoint / "open_clip_model.safetensors")
    with pytest.raises(InputError, match="ls_1.gamma', which CLIP's towers do not have"):
        load_encoder("open_clip", weights=str(checkpoint))


def test_weights_that_cannot_be_had(tmp_path, monkeypatch):
    for weights, message in (
        (None, r"expected hf-hub:org/name, or a folder with open_clip_config.json"),
        (str(tmp_path), "hold no tensors"),
        (str(tmp_path / "nowhere"), "are not there"),
    ):
        with pytest.raises(InputError, match=message):
            load_encoder("open_clip", weights=weights)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"'hf-hub:no/where' cannot be fetched \(.*; expected a network") as told:
        load_encoder("open_clip", weights="hf-hub:no/where")
    assert "\n" not in str(told.value)


def test_the_command_and_the_list_of_weights(tmp_path, checkpoint):
    (tmp_path / "data").mkdir()
    from PIL import Image as Pillow

    for kind, picture in zip(("cat", "dog"), pictures(), strict=False):
        (tmp_path / "data" / kind).mkdir()
        Pillow.fromarray(picture).save(tmp_path / "data" / kind / "1.png")
    quick = ("--steps", "1", "--eps", "4/255", "--space", "pixels")
    done = ironbind("audit", "folder", "--data", tmp_path / "data", "--modality", "image", "--encoder", "open_clip",
                    "--weights", checkpoint, *quick, "--out", tmp_path / "run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    listed = ironbind("weights").stdout
    for name in ("TeCoA-2", "TeCoA-4", "FARE-2", "FARE-4", "Sim-CLIP-4", "DeltaCLIP-L/14"):
        assert f"{name}: " in listed
    assert "hub:chs20/fare4-clip" in listed
    assert shapes(CONFIGS["g"])["text.token_embedding.weight"] == (49408, 16)
