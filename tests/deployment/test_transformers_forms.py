"""Models of `transformers`: folded folders that the library's own `from_pretrained` reads, and adapter folders that
`peft` loads onto the base model.
"""

import pytest
import torch
import torch.nn.functional as F  # noqa: N812

import ironbind as ib
from ironbind.deployment.verification import probes
from ironbind.encoders import load_encoder
from ironbind.encoders.hf import encoder as hf
from ironbind.encoders.hf.parts import vector
from ironbind.types import AdapterShape, InputError
from small_transformers import (
    TEXT,
    TOWER,
    built,
    clap_model,
    clap_sound,
    clip_model,
    clip_processor,
    gemma_keys,
    gemma_model,
    tokenizer,
)
from trained_parts import FOLDABLE, same, trained

transformers = pytest.importorskip("transformers")

TEXTS = ["w1 w2 w3", "w7"]


def siglip():
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    config = transformers.SiglipConfig(
        text_config={**TEXT, "max_position_embeddings": 16, "projection_size": 32},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
    )
    processor = SiglipImageProcessorPil(size={"height": 32, "width": 32})
    return built(transformers.SiglipModel, config), {"image": processor}


def xclip():
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    mit = {"mit_hidden_size": 32, "mit_intermediate_size": 64, "mit_num_hidden_layers": 1, "mit_num_attention_heads": 2}
    config = transformers.XCLIPConfig(
        text_config={**TEXT, "max_position_embeddings": 16, "eos_token_id": 1, "bos_token_id": 2},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8, **mit, "num_frames": 4},
        projection_dim=32,
    )
    processor = VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return built(transformers.XCLIPModel, config), {"image": processor}


MODELS = {
    "clip": (lambda: (clip_model(), {"image": clip_processor()}), "image"),
    "siglip": (siglip, "image"),
    "xclip": (xclip, "video"),
    "clap": (lambda: (clap_model(False), {"audio": clap_sound(False)}), "audio"),
    "gemma image": (lambda: (gemma_model(), gemma_keys()), "image"),
    "gemma audio": (lambda: (gemma_model(), gemma_keys()), "audio"),
}


def made(case):
    make, modality = MODELS[case]
    model, keys = make()
    return hf.from_model(case, model, tokenizer(), **keys), modality


@pytest.mark.parametrize("case", MODELS)
def test_a_folded_folder_of_every_family(tmp_path, case):
    encoder, modality = made(case)
    live = trained(encoder, modality, AdapterShape(2, case != "gemma audio", 0))  # it has norms without a shift
    exported = ib.export_encoder(live, modality, "official", tmp_path / "out")
    assert exported.verified.difference <= 1e-6
    again = load_encoder("hf", weights=str(tmp_path / "out"))
    same(again, live, modality)
    assert again.weights_sha256 == exported.weights_sha256 != encoder.weights_sha256
    if "gemma" in case:  # pictures, sounds and texts run through one language model
        assert "texts run through layers that" in exported.note
    else:
        assert not exported.note
        torch.testing.assert_close(again.embed_text(TEXTS), encoder.embed_text(TEXTS), atol=2e-6, rtol=0)


@torch.no_grad()
def test_what_lay_beside_a_loaded_model_goes_along(tmp_path):
    for part in (clip_model(), tokenizer(), clip_processor()):
        part.save_pretrained(tmp_path / "base")
    encoder = load_encoder("hf", weights=str(tmp_path / "base"))
    live = trained(encoder, "image")
    ib.export_encoder(live, "image", "official", tmp_path / "out")
    ours = ("export.json", "model.safetensors", "config.json", "generation_config.json")
    kept = {path.name: path.read_bytes() for path in (tmp_path / "base").iterdir() if path.name not in ours}
    assert {name: (tmp_path / "out" / name).read_bytes() for name in kept} == kept
    model = transformers.CLIPModel.from_pretrained(tmp_path / "out").eval()
    x = probes(encoder.inputs["image"], "pixels", 4)
    mean, std = (torch.tensor(getattr(clip_processor(), key)).view(3, 1, 1) for key in ("image_mean", "image_std"))
    z = F.normalize(vector(model.get_image_features(pixel_values=(x - mean) / std)), dim=-1)
    torch.testing.assert_close(z, live.embed("image", x), atol=1e-6, rtol=0)


# ---------------------------------------------------------------------------------------------------------------- peft


@pytest.mark.parametrize("case", ["clip", "siglip", "xclip", "clap"])
@torch.no_grad()
def test_an_adapter_folder_in_peft(tmp_path, case):
    """Loaded by `peft` onto a fresh base model; also with ranks so high that some layers got one full matrix."""
    peft = pytest.importorskip("peft")
    encoder, modality = made(case)
    for shape in (
        FOLDABLE,
        AdapterShape(12, True, 0),
        AdapterShape(2, False, 0),
        AdapterShape(3, core=True, purifier=0),
    ):
        live = trained(encoder, modality, shape)
        out = tmp_path / f"rank-{shape.rank}-{shape.norms}-{shape.core}"
        exported = ib.export_encoder(live, modality, "peft", out)
        assert exported.verified.difference <= 1e-6
        assert (out / "adapter_config.json").is_file()
        fresh, _ = made(case)
        peft.PeftModel.from_pretrained(fresh.model, str(out))
        same(fresh, live, modality)
    assert encoder.weights_sha256 == made(case)[0].weights_sha256, "the base model was changed"


def test_no_adapter_folder_of_other_encoders(tmp_path):
    pytest.importorskip("peft")
    live = trained(load_encoder("tiny"), "image")
    with pytest.raises(InputError, match="encoder 'tiny' is no transformers model; expected --format official"):
        ib.export_encoder(live, "image", "peft", tmp_path / "out")
    live = trained(made("clip")[0], "image", AdapterShape(2, True, 4))
    with pytest.raises(InputError, match="the purifier in front of image"):
        ib.export_encoder(live, "image", "peft", tmp_path / "out")
