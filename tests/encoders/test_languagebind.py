"""LanguageBind without its weights: names and shapes of all official files, preprocessing, small models, gradients,
files that are refused.
"""

import hashlib
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from ironbind.encoders import ENCODERS, load_encoder
from ironbind.encoders.languagebind import encoder as port
from ironbind.encoders.languagebind.inputs import (
    LanguageBindInputs,
    chunk_starts,
    resize_short_side,
    spectrogram_channels,
)
from ironbind.encoders.languagebind.model import (
    LARGE,
    VIDEO,
    Architecture,
    TextTower,
    VisionTower,
    merge_lora,
    official_entries,
    official_name,
    own_state,
)
from ironbind.types import Audio, Depth, Encoder, Events, Image, InputError, Thermal, Video

TINY = Architecture(
    size=(28, 28), width=32, depth=2, heads=4, dim=12, text_width=24, text_depth=2, text_heads=2, vocabulary=49408
)


def random_file(arch: Architecture, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: 0.2 * torch.randn(shape, generator=generator) for name, shape in official_entries(arch).items()}


def filled(arch: Architecture, state: dict[str, torch.Tensor]) -> tuple[VisionTower, TextTower]:
    plain = merge_lora(state)
    towers = VisionTower(arch), TextTower(arch)
    for name, tower in zip(("vision", "text"), towers, strict=True):
        tower.load_state_dict(own_state(name, tower, plain))
    return towers


# ------------------------------------------------------------------------------------------------------ official names


# number of entries, and SHA-256 (16 digits) over sorted "name [shape]" lines, of the state dicts that the official code
# (7070c53, transformers 4.30.2, peft 0.4.0) saves for each variant, position_ids aside; the lists themselves are 700 kB
MANIFESTS = {
    "languagebind-image": (590, "50992ef403a22b82"),
    "languagebind-video": (1046, "4eeb4448ec83a5cd"),
    "languagebind-video-ft": (854, "5f4ad24b85f2659a"),
    "languagebind-video-v1.5-ft": (854, "c60db1e6086ea1bf"),
    "languagebind-video-huge-v1.5-ft": (1262, "6a3020d0d28349b0"),
    "languagebind-audio": (782, "96008b6096c96244"),
    "languagebind-audio-ft": (590, "bd687489758108db"),
    "languagebind-depth": (782, "bf372fd72eb971f3"),
    "languagebind-thermal": (782, "bf372fd72eb971f3"),
}


@pytest.mark.parametrize("name", port.VARIANTS)
def test_official_entries_are_the_manifest(name):
    """Every name and shape of every published kind of file, from the full-size models on the meta device."""
    entries = official_entries(port.VARIANTS[name].arch)
    lines = "".join(f"{key} {list(shape)}\n" for key, shape in sorted(entries.items()))
    assert (len(entries), hashlib.sha256(lines.encode()).hexdigest()[:16]) == MANIFESTS[name]


def test_both_spellings_of_low_rank_updates_merge_to_the_same_weights():
    arch = replace(TINY, lora="attn", lora_rank=3)
    old = random_file(arch)
    layer = "vision_model.encoder.base_model.model.layers.1.self_attn.k_proj"
    new = {}
    for key, value in old.items():
        adapted = f"{key.rpartition('.')[0]}.lora_A.default.weight" in old
        new[f"{key.rpartition('.')[0]}.base_layer.{key.rpartition('.')[2]}" if adapted else key] = value
    assert f"{layer}.base_layer.weight" in new
    merged_old, merged_new = (
        merge_lora(old, 16.0),
        merge_lora({f"module.{key}": value for key, value in new.items()}, 16.0),
    )
    assert merged_old.keys() == merged_new.keys() == official_entries(TINY).keys()
    assert all(torch.equal(merged_old[key], merged_new[key]) for key in merged_old)
    expected = (
        old[f"{layer}.weight"]
        + 16.0 / 3 * old[f"{layer}.lora_B.default.weight"] @ old[f"{layer}.lora_A.default.weight"]
    )
    torch.testing.assert_close(merged_old["vision_model.encoder.layers.1.self_attn.k_proj.weight"], expected)


def test_old_position_ids_are_dropped_and_nothing_else():
    state = {
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "vision_model.encoder.layers.0.temporal_mlp.fc1.bias": torch.zeros(3),
    }
    assert list(merge_lora(state)) == ["vision_model.encoder.layers.0.temporal_mlp.fc1.bias"]


# ------------------------------------------------------------------------------------------ small models, naive twins


def naive_attention(x, state, stem, heads, mask=None):
    """Softmax attention written out, one head after the other."""
    q, k, v = (x @ state[f"{stem}.{one}_proj.weight"].T + state[f"{stem}.{one}_proj.bias"] for one in "qkv")
    side, parts = q.shape[-1] // heads, []
    for head in range(heads):
        cut = slice(head * side, (head + 1) * side)
        logits = q[..., cut] @ k[..., cut].transpose(-1, -2) / math.sqrt(side)
        parts.append((logits if mask is None else logits + mask).softmax(-1) @ v[..., cut])
    return torch.cat(parts, -1) @ state[f"{stem}.out_proj.weight"].T + state[f"{stem}.out_proj.bias"]


def naive_norm(x, state, stem):
    return torch.nn.functional.layer_norm(x, x.shape[-1:], state[f"{stem}.weight"], state[f"{stem}.bias"], 1e-5)


def naive_block(x, state, stem, heads, mask=None):
    x = x + naive_attention(naive_norm(x, state, f"{stem}.layer_norm1"), state, f"{stem}.self_attn", heads, mask)
    hidden = (
        naive_norm(x, state, f"{stem}.layer_norm2") @ state[f"{stem}.mlp.fc1.weight"].T + state[f"{stem}.mlp.fc1.bias"]
    )
    hidden = 0.5 * hidden * (1 + torch.erf(hidden / math.sqrt(2)))
    return x + hidden @ state[f"{stem}.mlp.fc2.weight"].T + state[f"{stem}.mlp.fc2.bias"]


def naive_video(clip, state, arch):
    """One clip `3 t h w`, token by token along time: the specification read aloud."""
    frames = []
    for t in range(arch.frames):
        kernel = state["vision_model.embeddings.patch_embedding.weight"].reshape(arch.width, -1)
        p, (rows, columns) = arch.patch, (arch.size[0] // arch.patch, arch.size[1] // arch.patch)
        cut = [
            clip[:, t, r * p : (r + 1) * p, c * p : (c + 1) * p].reshape(-1) @ kernel.T
            for r in range(rows)
            for c in range(columns)
        ]
        first = state["vision_model.embeddings.class_embedding"]
        tokens = torch.stack([first[t] if first.ndim == 2 else first, *cut])
        frames.append(
            naive_norm(
                tokens + state["vision_model.embeddings.position_embedding.weight"], state, "vision_model.pre_layrnorm"
            )
        )
    x = torch.stack(frames)  # t l d
    for i in range(arch.depth):
        stem = f"vision_model.encoder.layers.{i}"
        if arch.frames > 1:
            x = x + state[f"{stem}.temporal_embedding"][0][:, None]
            x = x.clone()
            for token in range(x.shape[1]):
                along = naive_norm(x[:, token], state, f"{stem}.temporal_layer_norm1")
                x[:, token] = x[:, token] + naive_attention(along, state, f"{stem}.temporal_attn", arch.heads)
        x = torch.stack([naive_block(one, state, stem, arch.heads) for one in x])
    pooled = naive_norm(x[:, 0], state, "vision_model.post_layernorm").mean(0)
    return state["visual_projection.weight"] @ pooled


@pytest.mark.parametrize(
    "arch",
    [
        TINY,
        replace(TINY, size=(28, 56)),
        replace(TINY, frames=3),
        replace(TINY, frames=3, v1_5=True),
        replace(TINY, frames=3, lora="temporal.attn", lora_rank=2),
        replace(TINY, lora="attn", lora_rank=2),
    ],
    ids=["image", "oblong", "video", "v1.5", "video-lora", "lora"],
)
def test_vision_tower_is_the_specification_read_aloud(arch):
    state = random_file(arch)
    vision, _ = filled(arch, state)
    x = torch.randn(2, 3, arch.frames, *arch.size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        got = vision(x if arch.frames > 1 else x[:, :, 0])
        expected = torch.stack([naive_video(one, merge_lora(state), arch) for one in x])
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-5)


def test_text_tower_is_causal_and_reads_the_first_end_token():
    state = random_file(TINY)
    _, text = filled(TINY, state)
    ids = torch.full((2, 77), 49407)
    ids[:, 0], ids[0, 1:4], ids[1, 1:6] = 49406, torch.tensor([5, 9, 7]), torch.tensor([4, 4, 2, 8, 1])
    other = ids.clone()
    other[0, 5:] = 0  # padding with another id
    with torch.no_grad():
        x = (
            state["text_model.embeddings.token_embedding.weight"][ids]
            + state["text_model.embeddings.position_embedding.weight"]
        )
        for i in range(TINY.text_depth):
            x = naive_block(
                x, state, f"text_model.encoder.layers.{i}", TINY.text_heads, torch.full((77, 77), -math.inf).triu(1)
            )
        x = naive_norm(x, state, "text_model.final_layer_norm")
        expected = torch.stack([x[0, 4], x[1, 6]]) @ state["text_projection.weight"].T
        torch.testing.assert_close(text(ids), expected, atol=2e-5, rtol=1e-5)
        assert torch.equal(text(ids)[0], text(other)[0])


def test_wrong_number_of_frames_is_an_error():
    vision, _ = filled(replace(TINY, frames=3), random_file(replace(TINY, frames=3)))
    with pytest.raises(ValueError, match="3 frames"):
        vision(torch.zeros(1, 3, 4, 28, 28))


# --------------------------------------------------------------------------------------------- encoders, gradients


SMALL = {
    "image": port.Variant(
        "image", replace(LARGE, width=16, depth=1, heads=2, dim=12, text_width=16, text_depth=1, text_heads=2), "-"
    ),
    "video": port.Variant(
        "video", replace(VIDEO, width=16, depth=1, heads=2, dim=12, text_width=16, text_depth=1, text_heads=2), "-"
    ),
    "audio": port.Variant(
        "audio", replace(port.VARIANTS["languagebind-audio-ft"].arch, width=16, depth=1, heads=2, dim=12), "-"
    ),
}
SMALL["thermal"], SMALL["depth"] = (
    SMALL["image"]._replace(modality="thermal"),
    SMALL["image"]._replace(modality="depth"),
)


ALL = ("image", "video", "audio", "depth", "thermal", "event", "text")


@pytest.fixture(scope="module")
def small():
    """All five towers at one sixteenth of their width, one layer, official input sizes, rule weights."""
    return port.assemble("small", dict.fromkeys(SMALL, "random"), ALL, variants=SMALL, audio_seconds=1.0)


SAMPLES = {
    "image": Image(np.random.RandomState(0).randint(0, 256, (48, 64, 3), dtype=np.uint8)),
    "video": Video(np.random.RandomState(0).randint(0, 256, (11, 40, 30, 3), dtype=np.uint8), 10.0),
    "audio": Audio(np.random.RandomState(0).uniform(-0.5, 0.5, (2, 9000)).astype(np.float32), 11_025),
    "thermal": Thermal(np.random.RandomState(0).uniform(0, 1, (30, 60)).astype(np.float32)),
    "depth": Depth(np.random.RandomState(0).uniform(0, 12, (30, 60)).astype(np.float32)),
    "event": Events(np.arange(40), np.arange(40) // 2, np.linspace(0, 1, 40), np.arange(40) % 2, 40, 30),
}


def test_every_modality_goes_from_a_decoded_file_to_unit_rows(small):
    assert isinstance(small, Encoder)
    for modality, spec in small.inputs.items():
        x = spec.prepare(SAMPLES[modality])[None]
        assert tuple(x.shape[1:]) == spec.shape
        low, high = spec.space.low, spec.space.high
        assert x.min() >= low
        assert x.max() <= high
        for space in spec.spaces:
            z = small.embed(modality, spec.convert(x, space), space=space)
            assert tuple(z.shape) == (1, small.dim)
            torch.testing.assert_close(z.norm(dim=-1), torch.ones(1))
    assert tuple(small.embed_text(["a dog", "a cat"]).shape) == (2, 12)


def test_logmel_is_the_same_embedding_as_its_waveform(small):
    spec = small.inputs["audio"]
    x = spec.prepare(SAMPLES["audio"])[None]
    mel = spec.convert(x, "logmel")
    assert tuple(mel.shape[1:]) == spec.shape_in("logmel")
    where = spec.space_named("logmel")
    assert where.low <= mel.min()
    assert mel.max() <= where.high
    assert spec.convert(torch.zeros_like(x), "logmel").unique().item() == where.low
    torch.testing.assert_close(small.embed("audio", mel, space="logmel"), small.embed("audio", x), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("modality", "space"),
    [
        ("image", "pixels"), ("video", "pixels"), ("audio", "waveform"), ("audio", "logmel"), ("thermal", "pixels"),
        ("depth", "depth"),
    ],
)  # fmt: skip
def test_input_gradient_is_the_finite_difference(small, modality, space):
    """Float64, along a random direction: the gradient really reaches the raw input through every front end."""
    small.model.double()
    try:
        spec = small.inputs[modality]
        x = spec.convert(spec.prepare(SAMPLES[modality])[None].double(), space)
        generator = torch.Generator().manual_seed(2)
        direction = torch.randn(x.shape, generator=generator, dtype=torch.float64)
        weight = torch.randn(small.dim, generator=generator, dtype=torch.float64)
        x.requires_grad_()
        slope = torch.autograd.grad((small.embed(modality, x, space) @ weight).sum(), x)[0].mul(direction).sum()
        step = 1e-5
        with torch.no_grad():
            values = [(small.embed(modality, x + sign * step * direction, space) @ weight).sum() for sign in (1, -1)]
        torch.testing.assert_close(slope, (values[0] - values[1]) / (2 * step), rtol=1e-4, atol=1e-12)
        assert slope.abs() > 1e-12
    finally:
        small.model.float()


def test_checkpointing_changes_nothing(small):
    x = small.inputs["video"].prepare(SAMPLES["video"])[None].requires_grad_()
    plain = torch.autograd.grad(small.embed("video", x)[0, 0], x)[0]
    small.model.towers["video"].trunk.checkpointing = True
    try:
        assert torch.equal(plain, torch.autograd.grad(small.embed("video", x)[0, 0], x)[0])
    finally:
        small.model.towers["video"].trunk.checkpointing = False


def test_only_the_files_of_the_wanted_modalities_are_read(monkeypatch):
    monkeypatch.setattr(port, "assemble", lambda name, weights, modalities, *_, **__: (list(weights), modalities))
    assert load_encoder("languagebind", weights="random", modalities=("event", "text")) == (
        ["languagebind-image"],
        ("event", "text"),
    )
    paths = {"image": "a", "audio-ft": "b", "languagebind-depth": "c"}
    assert load_encoder("languagebind", weights=paths, modalities="audio") == (["languagebind-audio-ft"], ("audio",))
    assert load_encoder("languagebind", weights=paths)[1] == ("image", "event", "text", "audio", "depth")


def test_towers_are_declared_as_they_are(small):
    assert set(port.TOWER_OF["languagebind"]) == {*small.inputs, "text"}
    assert set(port.TOWER_OF["languagebind"].values()) == set(small.model.towers)
    assert port.TOWER_OF["languagebind-image"] == {"image": "image", "event": "image", "text": "text"}


def test_event_recordings_go_through_the_image_tower(small):
    recording = small.inputs["event"].prepare(SAMPLES["event"])[None]
    assert recording.unique().numel() > 3
    assert torch.equal(small.embed("event", recording), small.embed("image", recording))


def test_points_are_not_available_and_said_so(small):
    with pytest.raises(InputError, match="'point' is not available.*no point tower"):
        small.embed("point", torch.zeros(1, 8, 3))


# -------------------------------------------------------------------------------------------------------- preparation


def test_short_spectrograms_are_tiled_and_long_ones_cut_in_three():
    channels = spectrogram_channels(torch.arange(500.0).expand(1, 112, 500))
    assert torch.equal(channels, (torch.arange(1036.0) % 500).expand(1, 3, 112, 1036))
    assert chunk_starts(1036 + 8) == (1, 4, 7)
    assert chunk_starts(1037) == (0, 1, 0)
    assert chunk_starts(1498, np.random.RandomState(0)) == (
        47,
        272,
        376,
    )  # as the official code draws after np.random.seed(0)
    channels = spectrogram_channels(torch.arange(1498.0).expand(1, 112, 1498), (47, 272, 376))
    assert channels[0, :, 0, 0].tolist() == [47.0, 272.0, 376.0]
    inputs = LanguageBindInputs(audio_seconds=15.0)
    mel = inputs.log_mel(torch.randn(1, 1, 240_000, generator=torch.Generator().manual_seed(0)) / 10)
    assert torch.equal(inputs.audio_from_log_mel(mel)[0, 1], mel[0, 0, :, chunk_starts(1498)[1] :][:, :1036])


def test_video_frames_are_spread_over_the_file_and_mirrored_on_request_only():
    frames = np.zeros((50, 4, 4, 3), dtype=np.uint8)
    frames[:, :, :2] = np.arange(50, dtype=np.uint8)[:, None, None, None]
    clip = LanguageBindInputs().prepare_video(Video(frames, 25.0))
    assert (clip[:, 0, 0, 0] * 255).round().tolist() == [0, 7, 14, 21, 28, 35, 42, 49]
    flips = LanguageBindInputs(random=np.random.RandomState(0))
    mirrored = [bool(flips.prepare_video(Video(frames, 25.0))[-1, 0, 0, 0] == 0) for _ in range(20)]
    assert 0 < sum(mirrored) < 20


def test_depth_is_metres_over_the_farthest():
    prepared = LanguageBindInputs().prepare_depth(Depth(np.full((30, 40), 2.5, dtype=np.float32)))
    torch.testing.assert_close(prepared, torch.full((1, 224, 224), 0.25))
    for clamp in (True, False):
        holes = LanguageBindInputs(clamp=clamp).prepare_depth(Depth(np.zeros((30, 40), dtype=np.float32)))
        torch.testing.assert_close(holes, torch.full((1, 224, 224), 0.001))


def test_clamping_only_cuts_the_overshoot():
    sample = SAMPLES["image"]
    raw = LanguageBindInputs(clamp=False).prepare_image(sample)
    assert raw.min() < 0
    assert torch.equal(LanguageBindInputs().prepare_image(sample), raw.clamp(0, 1))
    assert tuple(resize_short_side(torch.zeros(3, 200, 300), 224, "bicubic").shape) == (3, 224, 336)


# ---------------------------------------------------------------------------------------------------- files, refusals


def test_strict_loading_from_a_snapshot_folder(tmp_path, monkeypatch):
    arch = replace(SMALL["image"].arch, lora="attn", lora_rank=2)
    monkeypatch.setitem(
        port.VARIANTS, "languagebind-thermal", port.VARIANTS["languagebind-thermal"]._replace(arch=arch)
    )
    state = {**random_file(arch), "vision_model.embeddings.position_ids": torch.arange(257)[None]}
    torch.save(state, tmp_path / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({"vision_config": {"lora_alpha": 4, "hidden_act": "gelu"}}))
    encoder = load_encoder("languagebind-thermal", weights=tmp_path)
    assert list(encoder.inputs) == ["thermal"]
    assert encoder.embed_text(["a dog"]).shape == (1, 12)
    assert "text" not in load_encoder("languagebind-thermal", weights=tmp_path, modalities="thermal").model.towers
    merged = merge_lora(state, 4.0)["vision_model.encoder.layers.0.self_attn.v_proj.weight"]
    assert torch.equal(encoder.model.towers["thermal"].trunk.blocks[0].attn.value.weight, merged)
    assert not any(one.requires_grad for one in encoder.model.parameters())

    (tmp_path / "config.json").write_text(json.dumps({"vision_config": {"hidden_act": "quick_gelu"}}))
    with pytest.raises(InputError, match="quick_gelu.*expected 'gelu'"):
        load_encoder("languagebind-thermal", weights=tmp_path)

    for content, said in (
        ('{"vision_config": {"lora_alpha": "two"}}', "config.json: lora_alpha 'two'; expected a number"),
        ('{"vision_config": 3}', "config.json: hidden_act"),
        ("<!DOCTYPE html>", "config.json cannot be read .it is a web page"),
        ("[]", "config.json holds a list"),
    ):
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=said) as refusal:
            load_encoder("languagebind-thermal", weights=tmp_path)
        assert "\n" not in str(refusal.value)

    (tmp_path / "config.json").unlink()
    lost = official_name("vision", "norm_pre.weight")
    extra = "vision_model.encoder.base_model.model.layers.0.temporal_mlp.fc1.weight"
    torch.save(
        {**{key: value for key, value in state.items() if key != lost}, extra: torch.zeros(2)},
        tmp_path / "pytorch_model.bin",
    )
    with pytest.raises(
        InputError, match="1 missing, first 'vision_model.pre_layrnorm.weight'; 1 unexpected, first '.*temporal_mlp"
    ):
        load_encoder("languagebind-thermal", weights=tmp_path)


def test_weights_from_the_hub(tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    small = port.VARIANTS["languagebind-image"]._replace(arch=SMALL["image"].arch)
    monkeypatch.setitem(port.VARIANTS, "languagebind-image", small)
    torch.save(random_file(small.arch), tmp_path / "pytorch_model.bin")
    asked = []
    monkeypatch.setattr(
        hub, "hf_hub_download", lambda repository, file: asked.append((repository, file)) or str(tmp_path / file)
    )
    assert load_encoder("languagebind-image", weights="hub").dim == 12
    assert asked == [
        ("LanguageBind/LanguageBind_Image", "config.json"),
        ("LanguageBind/LanguageBind_Image", "pytorch_model.bin"),
    ]

    def unreachable(*_):
        raise hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(hub, "hf_hub_download", unreachable)
    with pytest.raises(InputError, match="pytorch_model.bin of LanguageBind/LanguageBind_Image cannot be fetched"):
        load_encoder("languagebind-image", weights="hub")


def test_refusals_say_what_was_expected(tmp_path):
    with pytest.raises(InputError, match="hub:LanguageBind/LanguageBind_Audio_FT"):
        load_encoder("languagebind-audio-ft")
    with pytest.raises(InputError, match="LanguageBind_Audio"):
        load_encoder("languagebind")
    with pytest.raises(InputError, match="holds no folder of an official repository"):
        load_encoder("languagebind", weights=tmp_path)
    with pytest.raises(InputError, match="'languagebind-smell', which is not a variant"):
        load_encoder("languagebind", weights={"smell": tmp_path})
    with pytest.raises(InputError, match="two towers for image"):
        port.assemble(
            "x", {"image": "random", "again": "random"}, ["image"], variants={**SMALL, "again": SMALL["image"]}
        )
    wide = SMALL["audio"]._replace(arch=replace(SMALL["audio"].arch, dim=20))
    with pytest.raises(InputError, match="unlike embedding spaces"):
        port.assemble("x", {"image": "random", "audio": "random"}, ["image"], variants={**SMALL, "audio": wide})
    with pytest.raises(InputError, match="'audio' is not in these weights: expected some of image, event, text"):
        load_encoder("languagebind-image", weights="random", modalities=("audio", "text"))
    with pytest.raises(InputError, match="'point' is not in these weights: LanguageBind has no point tower"):
        load_encoder("languagebind", weights="random", modalities=("point", "text"))
    with pytest.raises(InputError, match="shorter than one frame"):
        LanguageBindInputs(audio_seconds=0.01)
    silent = port.assemble("x", {"image": "random"}, ["image"], variants=SMALL)
    with pytest.raises(InputError, match="no text tower"):
        silent.embed_text(["a dog"])


def test_every_variant_is_registered():
    assert set(port.VARIANTS) | {"languagebind"} == {name for name in ENCODERS if name.startswith("languagebind")}
    for name in port.VARIANTS:
        assert ENCODERS[name].args == (name,)
