"""Models of other libraries without a front end of ours: the gradient is that of the whole way from the pixels, the
embeddings are the library's own, and what detaches is refused with the reason.
"""

import json

import numpy as np
import PIL.Image
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file

from command_line import ironbind
from ironbind.encoders import is_of_a_library, load_encoder
from ironbind.encoders.generic.gradient_trial import NoGradient, check_gradient
from ironbind.encoders.generic.transformers_model import from_parts
from ironbind.encoders.hf import encoder as hf
from ironbind.encoders.hf.parts import vector
from ironbind.runs.encoder_spec import EncoderSpec
from ironbind.types import Image, InputError
from small_transformers import TEXT, TOWER, built, clap_model, clap_sound, clip_model, clip_processor, tokenizer

transformers = pytest.importorskip("transformers")
try:
    import torchvision
except (ImportError, RuntimeError):  # the latter from one of another build than torch
    torchvision = None
on_tensors = pytest.mark.skipif(torchvision is None, reason="no torchvision beside this torch")

PICTURE = Image(np.random.RandomState(0).randint(0, 256, (50, 70, 3), dtype=np.uint8))
TEXTS = ["w1 w2 w3", "w7"]
BERT = {**TEXT, "max_position_embeddings": 32, "type_vocab_size": 2, "pad_token_id": 0}
PATCHES = {**TOWER, "image_size": 32, "patch_size": 8}
SQUARE = {"height": 32, "width": 32}


# ------------------------------------------------------------------------------------------------------- the gradient

WEIGHTS = torch.randn(12, 5, generator=torch.Generator().manual_seed(1))


def curved(x):
    return torch.tanh(x.flatten(1) @ WEIGHTS)


def test_a_gradient_that_is_the_functions_own():
    check_gradient(curved, (3, 4), 0.0, 1.0, torch.device("cpu"))
    check_gradient(curved, (12,), -1.0, 1.0, torch.device("cpu"))


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: curved(x.detach()), "without their gradient"),
        (lambda x: curved((x * 255).round() / 255), "without their gradient"),
        (lambda x: curved(x + (0.5 * x - x).detach()), "a gradient that is not its own"),
        (lambda x: curved(x) + 2 * curved(x.flip(-1)).detach(), "a gradient that is not its own"),
    ],
)
def test_gradients_that_are_none_or_anothers(function, reason):
    with pytest.raises(NoGradient, match=reason):
        check_gradient(function, (3, 4), 0.0, 1.0, torch.device("cpu"))


# ------------------------------------------------------------------------------------------------------ transformers


def chinese_clip():
    config = transformers.ChineseCLIPConfig(text_config=BERT, vision_config=PATCHES, projection_dim=24)
    processor = transformers.ChineseCLIPImageProcessor(size=SQUARE, do_center_crop=False)
    return built(transformers.ChineseCLIPModel, config), processor


def altclip():
    config = transformers.AltCLIPConfig(
        text_config={**BERT, "project_dim": 24}, vision_config=PATCHES, projection_dim=24
    )
    return built(transformers.AltCLIPModel, config), transformers.CLIPImageProcessor(
        size={"shortest_edge": 32}, crop_size=SQUARE
    )


def siglip2():
    config = transformers.Siglip2Config(
        text_config={**TEXT, "max_position_embeddings": 64, "projection_size": 32},
        vision_config={**TOWER, "num_patches": 16, "patch_size": 8},
    )
    processor = transformers.Siglip2ImageProcessor(patch_size=8, max_num_patches=16)
    return built(transformers.Siglip2Model, config), processor


@on_tensors
@pytest.mark.parametrize("make", [chinese_clip, altclip])
def test_families_without_a_front_end_of_ours(make):
    model, processor = make()
    assert model.config.model_type not in hf.FAMILIES
    encoder = from_parts("any", model, tokenizer(), {"image": processor})
    picture = PIL.Image.fromarray(PICTURE.pixels)
    own = model.get_image_features(**processor([picture], return_tensors="pt"))
    x = encoder.inputs["image"].prepare(PICTURE)[None]
    assert (float(x.min()) >= 0, float(x.max()) <= 1) == (True, True)
    z = encoder.embed("image", x.clone().requires_grad_(True))
    torch.testing.assert_close(z.detach(), F.normalize(vector(own), dim=-1), atol=2e-6, rtol=0)
    assert z.requires_grad
    own = model.get_text_features(**tokenizer()(TEXTS, padding=True, return_tensors="pt"))
    torch.testing.assert_close(encoder.embed_text(TEXTS), F.normalize(vector(own), dim=-1), atol=2e-6, rtol=0)


@on_tensors
def test_a_processor_of_any_size_agrees_with_the_front_end_of_ours():
    model, processor = siglip2()
    ours = hf.from_model("siglip2", model, tokenizer(), image=processor)
    generic = from_parts("any", model, tokenizer(), {"image": processor})
    assert generic.inputs["image"].shape == ours.inputs["image"].shape == (3, 32, 32)
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(generic.embed("image", x), ours.embed("image", x), atol=2e-6, rtol=0)


@on_tensors
def test_a_folder_by_name_and_on_the_command_line(tmp_path):
    model, processor = chinese_clip()
    for part in (model, tokenizer(), processor):
        part.save_pretrained(tmp_path / "model")
    name = f"transformers:{tmp_path / 'model'}"
    encoder = load_encoder(name)
    assert (encoder.name, encoder.dim, tuple(encoder.inputs)) == ("transformers:model", 24, ("image",))
    assert EncoderSpec(name, modalities=("image",)).with_towers(["image", "text"]).load().text is not None
    for kind in ("w1", "w2"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        for i in range(2):
            pixels = np.random.RandomState(i).randint(0, 256, (40, 40, 3), dtype=np.uint8)
            PIL.Image.fromarray(pixels).save(tmp_path / "data" / kind / f"{i}.png")
    done = ironbind("audit", "folder", "--data", tmp_path / "data", "--modality", "image", "--encoder", name,
                    "--steps", "1", "--eps", "4/255", "--space", "pixels", "--out", tmp_path / "run")  # fmt: skip
    assert done.returncode == 0, done.stderr
    with pytest.raises(InputError, match="encoder 'chinese' embeds in 24 numbers, texts in 32"):
        from_parts("chinese", _Wider(model), tokenizer(), {"image": processor})


class _Wider(torch.nn.Module):
    """A model whose texts lie in another space."""

    def __init__(self, model):
        super().__init__()
        self.inner, self.config, self.device = model, model.config, model.device

    def get_image_features(self, pixel_values):
        return self.inner.get_image_features(pixel_values=pixel_values)

    def get_text_features(self, input_ids, **_):
        return torch.ones(len(input_ids), 32)


def test_families_of_ours_are_loaded_through_their_front_end(tmp_path):
    for part in (clip_model(), tokenizer(), clip_processor()):
        part.save_pretrained(tmp_path)
    encoder = load_encoder(f"transformers:{tmp_path}")
    assert encoder.inputs["image"].shape == (3, 32, 32)
    assert encoder.name.startswith("hf:")


def test_processors_that_leave_torch_are_refused_with_the_reason():
    config = transformers.ChineseCLIPConfig(text_config=BERT, vision_config=PATCHES, projection_dim=24)
    model = built(transformers.ChineseCLIPModel, config)
    detaching = transformers.models.chinese_clip.image_processing_pil_chinese_clip.ChineseCLIPImageProcessorPil(
        size=SQUARE, do_center_crop=False
    )
    with pytest.raises(InputError, match=r"image: its ChineseCLIPImageProcessorPil fails on tensors \(RuntimeError"):
        from_parts("any", model, tokenizer(), {"image": detaching})
    model, extractor = clap_model(False), clap_sound(False)
    with pytest.raises(InputError, match=r"audio: its ClapFeatureExtractor leaves torch .*a front end of ours") as told:
        from_parts("sound", model, tokenizer(), {"audio": extractor})
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match="it has no get_image_features or get_audio_features"):
        from_parts("text", model, tokenizer(), {})


def test_names_of_libraries(tmp_path):
    assert is_of_a_library("transformers:gpt2")
    assert is_of_a_library("sentence-transformers:org/name")
    with pytest.raises(InputError, match="encoder 'transformers:' names no model; expected transformers:NAME_OR_PATH"):
        load_encoder("transformers:")
    assert not is_of_a_library("transformers:")
    assert not is_of_a_library("my_package.module:load")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_type"}), encoding="utf-8")
    with pytest.raises(InputError, match=r"encoder 'transformers:.*' cannot be loaded \(ValueError") as told:
        load_encoder(f"transformers:{tmp_path}")
    assert "\n" not in str(told.value)
    with pytest.raises(InputError, match="encoder 'transformers:/no/where': no such folder"):
        load_encoder("transformers:/no/where")
    with pytest.raises(InputError, match="does not take this option"):
        EncoderSpec(f"transformers:{tmp_path}", weights="x").load()


# ---------------------------------------------------------------------------------------------- sentence-transformers

SPECIAL = [
    "<|image_pad|>",
    "<|video_pad|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|im_start|>",
    "<|im_end|>",
    "<e>",
]
TEMPLATE = (
    "{% for m in messages %}<|im_start|> {{ m.role }} {% for c in m.content %}{% if c.type == 'image' %}"
    "<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c.text }}{% endif %}{% endfor %} <|im_end|> {% endfor %}"
)


def qwen(folder):
    """A Qwen3-VL of two layers with its processor, as Qwen3-VL-Embedding is shaped: the last token is the embedding."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<unk>", *(f"w{i}" for i in range(60)), "user", *SPECIAL]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(SPECIAL)
    names = ("image_token", "video_token", "vision_bos_token", "vision_eos_token")
    spoken = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<e>", eos_token="<|im_end|>", unk_token="<unk>", padding_side="left",
        extra_special_tokens=dict(zip(names, SPECIAL, strict=False)),
    )  # fmt: skip
    ids = [spoken.convert_tokens_to_ids(token) for token in SPECIAL]
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e4, "mrope_interleaved": True}
    config = transformers.Qwen3VLConfig(
        text_config={**TEXT, "vocab_size": len(words) + 4, "num_key_value_heads": 1, "head_dim": 16,
                     "max_position_embeddings": 512, "rope_parameters": rope},
        vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 64, "num_heads": 2, "patch_size": 8,
                       "spatial_merge_size": 2, "temporal_patch_size": 2, "out_hidden_size": 32,
                       "num_position_embeddings": 64, "deepstack_visual_indexes": [0]},
        image_token_id=ids[0], video_token_id=ids[1], vision_start_token_id=ids[2], vision_end_token_id=ids[3],
    )  # fmt: skip
    built(transformers.Qwen3VLModel, config).save_pretrained(folder)
    cut = {"patch_size": 8, "merge_size": 2, "temporal_patch_size": 2}
    transformers.Qwen3VLProcessor(
        image_processor=transformers.Qwen2VLImageProcessor(
            **cut, size={"shortest_edge": 32 * 32, "longest_edge": 48 * 48}
        ),
        tokenizer=spoken,
        video_processor=transformers.Qwen3VLVideoProcessor(**cut),
        chat_template=TEMPLATE,
    ).save_pretrained(folder)
    return folder


@on_tensors
def test_an_embedding_model_of_sentence_transformers(tmp_path):
    library = pytest.importorskip("sentence_transformers")
    from sentence_transformers.base.modules.transformer import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    parts = [Transformer(str(qwen(tmp_path / "qwen"))), Pooling(32, "lasttoken")]
    model = library.SentenceTransformer(modules=parts)
    model.save_pretrained(str(tmp_path / "saved"))
    encoder = load_encoder(f"sentence-transformers:{tmp_path / 'saved'}")
    assert (encoder.inputs["image"].shape, encoder.dim) == ((3, 48, 48), 32)
    pixels = np.random.RandomState(3).randint(0, 256, (2, 48, 48, 3), dtype=np.uint8)
    own = model.encode([{"image": PIL.Image.fromarray(picture)} for picture in pixels], convert_to_tensor=True)
    x = torch.stack([encoder.inputs["image"].prepare(Image(picture)) for picture in pixels]).requires_grad_(True)
    z = encoder.embed("image", x)
    torch.testing.assert_close(z.detach(), F.normalize(own, dim=-1), atol=1e-5, rtol=0)
    (gradient,) = torch.autograd.grad(z[0].sum(), x)
    assert bool(gradient[0].any())
    assert not bool(gradient[1].any())
    own = model.encode(TEXTS, convert_to_tensor=True)
    torch.testing.assert_close(encoder.embed_text(TEXTS), F.normalize(own, dim=-1), atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="offers image and text here, not audio"):
        load_encoder(f"sentence-transformers:{tmp_path / 'saved'}", modalities=("audio",))
    weights = tmp_path / "saved" / "model.safetensors"
    tensors = load_file(weights)
    lacking = next(name for name in tensors if "layers.0" in name and name.endswith("weight"))
    save_file({name: value for name, value in tensors.items() if name != lacking}, weights, {"format": "pt"})
    with pytest.raises(InputError, match="lack 1 tensors of .*the library would fill them with random numbers"):
        load_encoder(f"sentence-transformers:{tmp_path / 'saved'}")


def test_sentence_transformers_that_are_not_there(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(InputError, match=r"expected `pip install ironbind\[sentence-transformers\]`"):
        load_encoder("sentence-transformers:org/name")
