"""The transformers adapter against the library's own processors and models, on randomly initialised small
configurations.
"""

import json
import shutil

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file

from ironbind.encoders import load_encoder
from ironbind.encoders.hf import encoder as hf
from ironbind.encoders.hf.inputs import Mel, Pixels
from ironbind.encoders.hf.parts import vector
from ironbind.types import Audio, Encoder, Image, InputError, Video
from small_transformers import (
    PE_PIXELS,
    TEXT,
    TOWER,
    built,
    clap_model,
    clap_sound,
    clip_model,
    clip_processor,
    gemma_keys,
    gemma_model,
    gemma_parts,
    pe_configs,
    pe_sound,
    tokenizer,
)

transformers = pytest.importorskip("transformers")

RNG = np.random.RandomState(0)
PICTURE = Image(RNG.randint(0, 256, (50, 70, 3), dtype=np.uint8))
SQUARE = Image(RNG.randint(0, 256, (60, 60, 3), dtype=np.uint8))
CLIP = Video(RNG.randint(0, 256, (9, 40, 60, 3), dtype=np.uint8), 10.0)
TEXTS = ["w1 w2 w3", "w7"]


def noise(seconds, rate, channels=1):
    return Audio(np.random.RandomState(1).uniform(-0.3, 0.3, (channels, int(seconds * rate))).astype(np.float32), rate)


def same(encoder, modality, sample, expected, tolerance=2e-6):
    assert set(encoder.inputs) == set(hf.FAMILIES[encoder.model.config.model_type].modalities)
    got = encoder.embed(modality, encoder.inputs[modality].prepare(sample)[None])
    torch.testing.assert_close(got, F.normalize(vector(expected), dim=-1), atol=tolerance, rtol=0)


def same_text(encoder, expected):
    torch.testing.assert_close(encoder.embed_text(TEXTS), F.normalize(vector(expected), dim=-1), atol=2e-6, rtol=0)


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


# ---------------------------------------------------------------------------------------- parity with the library


def test_clip():
    model, processor = clip_model(), clip_processor()
    encoder = hf.from_model("clip", model, tokenizer(), image=processor)
    assert isinstance(encoder, Encoder)
    assert encoder.dim == 24
    for picture in (PICTURE, SQUARE, Image(PICTURE.pixels.transpose(1, 0, 2))):
        same(encoder, "image", picture, model.get_image_features(**processor([picture.pixels], return_tensors="pt")))
    same_text(encoder, model.get_text_features(**tokenizer()(TEXTS, padding=True, return_tensors="pt")))


def test_clip_from_a_saved_folder(tmp_path):
    model = clip_model()
    for part in (model, tokenizer(), clip_processor()):
        part.save_pretrained(tmp_path)
    encoder = load_encoder("hf", weights=str(tmp_path))
    direct = hf.from_model("clip", model, tokenizer(), image=clip_processor())
    x = encoder.inputs["image"].prepare(PICTURE)[None]
    torch.testing.assert_close(encoder.embed("image", x), direct.embed("image", x), atol=2e-6, rtol=0)
    torch.testing.assert_close(encoder.embed_text(TEXTS), direct.embed_text(TEXTS), atol=2e-6, rtol=0)
    assert (
        encoder.weights_sha256
        == direct.weights_sha256
        != hf.from_model("other", gemma_model(), tokenizer(), **gemma_keys()).weights_sha256
    )
    assert encoder.name == f"hf:{tmp_path.name}"


def test_siglip():
    from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

    config = transformers.SiglipConfig(
        text_config={**TEXT, "max_position_embeddings": 16, "projection_size": 32},
        vision_config={**TOWER, "image_size": 32, "patch_size": 8},
    )
    model, processor = (
        built(transformers.SiglipModel, config),
        SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    )
    encoder = hf.from_model("siglip", model, tokenizer(), image=processor)
    same(encoder, "image", PICTURE, model.get_image_features(**processor([PICTURE.pixels], return_tensors="pt")))
    same_text(
        encoder,
        model.get_text_features(
            tokenizer()(TEXTS, padding="max_length", max_length=16, return_tensors="pt")["input_ids"]
        ),
    )


def test_siglip2_of_any_shape():
    from transformers.models.siglip2.image_processing_pil_siglip2 import Siglip2ImageProcessorPil

    config = transformers.Siglip2Config(
        text_config={**TEXT, "max_position_embeddings": 16, "projection_size": 32},
        vision_config={**TOWER, "patch_size": 8, "num_patches": 16},
    )
    model, processor = (
        built(transformers.Siglip2Model, config),
        Siglip2ImageProcessorPil(patch_size=8, max_num_patches=16),
    )
    encoder = hf.from_model("siglip2", model, tokenizer(), image=processor)
    assert encoder.inputs["image"].shape == (3, 32, 32)
    same(encoder, "image", SQUARE, model.get_image_features(**processor([SQUARE.pixels], return_tensors="pt")))
    same_text(
        encoder,
        model.get_text_features(
            tokenizer()(TEXTS, padding="max_length", max_length=16, return_tensors="pt")["input_ids"]
        ),
    )
    wide = hf.from_model("siglip2", model, tokenizer(), image=processor, size=(24, 40))
    same(
        wide,
        "image",
        Image(PICTURE.pixels[:42]),
        model.get_image_features(**processor([PICTURE.pixels[:42]], return_tensors="pt")),
    )


def test_xclip():
    from transformers.models.videomae.image_processing_pil_videomae import VideoMAEImageProcessorPil

    mit = {
        "mit_hidden_size": 32,
        "mit_intermediate_size": 64,
        "mit_num_hidden_layers": 1,
        "mit_num_attention_heads": 2,
        "num_frames": 4,
    }
    text = {**TEXT, "max_position_embeddings": 16, "eos_token_id": 1, "bos_token_id": 2}
    config = transformers.XCLIPConfig(
        text_config=text, vision_config={**TOWER, "image_size": 32, "patch_size": 8, **mit}, projection_dim=32
    )
    model = built(transformers.XCLIPModel, config)
    processor = VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    encoder = hf.from_model("xclip", model, tokenizer(), image=processor)
    assert encoder.inputs["video"].shape == (4, 3, 32, 32)
    frames = [CLIP.frames[i] for i in (0, 2, 5, 8)]
    same(encoder, "video", CLIP, model.get_video_features(**processor([frames], return_tensors="pt")))
    same_text(encoder, model.get_text_features(**tokenizer()(TEXTS, padding=True, return_tensors="pt")))


@pytest.mark.parametrize("fusion", [False, True])
@pytest.mark.parametrize("seconds", [1.0, 0.45])
def test_clap(fusion, seconds):
    model, extractor, sound = clap_model(fusion), clap_sound(fusion), noise(seconds, 8000)
    encoder = hf.from_model("clap", model, tokenizer(), audio=extractor)
    features = extractor(sound.waveform[0], sampling_rate=8000, return_tensors="pt")["input_features"]
    x = encoder.inputs["audio"].prepare(sound)[None]
    torch.testing.assert_close(Mel.clap(extractor)(x.double())[0], features[0, 0].double(), atol=1e-4, rtol=0)
    same(
        encoder,
        "audio",
        sound,
        model.get_audio_features(input_features=features.float(), is_longer=torch.zeros(1, 1, dtype=torch.bool)),
        1e-5,
    )
    same_text(encoder, model.get_text_features(**tokenizer()(TEXTS, padding=True, return_tensors="pt")))


def test_pe_audio():
    text, audio, _, _ = pe_configs()
    model = built(transformers.PeAudioModel, transformers.PeAudioConfig(text_config=text, audio_config=audio))
    tokens = tokenizer()(TEXTS, padding=True, return_tensors="pt")
    sound = noise(0.02, 48_000)
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    values = pe_sound()(sound.waveform[0], sampling_rate=48_000, return_tensors="pt")["input_values"]
    expected = model(input_ids=ids, attention_mask=mask, input_values=values.expand(2, -1, -1))
    encoder = hf.from_model("pe", model, tokenizer(), audio=pe_sound(), seconds=0.02)
    same(encoder, "audio", sound, expected.audio_embeds[:1])
    same_text(encoder, expected.text_audio_embeds)


def test_pe_audio_video():
    text, audio, video, width = pe_configs()
    joint = transformers.PeAudioVideoEncoderConfig(audio_config=audio, video_config=video, **width)
    model = built(
        transformers.PeAudioVideoModel, transformers.PeAudioVideoConfig(text_config=text, audio_video_config=joint)
    )
    tokens = tokenizer()(TEXTS, padding=True, return_tensors="pt")
    sound = noise(0.02, 48_000)
    shown = torch.stack([Pixels.read(PE_PIXELS).prepare(CLIP.frames[i]) for i in (0, 2, 5, 8)]) * 2 - 1
    expected = model(
        input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"],
        input_values=torch.from_numpy(sound.waveform).expand(2, 1, -1), pixel_values_videos=shown.repeat(2, 1, 1, 1, 1),
    )  # fmt: skip
    heads = {
        "audio": expected.text_audio_embeds,
        "video": expected.text_video_embeds,
        None: expected.text_audio_video_embeds,
    }
    for head, answer in heads.items():
        encoder = hf.from_model(
            "pe", model, tokenizer(), video=PE_PIXELS, audio=pe_sound(), seconds=0.02, frames=4, text_head=head
        )
        same_text(encoder, answer)
    same(encoder, "audio", sound, expected.audio_embeds[:1])
    same(encoder, "video", CLIP, expected.video_embeds[:1])
    with pytest.raises(InputError, match="text_head 'smell' does not exist"):
        hf.from_model("pe", model, tokenizer(), video=PE_PIXELS, audio=pe_sound(), text_head="smell")


def mean_pooled(output, mask):
    return torch.stack([row[keep.bool()].mean(0) for row, keep in zip(output.last_hidden_state, mask, strict=True)])


def test_embedding_gemma2(monkeypatch):
    from transformers import EmbeddingGemma2Processor

    monkeypatch.setattr(
        EmbeddingGemma2Processor, "check_argument_for_proper_class", lambda *_: None
    )  # no video processor without torchvision
    model, (image, audio) = gemma_model(), gemma_parts()
    processor = EmbeddingGemma2Processor(
        feature_extractor=audio, image_processor=image, tokenizer=tokenizer(), video_processor=None
    )
    encoder = hf.from_model("gemma", model, tokenizer(), **gemma_keys())

    made = processor(images=[SQUARE.pixels], return_tensors="pt")
    assert encoder.inputs["image"].shape == (3, 64, 64)
    same(encoder, "image", SQUARE, mean_pooled(model(**made), made["attention_mask"]))

    sound = noise(1.024, 16_000)
    made = processor(audio=[sound.waveform[0]], sampling_rate=16_000, return_tensors="pt")
    assert made["input_features_mask"].all()
    same(encoder, "audio", sound, mean_pooled(model(**made), made["attention_mask"]), 1e-5)

    made = processor(text=TEXTS, return_tensors="pt")
    same_text(encoder, mean_pooled(model(**made), made["attention_mask"]))
    prompted = hf.from_model("gemma", model, tokenizer(), prompt="w9 {}", **gemma_keys())
    assert torch.equal(prompted.embed_text(["w1"]), encoder.embed_text(["w9 w1"]))


def test_embedding_gemma2_video_is_its_frames_in_one_prompt():
    """The library's video processor cannot be imported without torchvision; its patches are those of its image
    processor.
    """
    model, (image, audio) = gemma_model(), gemma_parts()
    encoder = hf.from_model("gemma", model, tokenizer(), image=image, audio=audio, frames=2)
    pixels = Pixels.read(image.to_dict(), (64, 64))
    made = [
        image(
            [np.round(pixels.prepare(CLIP.frames[i]).numpy().transpose(1, 2, 0) * 255).astype(np.uint8)],
            return_tensors="pt",
        )
        for i in (0, 8)
    ]
    ids = torch.tensor([[2, *([113] + [111] * 64 + [114]) * 2, 1]])
    output = model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values_videos=torch.cat([one["pixel_values"] for one in made]),
        video_position_ids=torch.cat([one["image_position_ids"] for one in made]),
        num_frames_per_video=torch.tensor([2]),
    )
    same(encoder, "video", CLIP, output.last_hidden_state.mean(1))
    with pytest.raises(InputError, match="size \\(60, 64\\) does not fit"):
        hf.from_model("gemma", model, tokenizer(), image=image, audio=audio, size=(60, 64))


# ------------------------------------------------------------------------------- folders that hold no whole model


def tensors_of(folder):
    return load_file(folder / "model.safetensors")


def with_tensors(folder, tensors):
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def half_of_the_tensors(folder):
    with_tensors(folder, {name: x for name, x in tensors_of(folder).items() if "vision_model.encoder" not in name})


def another_prefix(folder):
    with_tensors(folder, {f"backbone.{name}": x for name, x in tensors_of(folder).items()})


def another_shape(folder):
    with_tensors(folder, {**tensors_of(folder), "visual_projection.weight": torch.zeros(24, 31)})


def fewer_layers_in_the_configuration(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["vision_config"]["num_hidden_layers"] = 1
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")


def no_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()


def processor(**changes):
    def change(folder):
        path = folder / "preprocessor_config.json"
        config = json.loads(path.read_text(encoding="utf-8"))
        path.write_text(json.dumps({**config, **changes}), encoding="utf-8")

    return change


def content(name, written):
    return lambda folder: (folder / name).write_bytes(written)


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4804045529\n"
PAGE = b"\n<!DOCTYPE html><html>Sign in</html>"
BROKEN = {
    "half of the tensors": (half_of_the_tensors, r"lack 32 tensors of CLIPModel, first 'vision_model.encoder.layers.0"),
    "another prefix": (another_prefix, "lack 78 tensors .* and 78 that the model does not have, first 'backbone"),
    "another shape": (another_shape, "cannot be loaded"),
    "fewer layers": (
        fewer_layers_in_the_configuration,
        r"config.json does not name, first 'vision_model.encoder.layers.1",
    ),
    "no tokenizer": (no_tokenizer, "holds no tokenizer; expected tokenizer.json"),
    "no processor": (
        lambda folder: (folder / "preprocessor_config.json").unlink(),
        "no configuration of its image processor .*expected preprocessor_config.json",
    ),
    "a processor without a size": (processor(size=None), "image processor|says too little"),
    "a processor without means": (processor(image_mean=None), "says too little"),
    "a list for a processor": (content("preprocessor_config.json", b"[1, 2]"), "holds a list; expected a JSON object"),
    "lfs": (content("model.safetensors", LFS), "model.safetensors is a git-lfs pointer"),
    "a page": (content("model.safetensors", PAGE), "model.safetensors is a web page"),
    "nothing": (content("model.safetensors", b""), "model.safetensors is an empty file"),
    "lfs for a configuration": (content("config.json", LFS), "config.json is a git-lfs pointer"),
    "a page for a processor": (content("preprocessor_config.json", PAGE), "preprocessor_config.json is a web page"),
    "bytes": (content("model.safetensors", bytes(range(256)) * 9), "cannot be loaded"),
    "no json": (content("config.json", b"{"), "cannot be loaded"),
    "another kind": (content("config.json", b'{"model_type": "bert"}'), "model type 'bert', which has no adapter"),
    "no weights": (lambda folder: (folder / "model.safetensors").unlink(), "cannot be loaded"),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    for part in (clip_model(), tokenizer(), clip_processor()):
        part.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("what", BROKEN)
def test_a_folder_that_is_no_whole_model_is_one_line(what, whole, tmp_path):
    change, said = BROKEN[what]
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    change(folder)
    with pytest.raises(InputError, match=said) as refusal:
        load_encoder("hf", weights=str(folder))
    assert "\n" not in str(refusal.value)


def test_buffers_of_older_releases_are_left_out(whole, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    with_tensors(folder, {**tensors_of(folder), "vision_model.embeddings.position_ids": torch.arange(17)[None]})
    x = torch.rand(1, 3, 32, 32)
    older, plain = (load_encoder("hf", weights=str(place)) for place in (folder, whole))
    assert older.weights_sha256 == plain.weights_sha256
    torch.testing.assert_close(older.embed("image", x), plain.embed("image", x), atol=2e-6, rtol=0)


def test_half_precision_weights_are_read_in_float32(whole, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    with_tensors(folder, {name: x.half() if x.is_floating_point() else x for name, x in tensors_of(folder).items()})
    x = torch.rand(2, 3, 32, 32)
    rounded, plain = (load_encoder("hf", weights=str(place)).embed("image", x) for place in (folder, whole))
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, plain, atol=5e-3, rtol=0)


def test_pictures_alone_need_no_tokenizer(whole, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(whole, folder)
    no_tokenizer(folder)
    encoder = load_encoder("hf", weights=str(folder), modalities=("image",))
    assert encoder.text is None
    assert encoder.embed("image", torch.rand(1, 3, 32, 32)).shape == (1, 24)


# ------------------------------------------------------------------------------------------------------ gradients


def every_encoder():
    text, audio, video, width = pe_configs()
    joint = transformers.PeAudioVideoEncoderConfig(audio_config=audio, video_config=video, **width)
    pe = built(
        transformers.PeAudioVideoModel, transformers.PeAudioVideoConfig(text_config=text, audio_video_config=joint)
    )
    yield hf.from_model("clip", clip_model(), image=clip_processor())
    yield hf.from_model("clap", clap_model(False), audio=clap_sound(False))
    yield hf.from_model("pe", pe, video=PE_PIXELS, audio=pe_sound(), seconds=0.02, frames=2)
    yield hf.from_model("gemma", gemma_model(), tokenizer(), **gemma_keys())


def test_input_gradients_are_finite_differences():
    """Along a random direction, in float64 where the models run in it (the norms of PE-AV and Gemma do not)."""
    for encoder in every_encoder():
        exact = encoder.name in ("clip", "clap")
        dtype = torch.float64 if exact else torch.float32
        encoder.model.to(dtype)
        for modality, spec in encoder.inputs.items():
            generator = torch.Generator().manual_seed(3)
            x = 0.25 + 0.5 * torch.rand((1, *spec.shape), generator=generator, dtype=dtype)
            direction = F.normalize(torch.randn(x.numel(), generator=generator, dtype=dtype), dim=0).view_as(x)
            weight = torch.randn(encoder.dim, generator=generator, dtype=dtype)
            with torch.enable_grad():
                value = (encoder.embed(modality, x.requires_grad_()) @ weight).sum()
                slope = (torch.autograd.grad(value, x)[0] * direction).sum().item()
            step = 1e-6 if exact else 2e-3
            ends = [
                (encoder.embed(modality, x + sign * step * direction).double() @ weight.double()).item()
                for sign in (1, -1)
            ]
            assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(slope, rel=2e-3 if exact else 5e-2), (
                encoder.name,
                modality,
            )
            assert abs(slope) > 1e-4, (encoder.name, modality)


# ------------------------------------------------------------------------------------------------------- refusals


def test_refusals(tmp_path):
    with pytest.raises(InputError, match="weights=None: hf needs a folder"):
        load_encoder("hf")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder("hf", weights=str(tmp_path))
    bert = transformers.BertConfig(**TEXT)
    with pytest.raises(InputError, match="model type 'bert' has no adapter"):
        hf.from_model("bert", transformers.BertModel(bert))
    transformers.BertModel(bert).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="model type 'bert', which has no adapter"):
        load_encoder("hf", weights=str(tmp_path))
    with pytest.raises(InputError, match="'audio' does not exist for clip"):
        hf.from_model("clip", clip_model(), tokenizer(), image=clip_processor(), modalities=("audio",))
    silent = hf.from_model("clip", clip_model(), image=clip_processor())
    with pytest.raises(InputError, match="no text tower"):
        silent.embed_text(["w1"])
    with pytest.raises(InputError, match="needs its tokenizer"):
        hf.from_model("gemma", gemma_model(), **gemma_keys())
